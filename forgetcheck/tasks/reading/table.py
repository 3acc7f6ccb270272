"""Rows of a CSV file that lists images. Every mistake is told with its line."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from forgetcheck.documents import parse_json, reason, refuse_table
from forgetcheck.errors import DataError, InputError
from forgetcheck.tasks.reading.naming import tidied
from forgetcheck.tasks.reading.prefixes import advice, refuse_lost, stripped
from forgetcheck.tasks.reading.reach import Reach
from forgetcheck.tasks.reading.splitting import EVERY, SHORT, is_part

_LONGEST = 2**20  # characters of a line of JSON
JSON_LINES = (".jsonl", ".ndjson")
IMAGE, PART = "image", "part"  # the options that mean the same in every file


@dataclass(frozen=True)
class Columns:
    """The names of the columns that mean something, by the options that change them."""

    needed: Mapping[str, str]  # image, and what every image must have
    more: Mapping[str, str]
    lenient: bool = False  # whether others are left out
    once: bool = True  # whether an image may be listed only once
    strip: str = ""  # what a server wrote before the paths

    def check(self, where: str, header: Sequence[str]) -> None:
        """Refuse a header that lacks something, or says more than is understood."""
        # what has none of the columns may be anything: its first line is not shown
        strange = not any(name in header for name in self.needed.values())
        listed = "another first line" if strange and header else ", ".join(f"'{name}'" for name in header)
        for option, name in self.needed.items():
            if name not in header:
                raise DataError(
                    f"{where} has no column '{name}' but {listed or 'nothing'}: pass {option}=NAME, and see "
                    "that commas are between the columns."
                )
        if len(set(header)) < len(header):
            raise DataError(f"{where} has two columns of one name in {listed}: rename one.")
        known = {**self.needed, **self.more}
        odd = [name for name in header if name not in known.values()]
        if odd and not self.lenient:
            free = [f"{option}={odd[0]}" for option, name in self.more.items() if name not in header]
            meant = f"{' or '.join(free)} if it is one of these, or " if free else ""
            raise DataError(
                f"{where} has the unknown column '{odd[0]}': pass {meant}others=ignore to leave it out."
            )


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the file."""

    where: str  # for messages
    line: int
    path: str  # relative to the root
    said: Mapping[str, str]  # by option; empty where the file has no such column
    written: str  # the path as it stands in the file


def read_rows(path: Path, root: Path, columns: Columns, reach: Reach) -> list[Row]:
    """Return every row. Raises InputError with the line of the first that can't be used."""
    rows: list[Row] = []
    try:
        own = reach.around_list(path, root)
        refuse_table(reach.allowed(path, own))
        with reach.open_text(path, "utf-8-sig", own=own) as file:
            for row in _parse(path, file, root, columns):
                rows.append(row)  # noqa: PERF402 - those before a mistake say whether it may be shown
    except (OSError, ValueError, csv.Error) as problem:
        raise DataError(f"cannot read '{path}': {reason(problem)}.") from None
    except InputError:  # whose message may show a cell
        reach.refuse_no_list(path, root, (row.path for row in rows))
        raise
    reach.refuse_no_list(path, root, (row.path for row in rows))
    refuse_lost(f"'{path}'", root, columns.strip, [(row.written, row.path) for row in rows])
    return rows


def _lines_of(path: Path, file: TextIO) -> Iterator[tuple[int, Sequence[str], Sequence[str]]]:
    """Yield the number, header and fields of each line that isn't blank; the header first, without fields."""
    if path.suffix.lower() in JSON_LINES:
        yield from _json_lines(path, file)
        return
    lines = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
    header = [name.strip() for name in next(lines, [])]
    yield 1, header, ()
    for fields in filter(None, lines):  # a blank line has none
        yield lines.line_num, header, fields


def _json_lines(path: Path, file: TextIO) -> Iterator[tuple[int, Sequence[str], Sequence[str]]]:
    """Read a JSON object a line, as `metadata.jsonl`: the first says which columns there are."""
    header: list[str] = []
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            if len(line) > _LONGEST:
                raise ValueError(f"it is longer than {_LONGEST:,} characters")
            found = parse_json(line)
        except ValueError as problem:
            raise DataError(f"'{path}' line {number}: {reason(problem)}.") from None
        if not header:
            header = list(found)
            yield number, header, ()
        more = [name for name in found if name not in header]
        if more:
            raise DataError(
                f"'{path}' line {number} has the key '{more[0]}', which the first line lacks: add it."
            )
        yield number, header, [_as_field(found.get(name)) for name in header]
    if not header:
        yield 1, header, ()


def _as_field(value: Any) -> str:
    """Write a value of JSON as a table would: lists and objects as JSON, which no name or path is."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _parse(path: Path, file: TextIO, root: Path, columns: Columns) -> Iterator[Row]:
    first: dict[str, int] = {}
    for number, header, fields in _lines_of(path, file):
        where = f"'{path}' line {number}"
        if not fields:
            columns.check(f"'{path}'", header)
            continue
        if len(fields) != len(header):
            raise DataError(f"{where} has {len(fields)} fields where the header has {len(header)}.")
        values = dict(zip(header, map(str.strip, fields), strict=True))
        row = _make_row(where, number, root, values, columns)
        if row.path in first and columns.once:
            raise DataError(f"{where} lists '{row.path}' again, as line {first[row.path]} does: keep one.")
        first[row.path] = row.line
        yield row


def _make_row(where: str, line: int, root: Path, values: Mapping[str, str], columns: Columns) -> Row:
    said = {
        option: values.get(name, "")
        for option, name in {**columns.needed, **columns.more}.items()
        if option != IMAGE
    }
    for option in columns.needed:
        if option != IMAGE and not tidied(said[option]):
            raise DataError(f"{where} has no {option}: every image needs one.")
    name = columns.more[PART]
    if name in values and not is_part(said[PART]):
        accepted = ", ".join(dict.fromkeys(SHORT.get(name, name) for name in EVERY))
        raise DataError(f"{where} has the {name} '{said[PART]}': write one of {accepted}.")
    written = values[columns.needed[IMAGE]]
    return Row(where, line, below(where, root, written, columns.strip), said, written)


def below(where: str, root: Path, text: str, strip: str = "") -> str:
    """Return a path relative to the root. Raises InputError for one that leads elsewhere."""
    path = PurePosixPath(stripped(text, strip))
    try:
        path = path.relative_to(PurePosixPath(root.absolute().as_posix())) if path.is_absolute() else path
    except ValueError:
        path = PurePosixPath("..")
    if ".." in path.parts or not path.parts:
        told = advice(root, text)
        raise DataError(
            f"{where} has the path '{text}', which is not below '{root}': "
            + (f"{told}." if told else "pass root=DIR to say where the paths begin.")
        )
    return str(path)
