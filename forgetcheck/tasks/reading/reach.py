"""Reach: which files of this machine a task may read, by who wrote its source down: a user or a battery."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePath
from typing import TextIO, TypeVar

from forgetcheck.documents import kind_of
from forgetcheck.errors import DataError
from forgetcheck.tasks.reading.decode import SUFFIXES

_LISTS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".xml")  # what a list of images is called
_SPEAKERS = ("datasets", "huggingface_hub")  # whose messages are about names of files and options
_QUOTED = re.compile(r"(?<!\w)(['\"]).*\1")
_TEXTS = (*_LISTS, ".txt", ".lst", ".yaml", ".yml", ".md")
_DEEPEST = 3  # folders below a data folder, in which libraries look for such files
_LOOKED_AT = 20_000  # names in a folder, until it is known to hold no image
_TRIED = 1_000  # images of a list, until it is known to list none

T = TypeVar("T")


@dataclass(frozen=True)
class Reach:
    """Where text files may lie, and everything; images may lie wherever their user keeps them.

    What a user types is trusted: that reaches anywhere. A battery may be a stranger's: class names, prompts
    and lists are read in its own folder and in the data of the task, links followed, hidden files aside.
    Reports show them, so that any other file could be read by naming it.
    """

    texts: tuple[str, ...] | None = None  # real folders; None: anywhere
    confine: str = ""  # the real folder in which everything lies; empty: anywhere
    values: tuple[tuple[str, str], ...] = ()  # folders that variables stand for, each with what is shown

    def beside(self, folder: Path) -> "Reach":
        """Return the reach of a battery in a folder."""
        return replace(self, texts=(*(self.texts or ()), os.path.realpath(folder)))

    def open_text(
        self, path: Path, encoding: str = "utf-8", largest: int | None = None, own: Sequence[Path] = ()
    ) -> TextIO:
        """Open a text file: the one way in which a source does. `own` are the folders of the task's data.

        Raises InputError for a file that may not be read, OSError or ValueError for one that can't.
        """
        place = self.allowed(path, own)
        if place.exists() and not place.is_file():  # a pipe could keep us waiting, a device has no end
            raise ValueError(f"it is {kind_of(place)}, not a file")
        if largest is not None and place.stat().st_size > largest:
            raise ValueError(f"it has more than {largest >> 20:,} MiB")
        return place.open(encoding=encoding, newline="")

    def read_text(self, path: Path, largest: int, encoding: str = "utf-8", own: Sequence[Path] = ()) -> str:
        """Read a text file whole; raises as open_text does."""
        with self.open_text(path, encoding, largest, own) as file:
            return file.read()

    def allowed(self, path: Path, own: Sequence[Path] = ()) -> Path:
        """Return where a text file may be opened. Raises InputError where it may not."""
        self.refuse_outside(path)
        if self.texts is None:
            return path
        real = os.path.realpath(path)
        if not any(is_in(real, folder) for folder in (*self.texts, *map(os.path.realpath, own))):
            raise DataError(
                f"'{path}' lies neither in the folder of the battery nor in the task's own data, or is "
                "hidden: a battery's class names, prompts and lists are read nowhere else, links followed, "
                "for reports show them; move it beside the battery, or pass --texts-from "
                f"'{path.parent}' if you trust it."
            )
        return Path(real)

    def refuse_outside(self, path: Path | str) -> None:
        """Raise InputError for what --confine keeps out."""
        if not self.confined(path):
            raise DataError(
                f"'{path}' lies outside of '{self.confine}', links followed, and --confine keeps everything "
                "inside: move it there, or leave --confine out if you trust the battery."
            )

    def confined(self, path: Path | str) -> bool:
        return not self.confine or is_in(os.path.realpath(path), self.confine, hidden=True)

    def around_list(self, path: Path, root: Path) -> tuple[Path, ...]:
        """Return the folder of a list of images as a part of their data, if these lie beside it or below."""
        able = self.texts is not None and path.suffix.lower() in _LISTS and self.confined(root)
        return (path.parent,) if able and _is_beside(path, root) and holds_images(root) else ()

    def refuse_no_list(self, path: Path, root: Path, names: Iterable[str]) -> None:
        """Refuse a list that lies elsewhere than the battery and of whose images none is there.

        Anything with columns could be called one, and its cells are shown as names of classes.
        """
        if self.texts is None or any(is_in(os.path.realpath(path), folder) for folder in self.texts):
            return
        if not self.confined(root) or not any(map(_is_file, (root / name for name in islice(names, _TRIED)))):
            raise DataError(
                f"'{path}' lists no image that is there, below '{root}', and doesn't lie beside the battery: "
                "pass root=DIR to say where the paths begin."
            )

    def around(self, text: Path, images: Iterable[Path]) -> tuple[Path, ...]:
        """Return the folder of a text file as a part of the data, if one of its images lies in there."""
        if self.texts is None:
            return ()
        folder = os.path.realpath(text.parent)
        inside = (image for image in islice(images, _TRIED) if is_in(os.path.realpath(image), folder))
        return (text.parent,) if any(map(_is_file, inside)) else ()

    def masked(self, text: str) -> str:
        """Put the names of variables in place of the folders that they stand for."""
        for pattern, shown in self.patterns:
            text = pattern.sub(shown, text)
        return text

    @cached_property
    def patterns(self) -> tuple[tuple[re.Pattern[str], str], ...]:
        """Every way to write each folder, the longest first."""
        ways = {way: shown for value, shown in self.values for way in _written(value)}
        return tuple(
            (re.compile(re.escape(way) + r"(?!\w)"), ways[way]) for way in sorted(ways, key=len, reverse=True)
        )


ANYWHERE = Reach()


def _is_beside(path: Path, root: Path) -> bool:
    """Whether a list lies with its images as data sets have it: above them, or as COCO's `annotations` do."""
    around, folder = Path(os.path.realpath(path)).parent, Path(os.path.realpath(root))
    return folder.is_relative_to(around) or around.parent in (folder, folder.parent)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False


def _written(folder: str) -> Iterator[str]:
    """Yield the ways in which messages may write an absolute folder."""
    places = {
        folder,
        folder.rstrip("/\\"),
        str(Path(folder)),
        os.path.normpath(folder),
        os.path.realpath(folder),
    }
    for place in filter(_is_told, places):
        yield from (place, repr(place)[1:-1], " ".join(place.split()))


def _is_told(place: str) -> bool:
    """Whether a folder has a name: '/' says nothing, and stands everywhere."""
    return len(PurePath(place).parts) > 1


def is_in(real: str, folder: str, hidden: bool = False) -> bool:
    """Whether a real path lies in a real folder, and unless `hidden` in nothing hidden: `.git` has keys."""
    try:
        inner = PurePath(real).relative_to(folder).parts
    except ValueError:
        return False
    return hidden or not any(part.startswith(".") for part in inner)


def holds_images(folder: Path) -> bool:
    """Whether there is an image in a folder or below; after LOOKED_AT names without any, there is none."""
    names = (name for _, _, files in os.walk(folder) for name in files or ("",))
    return any(PurePath(name).suffix.lower() in SUFFIXES for name in islice(names, _LOOKED_AT))


def data_folders(folder: Path) -> tuple[Path, ...]:
    """Return where the files of a data folder lie: the hub's cache links its snapshots to its blobs."""
    parent = folder.absolute().parent
    return (folder, parent.parent / "blobs") if parent.name == "snapshots" else (folder,)


def refuse_strange_texts(reach: Reach, folder: Path) -> None:
    """Refuse text files of a data folder that lead out of it, where a library opens them by itself."""
    if reach == replace(ANYWHERE, values=reach.values):
        return
    for here, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if len(Path(here).relative_to(folder).parts) >= _DEEPEST:
            folders.clear()
        for name in files:
            if PurePath(name).suffix.lower() in _TEXTS and not name.startswith("."):
                reach.allowed(Path(here, name), data_folders(folder))


def library_said(problem: Exception, reach: Reach = ANYWHERE) -> str:
    """Put what a library says, and what caused it, into one line.

    What parsers say quotes the line that they stumble over, of whatever file they were shown: only their kind
    of problem is told.
    """
    told = dict.fromkeys(_unquoted(each) for each in (problem, problem.__cause__) if each is not None)
    return reach.masked(" ".join("; ".join(filter(None, told)).split())) or type(problem).__name__


def _unquoted(problem: BaseException) -> str:
    kind = type(problem)
    if isinstance(problem, OSError | RuntimeError | ImportError) or kind.__module__.startswith(_SPEAKERS):
        return kind.__name__ if "Cast" in kind.__name__ else str(problem)
    return _QUOTED.sub("...", str(problem)) if kind.__module__ == "builtins" else kind.__name__


def reach_of(task: object) -> Reach:
    """Return what a task may read; it is no option of its source, so it is no field of it."""
    found: Reach = vars(task).get("reach", ANYWHERE)
    return found


def within(task: T, reach: Reach) -> T:
    """Set what a task may read, before it reads anything."""
    vars(task)["reach"] = reach
    return task
