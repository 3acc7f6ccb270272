"""Write a battery as TOML that a person can read and go on with."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from forgetcheck import catalog
from forgetcheck.batteries.battery import TaskEntry
from forgetcheck.batteries.paths import is_relative
from forgetcheck.documents import toml_string

_WIDTH = 100  # of a list in one line
_KEYS = ("source", "samples", "class_names", "templates", "expected", "licence", "note", "get")


def battery_text(
    heading: Sequence[str],
    entries: Sequence[TaskEntry],
    remarks: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """Return the file: comment lines first, then the tasks; `remarks` are comments by task and key."""
    lines = [_comment(line) for line in heading]
    for entry in entries:
        lines += ["", *_entry_lines(entry, (remarks or {}).get(entry.name, {}))]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    return f"# {text}".rstrip()


def _entry_lines(entry: TaskEntry, remarks: Mapping[str, str]) -> Iterator[str]:
    values = entry.model_dump(exclude_none=True, exclude_defaults=True)
    if "" in remarks:
        yield _comment(remarks[""])
    yield "[[task]]"
    yield f"name = {toml_string(entry.name)}"
    for key in _KEYS:
        if key in values:
            if key in remarks:
                yield _comment(remarks[key])
            yield f"{key} = {_value_text(values[key])}"


def _key_text(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_string(key)


def _value_text(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{_key_text(key)} = {_value_text(inner)}" for key, inner in value.items()) + "}"
        )
    if isinstance(value, list):
        texts = [_value_text(item) for item in value]
        line = f"[{', '.join(texts)}]"
        return line if len(line) <= _WIDTH else "[\n" + "".join(f"  {text},\n" for text in texts) + "]"
    return toml_string(value) if isinstance(value, str) else str(value)


def source_text(name: str, option: str, path: Path, folder: Path) -> str:
    """Write a source that reads `path`, for a battery that lies in `folder`."""
    return f"{name}:{option}={catalog.escaped(_path_from(path, folder))}"


def moved(source: str, old: Path, new: Path, copies: Mapping[str, str] | None = None) -> str:
    """Rewrite the paths in a source of a battery in `old` for one in `new`; some have copies there."""
    name, colon, rest = source.partition(":")
    beside = copies or {}
    options = [
        f"{option}={catalog.escaped(beside.get(option) or _moved_text(option, text, name, old, new))}"
        for option, text in catalog.parse_options(source, rest)
    ]
    return f"{name}{colon}{','.join(options)}"


def _moved_text(option: str, text: str, source: str, old: Path, new: Path) -> str:
    if not is_relative(option, text, source, old):
        return text
    return _path_from(old / text, new)


def _path_from(path: Path, folder: Path) -> str:
    """Write a path relative to a folder, with slashes, as it stays true when both are moved together."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive
        return path.resolve().as_posix()
