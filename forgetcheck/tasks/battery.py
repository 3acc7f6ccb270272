"""A battery: a named list of tasks, read from TOML."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forgetcheck import catalog
from forgetcheck.documents import read_toml, reason
from forgetcheck.errors import CannotAsk, unknown_name
from forgetcheck.tasks import naming
from forgetcheck.tasks.base import Task
from forgetcheck.tasks.mistakes import mistaken_names, mistaken_templates
from forgetcheck.tasks.places import settled, unset
from forgetcheck.tasks.stated import Stated

HERE = Path(__file__).parent / "batteries"
STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
Text = Annotated[str, Field(min_length=1)]
Number = Annotated[int, Field(ge=1)]


class Expected(BaseModel):
    """What the data should hold; `battery check` compares."""

    model_config = STRICT

    classes: Number | None = None
    train: Number | None = None
    test: Number | None = None


class TaskEntry(BaseModel):
    """One `[[task]]` of the file."""

    model_config = STRICT

    name: Text
    source: Text  # as on the command line: name:option=value
    # in place of the source's: in the order of its labels, by label, or the file that has a line for each
    class_names: list[str] | dict[str, str] | Text | None = None
    templates: list[str] | None = None  # in place of the source's
    samples: Text | None = None  # a table of those that are asked, beside the file
    expected: Expected = Expected()
    licence: str = ""
    note: str = ""
    get: str = ""  # how to get the data


KEYS = (*TaskEntry.model_fields, *Expected.model_fields)


@dataclass(frozen=True)
class Battery:
    """Tasks by name, in the order of the file."""

    name: str
    tasks: Mapping[str, Task]
    entries: Mapping[str, TaskEntry] = field(default_factory=dict)  # what the file says of each
    path: Path | None = None


@dataclass(frozen=True)
class Mistake:
    """What is wrong in the file itself."""

    task: str  # its name, or its place where it has none
    text: str  # what it is and what to do, in half a line

    def __str__(self) -> str:
        return f"{self.task}: {self.text}"


def names() -> tuple[str, ...]:
    """Return the batteries that ship with the package."""
    return tuple(sorted(path.stem for path in HERE.glob("*.toml")))


def task_names(spec: str) -> tuple[str, ...]:
    """Return what the tasks of a battery are called; their sources are not looked at."""
    entries = valid_entries(tables_of(spec, find(spec)), [])
    return tuple(entry.name for entry in entries)


def read_battery(spec: str) -> Battery:
    """Read a shipped battery by name, or a TOML file by path; no data is looked at.

    Raises CannotAsk for an unknown name, an empty battery, duplicate names or any bad entry.
    """
    battery, mistakes = survey(spec)
    if mistakes:
        raise CannotAsk(f"{battery.path}: " + "; ".join(map(str, mistakes)))
    return battery


def survey(spec: str) -> tuple[Battery, tuple[Mistake, ...]]:
    """Read what can be read of a battery, and name all mistakes of its file.

    Raises CannotAsk where there is no file, or no list of tasks in it.
    """
    path = find(spec)
    mistakes: list[Mistake] = []
    entries: dict[str, TaskEntry] = {}
    tasks: dict[str, Task] = {}
    for entry in valid_entries(tables_of(spec, path), mistakes):
        if entry.name in entries:
            mistakes.append(Mistake(entry.name, f"two tasks are named '{entry.name}': give each its own"))
            continue
        entries[entry.name] = entry
        mistakes.extend(Mistake(entry.name, text) for text in mistaken_words(entry))
        try:
            tasks[entry.name] = build(entry, path.parent)
        except CannotAsk as problem:
            mistakes.append(Mistake(entry.name, str(problem)))
    return Battery(path.stem, tasks, entries, path), tuple(mistakes)


def find(spec: str) -> Path:
    if spec in names():
        return HERE / f"{spec}.toml"
    path = Path(spec)
    if path.exists():  # whatever it is: one that can't be read is refused, not missed
        return path
    if path.suffix == ".toml":
        raise CannotAsk(
            f"no battery file at '{spec}': check the path, or use one that ships: {', '.join(names())}."
        )
    raise unknown_name("battery", spec, names(), "forgetcheck list batteries")


def tables_of(spec: str, path: Path) -> list[Any]:
    """Return the `[[task]]` tables of a file as they are written."""
    try:
        document = read_toml(path)
    except (OSError, ValueError) as problem:
        raise CannotAsk(f"cannot read battery '{spec}': {reason(problem)}.") from None
    unknown = sorted(set(document) - {"task"})
    if unknown:
        raise CannotAsk(f"{path}: unknown key {', '.join(unknown)}: a battery holds [[task]] tables only.")
    tables = document.get("task", [])
    if not isinstance(tables, list) or not tables:
        raise CannotAsk(
            f"battery '{spec}' has no tasks: nothing would be measured; add a [[task]] to {path}."
        )
    return tables


def valid_entries(tables: Sequence[Any], mistakes: list[Mistake]) -> Iterator[TaskEntry]:
    """Yield the tables that are tasks; what is wrong with the others is added to `mistakes`."""
    for place, table in enumerate(tables):
        try:
            yield TaskEntry.model_validate(table)
        except ValidationError as problem:
            mistakes.extend(describe(place, error) for error in problem.errors())


def describe(place: int, error: Any) -> Mistake:
    """Put one of pydantic's problems into half a line that names the key."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    key = f"task[{place}]{''.join(parts)}"
    if error["type"] == "extra_forbidden":
        near = get_close_matches(str(error["loc"][-1]), KEYS, n=1)
        return Mistake(key, f"unknown key, did you mean '{near[0]}'?" if near else "unknown key")
    return Mistake(key, f"{error['msg'][0].lower()}{error['msg'][1:]}")


def mistaken_words(entry: TaskEntry) -> Iterator[str]:
    if entry.class_names is not None:
        listed = entry.class_names.values() if isinstance(entry.class_names, dict) else entry.class_names
        if not isinstance(entry.class_names, str):
            yield from mistaken_names(tuple(listed)) if listed else ("class_names is empty",)
    if entry.templates is not None:
        yield from mistaken_templates(entry.templates)


def build(entry: TaskEntry, folder: Path) -> Task:
    """Make the task of an entry. Its data is first looked at when it is asked."""
    source: Task = catalog.build("tasks", entry.source, partial(settled, source=entry.source, folder=folder))
    missing = unset(entry.source)
    own = (entry.class_names, entry.templates, entry.samples)
    if own == (None, None, None) and not missing and not entry.get:
        return source
    return Stated(
        source,
        entry.name,
        tuple(entry.class_names) if isinstance(entry.class_names, list) else None,
        None if entry.templates is None else tuple(entry.templates),
        None if entry.samples is None else folder / entry.samples,
        missing,
        entry.get,
        names_by_label(entry, folder),
    )


def names_by_label(entry: TaskEntry, folder: Path) -> Mapping[str, str] | None:
    if isinstance(entry.class_names, str):
        return naming.read_by_label(folder / entry.class_names)
    return entry.class_names if isinstance(entry.class_names, dict) else None


def summary(battery: Battery) -> dict[str, Any]:
    """Describe a battery for provenance: every task's source, options, classes and templates."""
    return {"name": battery.name, "tasks": {name: facts(task) for name, task in battery.tasks.items()}}


def facts(task: Task) -> dict[str, Any]:
    """Describe a task; where its data is missing, that is all that can be said of its words."""
    found: dict[str, Any] = {"source": type(task.origin).__name__.lower(), "options": asdict(task.origin)}
    if isinstance(task, Stated) and task.samples is not None and task.samples.is_file():
        with task.samples.open("rb") as file:
            found["samples"] = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        words = {"class_names": list(task.class_names), "templates": list(task.templates)}
        notes = {"notes": list(task.notes)} if task.notes else {}
        return {**found, **words, **notes}
    except CannotAsk as problem:
        return {**found, "class_names": [], "templates": [], "missing": str(problem)}
