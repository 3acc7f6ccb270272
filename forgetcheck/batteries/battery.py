"""A battery: a named list of tasks, read from TOML."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forgetcheck import catalog
from forgetcheck.batteries.names import mistaken_names, mistaken_templates
from forgetcheck.batteries.overrides import Stated
from forgetcheck.batteries.paths import folders_read, refuse_unconfined, settled, unset, values_in
from forgetcheck.documents import read_toml, reason
from forgetcheck.errors import DataError, InputError, unknown_name
from forgetcheck.tasks.base import Task
from forgetcheck.tasks.reading import naming
from forgetcheck.tasks.reading.reach import ANYWHERE, Reach, holds_images, is_in, reach_of, within

_HERE = Path(__file__).parent
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
_Text = Annotated[str, Field(min_length=1)]
_Number = Annotated[int, Field(ge=1)]


class Expected(BaseModel):
    """What the data should hold; `battery check` compares."""

    model_config = _STRICT

    classes: _Number | None = None
    train: _Number | None = None
    test: _Number | None = None


class TaskEntry(BaseModel):
    """One `[[task]]` of the file."""

    model_config = _STRICT

    name: _Text
    source: _Text  # as on the command line: name:option=value
    # in place of the source's: in the order of its labels, by label, or the file that has a line for each
    class_names: list[str] | dict[str, str] | _Text | None = None
    templates: list[str] | None = None  # in place of the source's
    samples: _Text | None = None  # a table of those that are asked, beside the file
    optional: bool = False  # whether an audit is whole without it
    expected: Expected = Expected()
    licence: str = ""
    note: str = ""
    get: str = ""  # how to get the data


_KEYS = (*TaskEntry.model_fields, *Expected.model_fields)


@dataclass(frozen=True)
class Battery:
    """Tasks by name, in the order of the file."""

    name: str
    tasks: Mapping[str, Task]
    entries: Mapping[str, TaskEntry] = field(default_factory=dict)  # what the file says of each
    path: Path | None = None
    confine: str = ""  # the folder that everything lies in, also what a user names beside it

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders and addresses that its tasks read."""
        own = [
            entry for entry in self.entries.values() if entry.samples or isinstance(entry.class_names, str)
        ]
        beside = [os.path.realpath(self.path.parent)] if self.path is not None and own else []
        found = (folder for task in self.tasks.values() for folder in folders_read(task.origin))
        return tuple(sorted({*beside, *found}))

    def is_optional(self, name: str) -> bool:
        """Whether an audit is whole without this task."""
        return name in self.entries and self.entries[name].optional


@dataclass(frozen=True)
class _Mistake:
    """What is wrong in the file itself."""

    task: str  # its name, or its place where it has none
    text: str  # what it is and what to do, in half a line

    def __str__(self) -> str:
        return f"{self.task}: {self.text}"


def names() -> tuple[str, ...]:
    """Return the batteries that ship with the package."""
    return tuple(sorted(path.stem for path in _HERE.glob("*.toml")))


def task_names(spec: str) -> tuple[str, ...]:
    """Return what the tasks of a battery are called; their sources are not looked at."""
    entries = _valid_entries(_tables_of(spec, find(spec)), [])
    return tuple(entry.name for entry in entries)


def read_battery(spec: str, reach: Reach = ANYWHERE) -> Battery:
    """Read a shipped battery by name, or a TOML file by path; no data is looked at.

    `reach` is what the user allows it beside what every battery may read, and where to --confine it.
    Raises InputError for an unknown name, an empty battery, duplicate names or any bad entry.
    """
    battery, mistakes = survey(spec, reach)
    if mistakes:
        raise DataError(f"{battery.path}: " + "; ".join(map(str, mistakes)))
    return battery


def survey(spec: str, reach: Reach = ANYWHERE) -> tuple[Battery, tuple[_Mistake, ...]]:
    """Read what can be read of a battery, and name all mistakes of its file.

    Raises InputError where there is no file, or no list of tasks in it.
    """
    path = find(spec)
    if path.parent != _HERE:
        reach.refuse_outside(path)
    mistakes: list[_Mistake] = []
    entries: dict[str, TaskEntry] = {}
    tasks: dict[str, Task] = {}
    for entry in _valid_entries(_tables_of(spec, path), mistakes):
        if entry.name in entries:
            mistakes.append(_Mistake(entry.name, f"two tasks are named '{entry.name}': give each its own"))
            continue
        entries[entry.name] = entry
        mistakes.extend(_Mistake(entry.name, text) for text in _mistaken_words(entry))
        try:
            tasks[entry.name] = build(entry, path.parent, reach)
        except InputError as problem:
            mistakes.append(_Mistake(entry.name, str(problem)))
    return Battery(path.stem, tasks, entries, path, reach.confine), tuple(mistakes)


def find(spec: str) -> Path:
    if spec in names():
        return _HERE / f"{spec}.toml"
    path = Path(spec)
    if path.exists():  # whatever it is: one that can't be read is refused, not missed
        return path
    if path.suffix == ".toml":
        raise DataError(
            f"no battery file at '{spec}': check the path, or use one that ships: {', '.join(names())}."
        )
    raise unknown_name("battery", spec, names(), "forgetcheck list batteries")


def _tables_of(spec: str, path: Path) -> list[Any]:
    """Return the `[[task]]` tables of a file as they are written."""
    try:
        document = read_toml(path)
    except (OSError, ValueError) as problem:
        raise DataError(f"cannot read battery '{spec}': {reason(problem)}.") from None
    tables = document.get("task", [])
    unknown = sorted(set(document) - {"task"})
    if unknown and tables:
        raise DataError(f"{path}: unknown key {', '.join(unknown)}: a battery holds [[task]] tables only.")
    if not isinstance(tables, list) or not tables:  # so it may be anything: its keys are not shown
        raise DataError(
            f"battery '{spec}' has no tasks: nothing would be measured; add a [[task]] to {path}."
        )
    return tables


def _valid_entries(tables: Sequence[Any], mistakes: list[_Mistake]) -> Iterator[TaskEntry]:
    """Yield the tables that are tasks; what is wrong with the others is added to `mistakes`."""
    for place, table in enumerate(tables):
        try:
            yield TaskEntry.model_validate(table)
        except ValidationError as problem:
            mistakes.extend(_describe(place, error) for error in problem.errors())


def _describe(place: int, error: Any) -> _Mistake:
    """Put one of pydantic's problems into half a line that names the key."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    key = f"task[{place}]{''.join(parts)}"
    if error["type"] == "extra_forbidden":
        near = get_close_matches(str(error["loc"][-1]), _KEYS, n=1)
        return _Mistake(key, f"unknown key, did you mean '{near[0]}'?" if near else "unknown key")
    return _Mistake(key, f"{error['msg'][0].lower()}{error['msg'][1:]}")


def _mistaken_words(entry: TaskEntry) -> Iterator[str]:
    if entry.class_names is not None:
        listed = entry.class_names.values() if isinstance(entry.class_names, dict) else entry.class_names
        if not isinstance(entry.class_names, str):
            yield from mistaken_names(tuple(listed)) if listed else ("class_names is empty",)
    if entry.templates is not None:
        yield from mistaken_templates(entry.templates)


def build(entry: TaskEntry, folder: Path, given: Reach) -> Task:
    """Make the task of an entry. Its data is first looked at when it is asked."""
    source: Task = catalog.build("tasks", entry.source, partial(settled, source=entry.source, folder=folder))
    reach = replace(given.beside(folder), values=values_in(entry.source))
    missing = unset(entry.source)
    try:
        refuse_unconfined(within(source, reach)) if not missing else None
    except InputError as problem:
        raise DataError(reach.masked(str(problem))) from None
    own = (entry.class_names, entry.templates, entry.samples)
    if own == (None, None, None) and not missing and not entry.get and not reach.values:
        return source
    return Stated(
        source,
        entry.name,
        tuple(entry.class_names) if isinstance(entry.class_names, list) else None,
        None if entry.templates is None else tuple(entry.templates),
        None if entry.samples is None else folder / entry.samples,
        missing,
        entry.get,
        _names_by_label(entry, folder, source),
    )


def _names_by_label(entry: TaskEntry, folder: Path, source: Task) -> Mapping[str, str] | None:
    if isinstance(entry.class_names, str):
        path = folder / entry.class_names
        return naming.read_by_label(path, reach_of(source), _own_data(source, path))
    return entry.class_names if isinstance(entry.class_names, dict) else None


def _own_data(source: Task, text: Path) -> tuple[Path, ...]:
    """Return the folder of a text file if that is in the data of a task: inside of it, around some images."""
    real = os.path.realpath(text)
    inside = any(is_in(real, folder) for folder in _folders_of(source))
    return (text.parent,) if inside and holds_images(text.parent) else ()


def _folders_of(source: Task) -> list[str]:
    options = asdict(source)
    return [os.path.realpath(options[name]) for name in ("path", "root") if options.get(name)]


def summary(battery: Battery) -> dict[str, Any]:
    """Describe a battery for provenance: every task's source, options, classes and templates."""
    return {"name": battery.name, "tasks": {name: facts(task) for name, task in battery.tasks.items()}}


def facts(task: Task) -> dict[str, Any]:
    """Describe a task; where its data is missing, that is all that can be said of its words."""
    shown = {name: told(task.origin, value) for name, value in asdict(task.origin).items()}
    found: dict[str, Any] = {"source": type(task.origin).__name__.lower(), "options": shown}
    try:
        if isinstance(task, Stated) and task.samples is not None and task.samples.is_file():
            found["samples"] = hashlib.sha256(task.picked.encode()).hexdigest()
        words = {"class_names": list(task.class_names), "templates": list(task.templates)}
        notes = {"notes": list(task.notes)} if task.notes else {}
        return {**found, **words, **notes}
    except InputError as problem:
        return {**found, "class_names": [], "templates": [], "missing": str(problem)}


def told(task: Task, value: Any) -> Any:
    """Return the value of an option as it may be shown."""
    return reach_of(task).masked(value) if isinstance(value, str) else value
