"""Rows of a CSV file that lists images. Every mistake is told with its line."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TextIO

from forgetcheck.documents import reason, refuse_table
from forgetcheck.errors import CannotAsk
from forgetcheck.tasks.naming import tidied
from forgetcheck.tasks.parting import EVERY, SHORT, is_part

IMAGE, PART = "image", "part"  # the options that mean the same in every file


@dataclass(frozen=True)
class Columns:
    """The names of the columns that mean something, by the options that change them."""

    needed: Mapping[str, str]  # image, and what every image must have
    more: Mapping[str, str]
    lenient: bool = False  # whether others are left out
    once: bool = True  # whether an image may be listed only once

    def check(self, where: str, header: Sequence[str]) -> None:
        """Refuse a header that lacks something, or says more than is understood."""
        listed = ", ".join(f"'{name}'" for name in header) or "nothing"
        for option, name in self.needed.items():
            if name not in header:
                raise CannotAsk(
                    f"{where} has no column '{name}' but {listed}: pass {option}=NAME, and see that commas "
                    "are between the columns."
                )
        if len(set(header)) < len(header):
            raise CannotAsk(f"{where} has two columns of one name in {listed}: rename one.")
        known = {**self.needed, **self.more}
        odd = [name for name in header if name not in known.values()]
        if odd and not self.lenient:
            free = [f"{option}={odd[0]}" for option, name in self.more.items() if name not in header]
            meant = f"{' or '.join(free)} if it is one of these, or " if free else ""
            raise CannotAsk(
                f"{where} has the unknown column '{odd[0]}': pass {meant}others=ignore to leave it out."
            )


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the file."""

    where: str  # for messages
    line: int
    path: str  # relative to the root
    said: Mapping[str, str]  # by option; empty where the file has no such column


def read_rows(path: Path, root: Path, columns: Columns) -> list[Row]:
    """Return every row. Raises CannotAsk with the line of the first that can't be used."""
    try:
        refuse_table(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(parse(path, file, root, columns))
    except (OSError, ValueError, csv.Error) as problem:
        raise CannotAsk(f"cannot read '{path}': {reason(problem)}.") from None


def parse(path: Path, file: TextIO, root: Path, columns: Columns) -> Iterator[Row]:
    lines = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
    header = [name.strip() for name in next(lines, [])]
    columns.check(f"'{path}'", header)
    first: dict[str, int] = {}
    for fields in filter(None, lines):  # a blank line has none
        where = f"'{path}' line {lines.line_num}"
        if len(fields) != len(header):
            raise CannotAsk(f"{where} has {len(fields)} fields where the header has {len(header)}.")
        values = dict(zip(header, map(str.strip, fields), strict=True))
        row = make_row(where, lines.line_num, root, values, columns)
        if row.path in first and columns.once:
            raise CannotAsk(f"{where} lists '{row.path}' again, as line {first[row.path]} does: keep one.")
        first[row.path] = row.line
        yield row


def make_row(where: str, line: int, root: Path, values: Mapping[str, str], columns: Columns) -> Row:
    said = {
        option: values.get(name, "")
        for option, name in {**columns.needed, **columns.more}.items()
        if option != IMAGE
    }
    for option in columns.needed:
        if option != IMAGE and not tidied(said[option]):
            raise CannotAsk(f"{where} has no {option}: every image needs one.")
    name = columns.more[PART]
    if name in values and not is_part(said[PART]):
        accepted = ", ".join(dict.fromkeys(SHORT.get(name, name) for name in EVERY))
        raise CannotAsk(f"{where} has the {name} '{said[PART]}': write one of {accepted}.")
    return Row(where, line, below(where, root, values[columns.needed[IMAGE]]), said)


def below(where: str, root: Path, text: str) -> str:
    """Return a path relative to the root. Raises CannotAsk for one that leads elsewhere."""
    path = PurePosixPath(text)
    try:
        path = path.relative_to(PurePosixPath(root.absolute().as_posix())) if path.is_absolute() else path
    except ValueError:
        path = PurePosixPath("..")
    if ".." in path.parts or not path.parts:
        raise CannotAsk(
            f"{where} has the path '{text}', which is not below '{root}': pass root=DIR to say where the "
            "paths begin."
        )
    return str(path)
