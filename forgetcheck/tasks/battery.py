"""A battery: a named list of tasks, read from TOML."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forgetcheck import catalog
from forgetcheck.documents import read_toml, reason
from forgetcheck.errors import CannotAsk, unknown_name
from forgetcheck.tasks.base import Task

HERE = Path(__file__).parent / "batteries"


class TaskEntry(BaseModel):
    """One `[[task]]` of the file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1)
    source: str = Field(min_length=1)  # as on the command line: name:option=value


class BatteryFile(BaseModel):
    """The file as a person writes it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    task: list[TaskEntry] = Field(default_factory=list)


@dataclass(frozen=True)
class Battery:
    """Tasks by name, in the order of the file."""

    name: str
    tasks: Mapping[str, Task]


def names() -> tuple[str, ...]:
    """Return the batteries that ship with the package."""
    return tuple(sorted(path.stem for path in HERE.glob("*.toml")))


def read_battery(spec: str) -> Battery:
    """Read a shipped battery by name, or a TOML file by path.

    Raises CannotAsk for an unknown name, an empty battery, duplicate names or any bad entry.
    """
    path = find(spec)
    entries = validate(spec, path)
    if not entries:
        raise CannotAsk(
            f"battery '{spec}' has no tasks: nothing would be measured; add a [[task]] to {path}."
        )
    tasks: dict[str, Task] = {}
    for entry in entries:
        if entry.name in tasks:
            raise CannotAsk(f"{path}: two tasks are named '{entry.name}'; give each its own name.")
        tasks[entry.name] = catalog.build("tasks", entry.source)
    return Battery(path.stem, tasks)


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


def validate(spec: str, path: Path) -> list[TaskEntry]:
    try:
        return BatteryFile.model_validate(read_toml(path)).task
    except ValidationError as problem:
        raise CannotAsk(f"{path}: " + "; ".join(describe(error) for error in problem.errors())) from None
    except (OSError, ValueError) as problem:
        raise CannotAsk(f"cannot read battery '{spec}': {reason(problem)}.") from None


def describe(error: Any) -> str:
    """Put one of pydantic's problems into half a line that names the key."""
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    return f"{key}: {error['msg'][0].lower()}{error['msg'][1:]}"


def summary(battery: Battery) -> dict[str, Any]:
    """Describe a battery for provenance: every task's source, options, classes and templates."""
    return {
        "name": battery.name,
        "tasks": {
            name: {
                "source": type(task).__name__.lower(),
                "options": asdict(task),
                "class_names": list(task.class_names),
                "templates": list(task.templates),
                **({"notes": list(task.notes)} if task.notes else {}),
            }
            for name, task in battery.tasks.items()
        },
    }
