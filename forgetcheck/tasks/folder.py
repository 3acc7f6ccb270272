"""A folder of images on this machine: one folder per class, or train/<class> and test/<class>.

Class names are the folder names (`golden_retriever` is asked for as "golden retriever"), in sorted order
(numbers by value). A folder without train and test is split by content hash, so that equal images are always
in the same part.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Literal

from forgetcheck.catalog import Share, White
from forgetcheck.errors import DataError
from forgetcheck.tasks.base import SplitName, Task, Unreadable
from forgetcheck.tasks.indexed import Index, Indexed
from forgetcheck.tasks.reading import naming
from forgetcheck.tasks.reading.decode import SUFFIXES, UNREAD, WHITE, read_file
from forgetcheck.tasks.reading.directory import Walk, spelling
from forgetcheck.tasks.reading.reach import data_folders, reach_of
from forgetcheck.tasks.reading.samples import Samples, file_samples
from forgetcheck.tasks.reading.splitting import is_part, left_out, parts_among
from forgetcheck.tasks.reading.stretches import fingerprint

_FOLDERS = 6  # of one class that are compared
SMALL = re.compile(r"(^|[_\W])(thumb(nail)?s?|previews?|resized)($|[_\W])", re.IGNORECASE)  # the same again
_SAMPLED = 3  # pairs of files that are compared


@dataclass(frozen=True)
class Folder(Indexed, Task):
    """Images by class; links are followed inside the folder only, unless links=follow."""

    path: str
    layout: Literal["auto", "classes", "parts"] = "auto"
    names: Literal["humanised", "as-is"] = "humanised"
    prompts: str = ""  # a file of templates
    links: Literal["inside", "follow"] = "inside"
    unreadable: Share = 0.0
    white: White = WHITE  # the brightest level of 16-bit gray: 4095 where 12 bits of them are used

    @cached_property
    def index(self) -> Index:
        if not Path(self.path).is_dir():
            raise DataError(f"no folder of images at '{self.path}': check the path.")
        walk = Walk(Path(self.path), self.links == "follow", reach_of(self))
        parts = _parts_of(walk, self.layout)
        return _make_index(walk, parts, as_is=self.names == "as-is")

    def around(self, text: Path) -> Sequence[Path]:
        return data_folders(Path(self.path)) if self.index.class_names else ()  # there are images


def _parts_of(walk: Walk, layout: str) -> Mapping[SplitName, str]:
    """Return the folder of each part, none if the folders of the root are classes."""
    folders = walk.folders()
    if layout == "classes":
        return {}
    chosen = parts_among(folders)
    if layout == "auto" and not any(is_part(name) for name in folders):
        return {}
    if not chosen:
        raise DataError(f"'{walk.root}' has neither a train nor a test folder: leave out layout=parts.")
    others = [name for name in folders if not is_part(name)]
    if others and layout == "auto":
        raise DataError(
            f"'{walk.root}' has {shown(chosen.values())} beside {shown(others)}: pass layout=parts if those "
            "are not to be read, or layout=classes if all of them are classes."
        )
    return chosen


@dataclass(frozen=True)
class _Listing:
    """The images of each class folder, by their names relative to the root, and the files that are none."""

    classes: dict[str, list[str]]
    others: Sequence[str]

    def samples(self, walk: Walk, folders: Sequence[str]) -> Samples:
        """Return the images class by class; labels are places in `folders`."""
        found = [(path, label) for label, name in enumerate(folders) for path in self.classes.get(name, ())]
        paths, labels = [path for path, _ in found], [label for _, label in found]
        return file_samples(walk.root, paths, labels, None, walk.follow, reach=walk.reach)


def _make_index(walk: Walk, parts: Mapping[SplitName, str], as_is: bool) -> Index:
    """List every image of every part under its class."""
    where = f"'{walk.root}'"
    listings = {part: _list_images(walk, folder) for part, folder in parts.items()}
    whole = None if parts else _list_images(walk, "")
    every = [*listings.values(), *([whole] if whole else [])]
    _unify(every)
    _refuse_twice(walk, every)
    folders = naming.in_order((name for listing in every for name in listing.classes), spelling)
    _refuse_empty(where, folders, every)
    return Index(
        where,
        naming.checked(where, folders if as_is else naming.humanised(folders), exact=as_is),
        {part: listing.samples(walk, folders) for part, listing in listings.items()},
        whole.samples(walk, folders) if whole else None,
        left_out(walk.folders(), parts),
        tuple(_passed_over(walk, every)),
        tuple(folders),
    )


def _list_images(walk: Walk, below: str) -> _Listing:
    """List what lies in the class folders of a part. Raises InputError for images outside of them."""
    classes: dict[str, list[str]] = {name: [] for name in walk.folders(below)}
    others, stray, unread = [], [], []
    for path in walk.files(below):
        name, slash, _ = path.removeprefix(f"{below}/" if below else "").partition("/")
        suffix = PurePosixPath(path).suffix.lower()
        if suffix in UNREAD and slash:
            unread.append((name, path))
        elif suffix not in SUFFIXES:
            others.append(path)
        elif slash:
            classes[name].append(path)
        else:
            stray.append(path)
    if stray:
        raise DataError(
            f"'{walk.root / below}' has {shown(stray)} outside of any class: put the images of each class "
            "into a folder of its name."
        )
    # a camera's own file beside its export is no image of its own; one without is missed when it is asked
    stems = {PurePosixPath(path).with_suffix("") for paths in classes.values() for path in paths}
    for name, path in unread:
        (others if PurePosixPath(path).with_suffix("") in stems else classes[name]).append(path)
    return _Listing(classes, others)


def _refuse_empty(where: str, folders: Iterable[str], listings: Sequence[_Listing]) -> None:
    """Refuse classes without an image: whether one is missing or meant can't be known."""
    empty = [name for name in folders if not any(listing.classes.get(name) for listing in listings)]
    if empty:
        raise DataError(f"{where} has no image of {shown(empty)}: add some, or remove the folder.")


def _passed_over(walk: Walk, listings: Sequence[_Listing]) -> Iterator[str]:
    """Count what is no image, and what was not looked into."""
    others = [path for listing in listings for path in listing.others]
    if others:
        images = sum(len(paths) for listing in listings for paths in listing.classes.values())
        yield f"{len(others):,} of {len(others) + images:,} files, which are no images: {shown(others)}"
    if walk.hidden:
        yield f"hidden files and those of the system: {shown(walk.hidden)}"


def _unify(listings: Sequence[_Listing]) -> None:
    """Give a class one name in all parts: case and Unicode form depend on the machine that wrote a part."""
    spelled: dict[str, str] = {}
    earlier: set[str] = set()
    for listing in listings:
        for name in list(listing.classes):
            if name in earlier:
                continue
            first = spelled.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
            if first != name and first not in listing.classes:
                listing.classes[first] = listing.classes.pop(name)
        earlier |= listing.classes.keys()


def _refuse_twice(walk: Walk, listings: Sequence[_Listing]) -> None:
    """Refuse a class that holds its images twice, as with thumbnails or a copy beside the originals."""
    for listing in listings:
        for name, paths in listing.classes.items():
            places: dict[str, dict[str, str]] = {}
            for path in paths:
                folder, _, file = path.rpartition("/")
                places.setdefault(folder, {})[PurePosixPath(file).stem] = path
            # of many folders, such as one for each video, none is taken for the thumbnails of another
            for one, other in combinations(places, 2) if len(places) <= _FOLDERS else ():
                same = [stem for stem in places[one] if stem in places[other]]
                if 2 * len(same) > min(len(places[one]), len(places[other])) and _is_copy(
                    walk, [(places[one][stem], places[other][stem]) for stem in same[:_SAMPLED]]
                ):
                    raise DataError(
                        f"class '{name}' holds its images twice, in '{walk.root / one}' and "
                        f"'{walk.root / other}': remove one of the folders."
                    )


def _is_copy(walk: Walk, pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether files of one name are one picture: in a folder called like thumbnails, or equal bytes."""
    if any(SMALL.search(path.rpartition("/")[0].rpartition("/")[2]) for pair in pairs for path in pair):
        return True
    try:
        paths = ((walk.root / one, walk.root / other) for one, other in pairs)
        return all(fingerprint(read_file(one)) == fingerprint(read_file(other)) for one, other in paths)
    except Unreadable:  # which is told when it is asked
        return False


def shown(names: Iterable[str]) -> str:
    """Name the first three, and how many there are."""
    every = list(names)
    first = ", ".join(f"'{name}'" for name in every[:3])
    return first if len(every) <= 3 else f"{first} and {len(every) - 3:,} more"
