"""JSON and TOML: read what somebody else may have written, and write strings so that others can."""

import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

DEEPEST = 100  # tables within tables: no writer of ours comes near, and every reader gets that far
_NAMES = re.compile(r"\((['\"]).*\1,?\)|(?<!\w)(['\"]).*\2")
_TOO_DEEP = "it is nested too deeply"
_LARGEST_TOML = 2**22  # bytes of a battery, a policy or a pyproject.toml; its reader is a slow one
_LARGEST_TABLE = 2**30  # bytes of a CSV file
TABLE_MEMORY = 2**32  # bytes of its rows: about seven million
_ROW = 600  # bytes that a row takes in the memory
_BLOCK = 2**20  # bytes that are looked at together
_VALUE = 80  # bytes that a small value takes in the memory: an object and its place in a list or table
_MARKS = (b",", b":", b"[", b"{")  # one of them comes before every value but the outermost
_FOUR_BYTES = re.compile(b"[\xf0-\xff]")  # begins a character that needs four in the memory
_DOTTED = (
    re.compile(  # a key of more parts than tables may be deep: the reader's time grows with their square
        rf"""(?m)(?:^|[\[{{,])[ \t]*(?>(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{DEEPEST}}}"""
    )
)


def parse_json(text: str) -> dict[str, Any]:
    """Read a JSON object. Raises ValueError for anything else, such as NaN, which JSON doesn't know."""
    value = parse_any_json(text)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {type(value).__name__}")
    return value


def parse_any_json(text: str) -> Any:
    """Read a JSON value. Raises ValueError for what is none, and nothing else."""
    try:
        value = json.loads(text, parse_constant=_not_json, parse_float=_finite)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if _is_deep(value):
        raise ValueError(_TOO_DEEP)
    return value


def read_json(path: Path, largest: int, memory: int, encoding: str = "utf-8") -> Any:
    """Read a JSON value from a file of at most `largest` bytes; else as `parse_within`, or OSError."""
    _refuse_odd(path, largest)
    _refuse_heavy(weight(_blocks_of(path)), memory)
    return parse_any_json(read_bytes(path, largest).decode(encoding))


def parse_within(memory: int, data: bytes, encoding: str = "utf-8") -> Any:
    """Read a JSON value that takes at most about `memory` bytes, which is checked before any is made.

    Three bytes of JSON can be a table, which takes 64. Raises ValueError, and nothing else.
    """
    _refuse_heavy(weight([data]), memory)
    return parse_any_json(data.decode(encoding))


def weight(blocks: Iterable[bytes]) -> int:
    """Return about how many bytes of memory the text of a JSON file takes, together with its values."""
    size, marks, width = 0, 0, 1  # bytes of each character, by the widest
    for block in blocks:
        size += len(block)
        marks += sum(map(block.count, _MARKS))
        width = max(width, 1 if block.isascii() else 4 if _FOUR_BYTES.search(block) else 2)
    return 2 * width * size + _VALUE * marks


def refuse_table(path: Path) -> None:
    """Raise ValueError for a table that is no file, too large, or has more rows than the memory is for."""
    _refuse_odd(path, _LARGEST_TABLE)
    size, lines = 0, 0
    for block in _blocks_of(path):
        size += len(block)
        lines += max(block.count(b"\n"), block.count(b"\r"))
    _refuse_heavy(size + _ROW * lines, TABLE_MEMORY)


def _blocks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _refuse_heavy(weighed: int, memory: int) -> None:
    if weighed > memory:
        raise ValueError(f"its values would take more than {memory >> 20:,} MiB of memory")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises OSError or ValueError, and nothing else, for whatever is wrong with it."""
    text = read_text(path, _LARGEST_TOML)
    if _DOTTED.search(text):
        raise ValueError(_TOO_DEEP)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except tomllib.TOMLDecodeError as problem:  # some name the keys of a file that may be no TOML at all
        raise ValueError(_NAMES.sub("...", str(problem))) from None


def read_text(path: Path, largest: int, encoding: str = "utf-8") -> str:
    """Read a text file of at most `largest` bytes. Raises OSError or ValueError, and nothing else."""
    text = read_bytes(path, largest).decode(encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")  # as Python reads a text file


def read_bytes(path: Path, largest: int) -> bytes:
    """Read a file of at most `largest` bytes, also where it grows meanwhile or doesn't know its size."""
    _refuse_odd(path, largest)
    with path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ValueError(_too_large(largest))
    return data


def _refuse_odd(path: Path, largest: int) -> None:
    """Raise ValueError for what is no file or too large, and OSError for what isn't there."""
    if path.exists() and not path.is_file():  # a pipe could keep us waiting, a device has no end
        raise ValueError(f"it is {kind_of(path)}, not a file")
    if path.stat().st_size > largest:
        raise ValueError(_too_large(largest))


def _too_large(largest: int) -> str:
    return f"it has more than {largest >> 20:,} MiB"


def kind_of(path: Path) -> str:
    """Name what stands at a path where a file should."""
    kinds = {"a folder": path.is_dir, "a pipe": path.is_fifo, "a socket": path.is_socket}
    return next((kind for kind, found in kinds.items() if found()), "a device")


def reason(problem: Exception) -> str:
    """Say why a file can't be read, for a sentence that names it already."""
    return str(getattr(problem, "strerror", None) or problem)


def _is_deep(value: Any) -> bool:
    """Whether values lie deeper than DEEPEST; found level by level, because recursion is what they break."""
    level: Sequence[Any] = [value]
    for _ in range(DEEPEST):
        level = [part for parent in level for part in _parts_of(parent)]
        if not level:
            return False
    return True


def _parts_of(value: Any) -> Iterator[Any]:
    """Yield the tables and lists that a table or list holds."""
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (part for part in held if isinstance(part, dict | list))


def _not_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _finite(text: str) -> float:
    """Read a number; 1e999 would become infinity, which no writer of ours can write down again."""
    value = float(text)
    return value if math.isfinite(value) else _not_json(text)


def toml_string(text: str) -> str:
    """Write text as a TOML string; what is no Unicode, as in odd file names, becomes a question mark."""
    able = "".join("?" if 0xD800 <= ord(mark) <= 0xDFFF else mark for mark in text)
    return json.dumps(able, ensure_ascii=False).replace("\x7f", "\\u007F")
