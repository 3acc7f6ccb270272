"""Class names and prompt templates, from folder names and from files with one of them a line."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from forgetcheck.documents import read_text, reason
from forgetcheck.errors import CannotAsk

FALLBACK = ("a photo of a {}.",)  # where the source has no templates of its own
LARGEST = 2**24  # bytes of a list of names
NUMBERED = re.compile(r"\d+\.(?=.*\D)")  # as in CUB's 001.Black_footed_Albatross


def humanised(names: Sequence[str]) -> tuple[str, ...]:
    """Write folder names as one would say them: `golden_retriever` is a golden retriever.

    Numbers in front are dropped where every name has one.
    """
    numbered = all(NUMBERED.match(name) for name in names)
    plain = (NUMBERED.sub("", name, count=1) if numbered else name for name in names)
    return tuple(tidied(name.replace("_", " ")) for name in plain)


def tidied(name: str) -> str:
    """Write one name in one line and one way: composed Unicode, single spaces."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def checked(where: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return names that can be asked for. Raises CannotAsk for too few, empty, equal or broken ones."""
    if len(names) < 2:
        raise CannotAsk(f"{where} has {len(names)} classes: at least two are needed to tell apart.")
    places: dict[str, int] = {}
    for number, name in enumerate(names):
        if not name.strip() or has_no_text(name):
            raise CannotAsk(
                f"{where}: class {number} has the name {name!r}, which can't be asked: rename it."
            )
        if name in places:
            raise CannotAsk(f"{where}: classes {places[name]} and {number} are both '{name}': rename one.")
        places[name] = number
    return tuple(names)


def in_order(labels: Iterable[str]) -> list[str]:
    """Sort labels, each once; numbers by value, so that 10 comes after 9."""
    distinct = set(labels)
    if all(label.isdecimal() for label in distinct):
        return sorted(distinct, key=lambda label: (int(label), label))
    return sorted(distinct)


def has_no_text(name: str) -> bool:
    """Whether a name is not Unicode: the file system gives such names with lone surrogates."""
    return any("\ud800" <= mark <= "\udfff" for mark in name)


def read_lines(path: Path) -> tuple[str, ...]:
    """Return the lines of a text file, tidied, without the blank ones at its end."""
    try:
        text = read_text(path, LARGEST, "utf-8-sig")
    except (OSError, ValueError) as problem:
        raise CannotAsk(f"cannot read '{path}': {reason(problem)}.") from None
    return tuple(tidied(line) for line in text.rstrip().splitlines())


def read_templates(path: Path) -> tuple[str, ...]:
    """Return prompt templates, one a line, with `{}` or CLIP_benchmark's `{c}` where the name goes."""
    lines = tuple(line.replace("{c}", "{}") for line in read_lines(path))
    for number, line in enumerate(lines, start=1):
        if line.count("{}") != 1:
            raise CannotAsk(f"'{path}' line {number}: expected one {{}} for the class name, found '{line}'.")
    if not lines:
        raise CannotAsk(f"'{path}' is empty: write one template a line, such as '{FALLBACK[0]}'.")
    return lines


def templates_from(path: str) -> tuple[str, ...]:
    """Return the templates of a file a user named, or the one that fits most classes."""
    return read_templates(Path(path)) if path else FALLBACK
