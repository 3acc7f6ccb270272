"""name:option=value -> a class. The file name registers ours, an entry point those of other packages."""

import ast
import importlib
import importlib.util
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from forgetcheck.errors import InputError, unknown_name

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

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
OURS = "forgetcheck"  # the package whose folders are read
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST = 160  # characters of another package's error that are shown


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
    package: str = OURS  # that it came with
    broken: str = ""  # why it can't be used, in half a line


def names(kind: str) -> tuple[str, ...]:
    """Return the names of all extensions of a kind that can be used, sorted."""
    return tuple(entry.name for entry in entries(kind) if not entry.broken)


def entries(kind: str) -> tuple[Entry, ...]:
    """Read the folder of a kind, and the files of other packages; no extension is imported."""
    others = (_installed_entry(kind, point) for point in installed(kind))
    return tuple(sorted((*_read_entries(kind), *others), key=lambda entry: (entry.name, entry.package)))


def _read_entries(kind: str) -> Iterator[Entry]:
    for path in (HERE / kind).glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = _extension_class(tree, BASES[kind])
        if found is not None:
            summary = (ast.get_docstring(tree) or "").split("\n")[0]
            yield Entry(path.stem.replace("_", "-"), summary, tuple(_read_options(found)))


def is_extension(kind: str, name: str) -> bool:
    """Whether there is one of this name, ours or of another package."""
    return _is_ours(kind, name) or any(point.name == name for point in installed(kind))


def _is_ours(kind: str, name: str) -> bool:
    """Whether our folder has one of this name; a battery asks often, so only its own file is read."""
    path = HERE / kind / f"{name.replace('-', '_')}.py"
    if path.stem.replace("_", "-") != name or path.parent != HERE / kind or not path.is_file():
        return False
    return _extension_class(ast.parse(path.read_text(encoding="utf-8")), BASES[kind]) is not None


def _extension_class(tree: ast.Module, base: str, name: str = "") -> ast.ClassDef | None:
    """Find the one class that derives from `base`, of this name if it is given.

    A file without one is not an extension.
    """
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and name in ("", node.name) and base in map(_last_name, node.bases):
            return node
    return None


def _last_name(node: ast.expr) -> str:
    """Return `Probe` of `Probe` and of `forgetcheck.Probe`."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@cache
def installed(kind: str) -> "tuple[EntryPoint, ...]":
    """Return what installed packages register for a kind, by name; nothing of theirs is imported."""
    from importlib.metadata import entry_points  # which `--help` needn't wait for

    return tuple(sorted(entry_points(group=f"{OURS}.{kind}"), key=lambda point: (point.name, point.value)))


def _package_of(point: "EntryPoint") -> str:
    return point.dist.name if point.dist is not None else "unknown"


def _registered(kind: str, name: str) -> "EntryPoint | None":
    """Return the entry point of a name, None if it is ours. Raises InputError where two packages have it."""
    points = [point for point in installed(kind) if point.name == name]
    owners = [OURS] * _is_ours(kind, name) + [_package_of(point) for point in points]
    if len(owners) > 1:
        raise InputError(
            f"{_SINGULAR[kind]} '{name}' comes with {' and '.join(owners)}: uninstall one of the packages, "
            "or give it another name in the entry points of its pyproject.toml."
        )
    return points[0] if points else None


def _installed_entry(kind: str, point: "EntryPoint") -> Entry:
    """Read the file of another package's extension as ours are read; only the package around it is imported.

    What is wrong with it is part of the entry, so that one broken package hides no other.
    """
    try:
        if not NAME.fullmatch(point.name):
            raise ValueError("its name must be of a-z, 0-9 and hyphens")
        _registered(kind, point.name)
        tree = ast.parse(_file_of(point).read_text(encoding="utf-8"))
        found = _extension_class(tree, BASES[kind], point.attr)
        if found is None:
            raise ValueError(f"{point.value} is no class that derives from {BASES[kind]} by this name")
    except Exception as problem:  # whatever happens in a stranger's package
        return Entry(point.name, "", (), _package_of(point), brief(problem))
    summary = (ast.get_docstring(tree) or "").split("\n")[0]
    return Entry(point.name, summary, tuple(_read_options(found)), _package_of(point))


def _file_of(point: "EntryPoint") -> Path:
    spec = importlib.util.find_spec(point.module)
    if spec is None or spec.origin is None:
        raise ValueError(f"there is no module {point.module}")
    return Path(spec.origin)


def brief(problem: Exception) -> str:
    """Write the error of another package in one line."""
    said = " ".join(str(problem).split())[:_LONGEST].rstrip(".")
    known = isinstance(problem, (InputError, ValueError))
    return said if known and said else f"{type(problem).__name__}: {said}".rstrip(": ")


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
    """Import the class of an extension. Raises InputError for one of another package that can't be used."""
    point = _registered(kind, name)
    base = getattr(importlib.import_module(f"forgetcheck.{kind}.base"), BASES[kind])
    if point is not None:
        return _load_installed(kind, point, base)
    module = importlib.import_module(f"forgetcheck.{kind}.{name.replace('-', '_')}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
    ]
    assert len(found) == 1, f"{module.__name__} must hold exactly one {BASES[kind]}"
    return found[0]


def _load_installed(kind: str, point: "EntryPoint", base: type[Any]) -> type[Any]:
    what = f"{_SINGULAR[kind]} '{point.name}' of the package '{_package_of(point)}' can't be used"
    try:
        found: Any = point.load()
    except Exception as problem:  # whatever happens in a stranger's package
        raise InputError(f"{what} ({brief(problem)}): update it, or uninstall it.") from problem
    if not (isinstance(found, type) and issubclass(found, base)):
        raise InputError(f"{what} ({point.value} is no {base.__name__}): update it, or uninstall it.")
    lacking = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
    if lacking:
        raise InputError(f"{what} ({point.value} lacks {lacking}): update it, or uninstall it.")
    return found


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
