"""Class names and prompt templates, from folder names and from files with one of them a line."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from forgetcheck.documents import parse_json, reason
from forgetcheck.errors import DataError
from forgetcheck.tasks.reading.reach import Reach

FALLBACK = ("a photo of a {}.",)  # where the source has no templates of its own
LARGEST = 2**24  # bytes of a list of names
_NUMBER = re.compile(r"[+-]?\d+(?:[.]\d*)?")
_NUMBERED = re.compile(r"\d+\.(?=.*\D)")  # as in CUB's 001.Black_footed_Albatross


def humanised(names: Sequence[str]) -> tuple[str, ...]:
    """Write folder names as one would say them: `golden_retriever` is a golden retriever.

    Numbers in front are dropped where every name has one.
    """
    numbered = all(_NUMBERED.match(name) for name in names)
    plain = (_NUMBERED.sub("", name, count=1) if numbered else name for name in names)
    return tuple(tidied(name.replace("_", " ")) for name in plain)


def tidied(name: str) -> str:
    """Write one name in one line and one way: composed Unicode, single spaces."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def checked(where: str, names: Sequence[str], exact: bool = False) -> tuple[str, ...]:
    """Return names that can be asked for. Raises InputError for too few, empty, equal or broken ones.

    Names that differ in case or Unicode form only are one name, unless they are `exact`.
    """
    if len(names) < 2:
        raise DataError(f"{where} has {len(names)} classes: at least two are needed to tell apart.")
    places: dict[str, int] = {}
    spelled: dict[str, str] = {}
    for number, name in enumerate(names):
        if not name.strip() or has_no_text(name):
            raise DataError(
                f"{where}: class {number} has the name {name!r}, which can't be asked: rename it."
            )
        if name in places:
            raise DataError(f"{where}: classes {places[name]} and {number} are both '{name}': rename one.")
        places[name] = number
        other = spelled.setdefault(folded(name), name)
        if other != name and not exact and len(name) > 1:  # the case of a letter is what it means
            raise DataError(
                f"{where}: classes {places[other]} and {number}, '{other}' and '{name}', differ in case "
                "or Unicode form only, as where two machines wrote one class: rename one, or join them; a "
                "source with names=as-is keeps both."
            )
    return tuple(names)


def folded(name: str) -> str:
    """Write a name in the one way that all its spellings share: case and Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def in_order(labels: Iterable[str], key: Callable[[str], Any] = str) -> list[str]:
    """Sort labels, each once: numbers by value, so that 10 comes after 9, and texts by `key`."""
    distinct = set(labels)
    if are_numbers(distinct):
        return sorted(distinct, key=lambda label: (Decimal(label), label))
    return sorted(distinct, key=key)


def are_numbers(labels: Iterable[str]) -> bool:
    """Whether all labels are numbers as people write class numbers: 7, -1, 007, 3.0."""
    return all(_NUMBER.fullmatch(label) for label in labels)


def whole(label: str) -> str:
    """Write a whole number one way: 7 for 07, 7.0 and +7. Anything else stays as it is."""
    if _NUMBER.fullmatch(label) and Decimal(label) == Decimal(label).to_integral_value():
        return str(int(Decimal(label)))
    return label


def has_no_text(name: str) -> bool:
    """Whether a name is not Unicode: the file system gives such names with lone surrogates."""
    return any("\ud800" <= mark <= "\udfff" for mark in name)


def read_lines(path: Path, reach: Reach, own: Sequence[Path] = ()) -> tuple[str, ...]:
    """Return the lines of a text file, tidied, without the blank ones at its end."""
    try:
        text = reach.read_text(path, LARGEST, "utf-8-sig", own)
    except (OSError, ValueError) as problem:
        raise DataError(f"cannot read '{path}': {reason(problem)}.") from None
    return tuple(tidied(line) for line in text.rstrip().splitlines())


def read_by_label(path: Path, reach: Reach, own: Sequence[Path] = ()) -> dict[str, str]:
    """Read what labels are called: a JSON object, or a line for each, `n01440764 tench, Tinca tinca`.

    Of several names with commas between them the first counts, as it does for ImageNet.
    """
    lines = read_lines(path, reach, own)
    if lines and lines[0].startswith("{"):
        try:
            pairs = [
                (label, name) for label, name in parse_json(" ".join(lines)).items() if isinstance(name, str)
            ]
        except ValueError as problem:
            raise DataError(f"cannot read '{path}': {reason(problem)}.") from None
    else:
        pairs = [
            (label.rstrip(",:"), name)
            for label, name in (line.split(" ", 1) for line in lines if " " in line)
        ]
    found = {tidied(label): tidied(name.split(",")[0]) for label, name in pairs}
    if not found:
        raise DataError(f"'{path}' names no label: write a line for each, the label first and then its name.")
    return found


def by_label(where: str, raw: Sequence[str], told: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of labels by what the source calls them. Raises InputError for one without a name."""
    spelled = {plain(label): name for label, name in told.items()}
    missing = [label for label in raw if plain(label) not in spelled]
    if missing:
        raise DataError(f"{where}: class_names has no name for the label '{missing[0]}': add it.")
    return tuple(spelled[plain(label)] for label in raw)


def plain(label: str) -> str:
    """Write a label in the way that all its spellings share: numbers by value, spaces for underscores."""
    return whole(tidied(label.replace("_", " ")))


def read_templates(path: Path, reach: Reach, own: Sequence[Path] = ()) -> tuple[str, ...]:
    """Return prompt templates, one a line, with `{}` or CLIP_benchmark's `{c}` where the name goes."""
    lines = tuple(line.replace("{c}", "{}") for line in read_lines(path, reach, own))
    for number, line in enumerate(lines, start=1):
        if line.count("{}") != 1:
            raise DataError(
                f"'{path}' line {number}: expected one {{}} for the class name, and found none or more."
            )
    if not lines:
        raise DataError(f"'{path}' is empty: write one template a line, such as '{FALLBACK[0]}'.")
    return lines
