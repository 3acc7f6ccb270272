"""Where a battery's data lies: `${NAME}` of the environment, `~`, and paths relative to its file."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forgetcheck import catalog
from forgetcheck.errors import DataError, InputError
from forgetcheck.tasks import base
from forgetcheck.tasks.base import Task
from forgetcheck.tasks.reading.reach import Reach, reach_of, within

_PLACES = ("path", "root", "classes", "prompts")  # the options of sources that name a file or folder
_HUB = "huggingface"  # whose path may be a name on the hub instead
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_START = re.compile(r"(?:\$\{(\w+)\}|~[^/\\]*)(?=[/\\]|$)")  # what a path may begin with to be found anywhere


def settled(option: str, text: str, source: str, folder: Path) -> str:
    """Return an option of a source with its variable filled, and a path as seen from `folder`.

    A variable stands for a folder at the beginning of a path and nowhere else: in an address, a server
    would be told its value. One that isn't set stays as it is written: a battery can be read before its data
    is there.
    """
    start = None if option not in _PLACES or "://" in text else _START.match(text)
    if _VARIABLE.search(text, start.end() if start else 0):
        raise DataError(
            f"{option}={text}: a variable may only stand for the folder that a local path begins with, as in "
            "path=${DATA}/photos; write the rest out."
        )
    if start is None:
        return joined(option, text, source, folder)
    value = _folder_of(start)
    return text if value is None else value + text[start.end() :]


def _folder_of(start: "re.Match[str]") -> str | None:
    """Return the folder that the beginning of a path stands for; None if nobody has set it."""
    value = os.path.expanduser(start[0]) if start[1] is None else os.environ.get(start[1], "")
    if "://" in value:
        raise DataError(f"{start[0]} is set to an address: set it to the folder that holds the data.")
    return None if value in ("", start[0]) else os.path.join(os.getcwd(), value)


def values_in(source: str) -> tuple[tuple[str, str], ...]:
    """Return the folders that the paths of a source begin with, each with what it is called there."""
    options = catalog.parse_options(source, source.partition(":")[2])
    starts = [_START.match(text) for option, text in options if option in _PLACES and "://" not in text]
    found = {start[0]: _folder_of(start) for start in starts if start is not None}
    return tuple((value, name) for name, value in found.items() if value is not None)


def joined(option: str, text: str, source: str, folder: Path) -> str:
    """Return a path as seen from `folder`, and anything else as it is: no variable is filled."""
    return str(folder / text) if is_relative(option, text, source, folder) else text


def refuse_unconfined(task: Task) -> None:
    """Raise InputError for a task with data outside of the folder that --confine names."""
    reach = reach_of(task)
    if not reach.confine:
        return
    if _of_another_package(task):
        raise DataError(
            f"{_source_of(task)} is of another package, and --confine can't see what that reads: leave "
            "--confine out if you trust the battery with it."
        )
    for text in _local_or_not(task):
        if _is_remote(task, text):
            raise DataError(
                f"'{text}' is not on this machine, and --confine keeps everything inside of "
                f"'{reach.confine}': download it there, or leave --confine out if you trust the battery."
            )
        reach.refuse_outside(text)
    if getattr(task, "download", False):
        raise DataError("download=true asks the network, and --confine keeps everything on this machine.")


def _of_another_package(task: Task) -> bool:
    """Whether somebody else wrote the source: which files it opens, only they know."""
    return not _source_of(task).startswith("forgetcheck.")


def _source_of(task: Task) -> str:
    return f"{type(task.origin).__module__}.{type(task.origin).__qualname__}"


def _local_or_not(task: Task) -> list[str]:
    """Return the files, folders, addresses and names on the hub that a source names."""
    return [str(text) for name, text in asdict(task).items() if name in _PLACES and text]


def _is_remote(task: Task, text: str) -> bool:
    return "://" in text or (type(task).__name__.lower() == _HUB and _on_hub(text))


def _on_hub(text: str) -> bool:
    """Whether a path of the source `huggingface` is a name on the hub."""
    return not os.path.isabs(text) and not Path(text).exists()


def folders_read(task: Task) -> Iterator[str]:
    """Yield the folders and addresses that a task reads, as its links lead; values of variables aside."""
    reach = reach_of(task)
    for text in _local_or_not(task):
        real = os.path.realpath(text)
        here = real if os.path.isdir(real) else os.path.dirname(real)
        yield text if _is_remote(task, text) or _VARIABLE.match(text) else reach.masked(here)


def typed(spec: str, confine: str) -> Task:
    """Make the task of a source that the user typed: only --confine says what it may read."""
    task: Task = catalog.build("tasks", spec)
    return _confined(task, confine)


def recorded(task: Task, confine: str) -> Task:
    """Return the task that the file of a run names, as far as a file may say what is read.

    Nothing is fetched because a file says so, and its text files are read as a battery's would be that lies
    in the working directory. A task that may not be asked still tells whether a battery asks the same.
    """
    if _of_another_package(task):
        return _Barred(
            f"the run records the source {_source_of(task)} of another package, and what that reads can't be "
            "seen from here: add the task to the battery if you trust it.",
            task,
        )
    away = next((text for text in _local_or_not(task) if _is_remote(task, text)), None)
    if away is not None or getattr(task, "download", False):
        what = f"'{away}'" if away is not None else "data to be downloaded"
        return _Barred(
            f"the run records {what}, and nothing is fetched because a file says so: add the task to the "
            "battery if you trust it.",
            task,
        )
    with suppress(OSError):  # a working directory that is gone
        within(task, Reach((os.path.realpath(os.getcwd()),), confine))
    try:
        refuse_unconfined(task)
    except InputError as problem:
        return _Barred(str(problem), task)
    return task


@dataclass(frozen=True)
class _Barred(base.Task):  # not a source: the catalog goes by the plain name of its base
    """A task that may not be looked at."""

    why: str
    task: Task

    @property
    def origin(self) -> Task:
        return self.task.origin

    @property
    def class_names(self) -> tuple[str, ...]:
        raise DataError(self.why)

    @property
    def templates(self) -> tuple[str, ...]:
        raise DataError(self.why)

    def split(self, name: base.SplitName) -> base.Split:
        raise DataError(self.why)


def _confined(task: Task, confine: str) -> Task:
    if confine:
        refuse_unconfined(within(task, Reach(confine=confine)))
    return task


def is_relative(option: str, text: str, source: str, folder: Path) -> bool:
    """Whether an option names a file or folder by its way from `folder`.

    A URL, an absolute path and one that a variable or `~` begins don't; nor does a name on the hub.
    """
    if option not in _PLACES or not text or "://" in text or text.startswith("~") or _VARIABLE.match(text):
        return False
    named = source.partition(":")[0] == _HUB and option == "path" and not (folder / text).exists()
    return not named and not Path(text).is_absolute()


def same_data(one: Task, other: Task) -> bool:
    """Whether two tasks have the same images and labels: one source however it is spelled, or one content.

    Content is compared only where classes and numbers agree, for all images are read for it.
    """
    first, second = one.origin, other.origin
    if first == second or (type(first) is type(second) and _resolved(first) == _resolved(second)):
        return True
    if _Barred in (type(one), type(other)):
        return False
    try:
        if first.class_names != second.class_names:
            return False
        parts = [task.split("test") for task in (first, second)]
        if len(parts[0]) != len(parts[1]) or not all(part.contents for part in parts):
            return False
        return len({part.contents() for part in parts if part.contents}) == 1
    except InputError:  # the data of one isn't here
        return False


def _resolved(task: Task) -> dict[str, Any]:
    """Return the options of a source, with every path as its links lead."""
    options = asdict(task)
    local = {
        name: text for name, text in options.items() if name in _PLACES and text and "://" not in str(text)
    }
    return {**options, **{name: os.path.realpath(text) for name, text in local.items()}}


def unset(source: str) -> tuple[str, ...]:
    """Name the variables in a source that the environment doesn't set, each once."""
    return tuple(name for name in dict.fromkeys(_VARIABLE.findall(source)) if not os.environ.get(name))
