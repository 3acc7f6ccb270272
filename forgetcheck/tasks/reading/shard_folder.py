"""Where the tars of a data set lie in CLIP_benchmark's layout: a folder of this machine, or a web address."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from forgetcheck.errors import DataError, NoPart
from forgetcheck.tasks.base import SplitName
from forgetcheck.tasks.reading import naming
from forgetcheck.tasks.reading.download import Mirror
from forgetcheck.tasks.reading.reach import ANYWHERE, Reach, data_folders

KIND = "dataset_type.txt"
CLASSIFICATION = "classification"  # what a data set is that doesn't say
_COUNT = "nshards.txt"
_INDEXES = (".json", ".idx")  # of wids, and of DALI
LAYOUT = "name the folder of CLIP_benchmark's layout, with classnames.txt, test/nshards.txt and test/0.tar"
_DIGITS = 5  # of the number of tars


@dataclass(frozen=True)
class Local:
    """A folder on this machine, asked in the words of a Mirror."""

    folder: Path
    reach: Reach = ANYWHERE

    def fetch(self, name: str) -> Path:
        place = self.folder / name
        if not place.exists():
            raise DataError(
                f"there is no '{place}'{self.indexes()}: check the path, or get the rest of the data set."
            )
        self.reach.refuse_outside(place)
        return place

    def indexes(self) -> str:
        """Say it where the folder has the index of tars, and none of them."""
        with suppress(OSError):
            names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
            found = sorted(name for name in names if name.lower().endswith(_INDEXES))
            if found and not any(self.folder.rglob("*.tar")):
                return f", only an index of tars ('{found[0]}') without the tars"
        return ""

    def find(self, name: str) -> Path | None:
        place = self.folder / name
        return place if place.exists() else None

    def refuse_more(self, part: str, count: int) -> None:
        """Refuse tars that are there but not counted: whether they belong to the data can't be known."""
        known = {f"{number}.tar" for number in range(count)}
        others = sorted(path.name for path in (self.folder / part).glob("*.tar") if path.name not in known)
        if others:
            raise DataError(
                f"'{self.folder / part}' holds '{others[0]}', but {_COUNT} says {count}, from 0.tar on: "
                "remove it, or correct the number."
            )


def root_of(path: str, reach: Reach) -> Mirror | Local:
    """Return where the tars lie. Raises InputError for a file: a tar alone, or the index of some."""
    if "://" in path:
        return Mirror.of(path, "webdataset")
    _refuse_file(Path(path))
    return Local(Path(path), reach)


def _refuse_file(path: Path) -> None:
    if path.suffix.lower() in _INDEXES and path.is_file():
        raise DataError(f"'{path}' is an index of tars, and not the tars: {LAYOUT}.")
    if path.suffix.lower() == ".tar" and path.is_file():
        raise DataError(f"'{path}' is one tar: {LAYOUT}.")


def lines_of(root: Mirror | Local, path: Path) -> tuple[str, ...]:
    """Read a text file of the data set, which links may not lead out of it."""
    refuse_bare(root)
    return naming.read_lines(path, reach_in(root), data_folders(root.folder))


def refuse_bare(root: Mirror | Local) -> None:
    """A battery may call any folder a data set: without a number of tars, there is none to read names of."""
    if not isinstance(root, Local) or root.reach.texts is None:
        return
    if not any((root.folder / part / _COUNT).exists() for part in ("train", "test")):
        root.fetch(f"test/{_COUNT}")


def reach_in(root: Mirror | Local) -> Reach:
    """What was downloaded lies in the cache of the user."""
    return root.reach if isinstance(root, Local) else ANYWHERE


def kind_of(root: Mirror | Local) -> str:
    """Return what is asked of the data set in CLIP_benchmark, such as classification or retrieval."""
    path = root.find(KIND)
    return CLASSIFICATION if path is None else " ".join(lines_of(root, path)).lower()


def shards_of(root: Mirror | Local, part: SplitName) -> Sequence[Path]:
    """Return the tars of a part, in order. Raises InputError for one that is missing, or not counted."""
    if part == "train" and root.find(f"{part}/{_COUNT}") is None:
        raise NoPart(f"there is no '{part}/{_COUNT}': add it, or leave out what needs train images.")
    count = _count_shards(root, part)
    if isinstance(root, Local):
        root.refuse_more(part, count)
    return [root.fetch(f"{part}/{number}.tar") for number in range(count)]


def _count_shards(root: Mirror | Local, part: SplitName) -> int:
    path = root.fetch(f"{part}/{_COUNT}")
    lines = lines_of(root, path)
    if len(lines) != 1 or not lines[0].isdecimal() or len(lines[0]) > _DIGITS or not int(lines[0]):
        raise DataError(f"'{path}' should hold the number of tars, and nothing else: correct it.")
    return int(lines[0])
