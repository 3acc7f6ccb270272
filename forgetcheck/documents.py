"""JSON and TOML: read what somebody else may have written, and write strings so that others can."""

import json
import math
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

DEEPEST = 100  # tables within tables: no writer of ours comes near, and every reader gets that far
NAMES = re.compile(r"\((['\"]).*\1,?\)|(?<!\w)(['\"]).*\2")
TOO_DEEP = "it is nested too deeply"


def parse_json(text: str) -> dict[str, Any]:
    """Read a JSON object. Raises ValueError for anything else, such as NaN, which JSON doesn't know."""
    value = parse_any_json(text)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {type(value).__name__}")
    return value


def parse_any_json(text: str) -> Any:
    """Read a JSON value. Raises ValueError for what is none, and nothing else."""
    try:
        value = json.loads(text, parse_constant=not_json, parse_float=finite)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if is_deep(value):
        raise ValueError(TOO_DEEP)
    return value


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises OSError or ValueError, and nothing else, for whatever is wrong with it."""
    if path.exists() and not path.is_file():  # a pipe could keep us waiting, a device has no end
        raise ValueError(f"it is {kind_of(path)}, not a file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except tomllib.TOMLDecodeError as problem:  # some name the keys of a file that may be no TOML at all
        raise ValueError(NAMES.sub("...", str(problem))) from None


def read_text(path: Path, largest: int, encoding: str = "utf-8") -> str:
    """Read a text file of at most `largest` bytes. Raises OSError or ValueError, and nothing else."""
    if path.exists() and not path.is_file():  # a pipe could keep us waiting, a device has no end
        raise ValueError(f"it is {kind_of(path)}, not a file")
    if path.stat().st_size > largest:
        raise ValueError(f"it has more than {largest >> 20:,} MiB")
    return path.read_text(encoding=encoding)


def kind_of(path: Path) -> str:
    """Name what stands at a path where a file should."""
    kinds = {"a folder": path.is_dir, "a pipe": path.is_fifo, "a socket": path.is_socket}
    return next((kind for kind, found in kinds.items() if found()), "a device")


def reason(problem: Exception) -> str:
    """Say why a file can't be read, for a sentence that names it already."""
    return str(getattr(problem, "strerror", None) or problem)


def is_deep(value: Any) -> bool:
    """Whether values lie deeper than DEEPEST; found level by level, because recursion is what they break."""
    level: Sequence[Any] = [value]
    for _ in range(DEEPEST):
        level = [part for parent in level for part in parts_of(parent)]
        if not level:
            return False
    return True


def parts_of(value: Any) -> Iterator[Any]:
    """Yield the tables and lists that a table or list holds."""
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (part for part in held if isinstance(part, dict | list))


def not_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def finite(text: str) -> float:
    """Read a number; 1e999 would become infinity, which no writer of ours can write down again."""
    value = float(text)
    return value if math.isfinite(value) else not_json(text)


def toml_string(text: str) -> str:
    """Write text as a TOML string; what is no Unicode, as in odd file names, becomes a question mark."""
    able = "".join("?" if 0xD800 <= ord(mark) <= 0xDFFF else mark for mark in text)
    return json.dumps(able, ensure_ascii=False).replace("\x7f", "\\u007F")
