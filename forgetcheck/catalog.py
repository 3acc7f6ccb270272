"""name:option=value -> the class in the file of that name. The file name is the registration."""

import ast
import importlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from forgetcheck.errors import InputError, unknown_name

# Types for options with bounds: the text of the command line is checked against them
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Digits = Annotated[int, Field(ge=0, le=16)]
Share = Annotated[float, Field(ge=0, le=1)]
SmallCount = Annotated[int, Field(ge=1, le=100)]
White = Annotated[int, Field(ge=1, le=65535)]
Rank = Annotated[int, Field(ge=1, le=1_000)]
NeighbourCount = Annotated[int, Field(ge=1, le=10_000)]

_COMMA = "\\,"  # in a value
_BETWEEN = re.compile(r"(?<!\\),")  # options

HERE = Path(__file__).parent
BASES = {"regularizers": "Regularizer", "probes": "Probe", "tasks": "Task", "exporters": "Exporter"}
_SINGULAR = {"regularizers": "regularizer", "probes": "probe", "tasks": "task", "exporters": "exporter"}


@dataclass(frozen=True)
class Option:
    """One option of an extension: a field of its dataclass."""

    name: str
    type: str
    default: str


@dataclass(frozen=True)
class Entry:
    """What can be said of an extension without importing it."""

    name: str
    summary: str
    options: tuple[Option, ...]


def names(kind: str) -> tuple[str, ...]:
    """Return the names of all extensions of a kind, sorted."""
    return tuple(entry.name for entry in entries(kind))


def entries(kind: str) -> tuple[Entry, ...]:
    """Read the folder of a kind; nothing is imported."""
    return tuple(sorted(_read_entries(kind), key=lambda entry: entry.name))


def _read_entries(kind: str) -> Iterator[Entry]:
    for path in (HERE / kind).glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = _extension_class(tree, BASES[kind])
        if found is not None:
            summary = (ast.get_docstring(tree) or "").split("\n")[0]
            yield Entry(path.stem.replace("_", "-"), summary, tuple(_read_options(found)))


def is_extension(kind: str, name: str) -> bool:
    """Whether there is one of this name; a battery asks often, so only its own file is read."""
    path = HERE / kind / f"{name.replace('-', '_')}.py"
    if path.stem.replace("_", "-") != name or path.parent != HERE / kind or not path.is_file():
        return False
    return _extension_class(ast.parse(path.read_text(encoding="utf-8")), BASES[kind]) is not None


def _extension_class(tree: ast.Module, base: str) -> ast.ClassDef | None:
    """Find the one class that derives from `base`; a file without one is not an extension."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(
            isinstance(b, ast.Name) and b.id == base for b in node.bases
        ):
            return node
    return None


def _read_options(node: ast.ClassDef) -> Iterator[Option]:
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            annotation = ast.unparse(line.annotation)
            if not annotation.startswith("ClassVar"):
                default = ast.unparse(line.value) if line.value else "required"
                yield Option(line.target.id.replace("_", "-"), annotation, default)


def _as_written(option: str, text: str) -> str:
    return text


def build(kind: str, spec: str, settle: Callable[[str, str], str] = _as_written) -> Any:
    """Make the extension that a spec such as `ldifs:strength=5` names.

    `settle` is told each option and its text, and may put another text in its place.
    Raises InputError for an unknown name, an unknown option or a value of the wrong type.
    """
    name, _, rest = spec.partition(":")
    see = f"forgetcheck list {kind}"
    if not is_extension(kind, name):
        raise unknown_name(_SINGULAR[kind], name, names(kind), see)
    found = load_class(kind, name)
    hints = get_type_hints(found, include_extras=True)
    known = [field.name.replace("_", "-") for field in fields(found)]
    values = {}
    for key, text in parse_options(spec, rest):
        if key not in known:
            raise unknown_name(f"option of {name}", key, known, see)
        field = key.replace("-", "_")
        values[field] = convert(f"{name}:{key}", hints[field], settle(key, text))
    _refuse_missing(name, found, values)
    return found(**values)


def _refuse_missing(name: str, found: type[Any], values: Mapping[str, Any]) -> None:
    needed = [f.name for f in fields(found) if f.default is MISSING and f.default_factory is MISSING]
    missing = [field.replace("_", "-") for field in needed if field not in values]
    if missing:
        raise InputError(
            f"{name} needs {', '.join(missing)}: write {name}:"
            + ",".join(f"{key}=VALUE" for key in missing)
            + "."
        )


def load_class(kind: str, name: str) -> type[Any]:
    module = importlib.import_module(f"forgetcheck.{kind}.{name.replace('-', '_')}")
    base = getattr(importlib.import_module(f"forgetcheck.{kind}.base"), BASES[kind])
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
    ]
    assert len(found) == 1, f"{module.__name__} must hold exactly one {BASES[kind]}"
    return found[0]


def parse_options(spec: str, rest: str) -> Iterator[tuple[str, str]]:
    """Split `a=1,b=2`; underscores and hyphens in keys are the same, and `\\,` is a comma in a value."""
    seen = set()
    for part in filter(None, _BETWEEN.split(rest)):
        key, equals, text = part.partition("=")
        key = key.strip().replace("_", "-")
        if not equals:
            raise InputError(
                f"'{spec}': expected option=value, found '{part}'; write name:option=value,option=value."
            )
        if key in seen:
            raise InputError(f"'{spec}': option '{key}' is given twice; keep one.")
        seen.add(key)
        yield key, text.strip().replace(_COMMA, ",")


def escaped(text: str) -> str:
    """Write a value of an option so that its commas begin no other."""
    return text.replace(",", _COMMA)


def convert(where: str, hint: Any, text: str) -> Any:
    """Read option text as the type of its field."""
    try:
        value = TypeAdapter(hint).validate_python(text)
    except ValidationError as problem:
        said = problem.errors(include_url=False)[0]["msg"]
        raise InputError(f"{where}={text}: {said[0].lower()}{said[1:]}.") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where}={text}: input should be a finite number.")
    return value
