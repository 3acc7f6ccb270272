"""Walk a folder that somebody else filled: files in one order, links only as far as they may lead."""

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from forgetcheck.documents import reason
from forgetcheck.errors import DataError
from forgetcheck.tasks.reading.decode import SUFFIXES
from forgetcheck.tasks.reading.reach import ANYWHERE, Reach
from forgetcheck.tasks.reading.samples import is_below

_RESOURCE = "._"  # what macOS writes beside each file on the disks of others
_SERVICE = {  # folders that machines put among the files
    "__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "system volume information", "lost+found",
}  # fmt: skip

_Identity = tuple[int, int]  # device and inode of a folder


def spelling(name: str) -> tuple[str, str]:
    """Sort names by this: macOS and Linux store accents differently."""
    return unicodedata.normalize("NFC", name), name


@dataclass(frozen=True)
class Walk:
    """A folder, and how far links may lead."""

    root: Path
    follow: bool = False
    reach: Reach = ANYWHERE
    hidden: dict[str, None] = field(default_factory=dict)  # folders and images that were passed over

    def folders(self, below: str = "") -> list[str]:
        """Name the folders in `below`, sorted."""
        return [name for name, inside in self.entries(below) if inside]

    def files(self, below: str = "") -> Iterator[str]:
        """Yield the files under `below` by their names relative to the root; a folder's own files first."""
        waiting: list[tuple[str, tuple[_Identity, ...]]] = [(below, ())]
        while waiting:
            folder, above = waiting.pop()
            here = (*above, self.identity(folder, above))
            inner = []
            for name, inside in self.entries(folder):
                path = f"{folder}/{name}" if folder else name
                if inside:
                    inner.append((path, here))
                else:
                    yield path
            waiting += reversed(inner)

    def entries(self, folder: str) -> list[tuple[str, bool]]:
        """Name what lies in a folder, hidden files aside, with whether it is a folder itself.

        The order doesn't depend on the machine.
        """
        try:
            with os.scandir(self.root / folder) as found:
                every = sorted(found, key=lambda entry: spelling(entry.name))
        except (OSError, ValueError) as problem:
            raise DataError(f"cannot read the folder '{self.root / folder}': {reason(problem)}.") from None
        entries = [entry for entry in every if not _is_service(entry.name)]
        self.hidden.update(
            (f"{folder}/{entry.name}".lstrip("/"), None)
            for entry in every
            if _is_service(entry.name) and not entry.name.startswith(_RESOURCE)
            if _is_folder(entry) or Path(entry.name).suffix.lower() in SUFFIXES
        )
        for entry in entries:
            if entry.is_symlink():
                self.refuse_outside(Path(entry.path))
        return [(entry.name, _is_folder(entry)) for entry in entries]

    def refuse_outside(self, link: Path) -> None:
        self.reach.refuse_outside(link)
        if not self.follow and not is_below(os.path.realpath(self.root), link):
            raise DataError(
                f"'{link}' is a link out of '{self.root}', to '{os.path.realpath(link)}': pass links=follow "
                "if you trust it."
            )

    def identity(self, folder: str, above: tuple[_Identity, ...]) -> _Identity:
        """Tell a folder from every other. Raises InputError for one that lies within itself."""
        path = self.root / folder
        facts = path.stat()
        found = (facts.st_dev, facts.st_ino)
        if found in above:
            raise DataError(f"'{path}' is a link that leads back to a folder around it: remove the link.")
        return found


def _is_service(name: str) -> bool:
    """Whether a name is hidden, or one that a machine gave and no person."""
    return name.startswith(".") or name.casefold() in _SERVICE


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Ask the listing, which knows without another look at the disk unless it is a link."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
