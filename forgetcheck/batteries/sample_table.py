"""Which images of a source a small battery asks: a table of sample ids beside its file."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forgetcheck.batteries.names import some
from forgetcheck.documents import reason, refuse_table
from forgetcheck.errors import DataError
from forgetcheck.tasks.base import Split, SplitName
from forgetcheck.tasks.reading.reach import ANYWHERE, Reach

_LARGEST = 2**30  # bytes of a table
TABLE = ".samples.csv"  # in place of the .toml of its battery


@dataclass(frozen=True)
class Pick:
    """One row: a sample by its id, and what it was when it was picked."""

    task: str
    split: str
    id: str
    label: str  # a whole number: the place of the class
    concept: str  # the class in words, for whoever reads the table
    pixels: str  # digest of the decoded image, see near_duplicates.py


COLUMNS = tuple(field.name for field in fields(Pick))


def read_picks(path: Path, task: str, split: SplitName, reach: Reach = ANYWHERE) -> tuple[Pick, ...] | None:
    """Read the rows of one part of a task; None if only the other part is listed: this one is whole.

    Raises InputError for a table that isn't one, or says nothing of the task.
    """
    return picks_in(path, read_table(path, reach), task, split)


def read_table(path: Path, reach: Reach = ANYWHERE) -> str:
    """Return the text of a table. Raises InputError where it can't be read."""
    try:
        refuse_table(reach.allowed(path))
        return reach.read_text(path, _LARGEST)
    except (OSError, ValueError, csv.Error) as problem:
        raise DataError(f"cannot read the samples in '{path}': {reason(problem)}.") from None


def picks_in(path: Path, text: str, task: str, split: SplitName) -> tuple[Pick, ...] | None:
    """Return the rows of one part of a task as read_picks does, from the text of the table."""
    try:
        table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        if tuple(table.fieldnames or ()) != COLUMNS:
            raise ValueError(f"its first line isn't {','.join(COLUMNS)}")
        rows = [_row_of(row, table.line_num) for row in table]
    except (ValueError, csv.Error) as problem:
        raise DataError(f"cannot read the samples in '{path}': {reason(problem)}.") from None
    found = [row for row in rows if row.task == task]
    if not found:
        raise DataError(f"'{path}' lists no sample of task '{task}': name it as there, or pick again.")
    return tuple(row for row in found if row.split == split) or None


def _row_of(row: Mapping[str, str | None], line: int) -> Pick:
    values = {name: row[name] for name in COLUMNS}
    if None in row or None in values.values() or not str(row["label"]).isdecimal():
        raise ValueError(f"line {line} is not {','.join(COLUMNS)}")
    return Pick(**{name: str(value) for name, value in values.items()})


def written(picks: Iterable[Pick]) -> str:
    """Return the table as text."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(pick) for pick in picks)
    return text.getvalue()


def find_picks(path: Path, samples: Sequence[Pick], split: Split) -> NDArray[np.int64]:  # (m,)
    """Return where the listed samples are in a split; one that is gone or relabelled is an error."""
    places = {name: place for place, name in enumerate(split.ids)}
    gone = [sample.id for sample in samples if sample.id not in places]
    if gone:
        raise DataError(
            f"{len(gone)} of {len(samples)} samples that '{path}' lists are not in the source: {some(gone)}; "
            "restore the data, or pick the battery again."
        )
    found = np.array([places[sample.id] for sample in samples], dtype=np.int64)
    other = split.labels[found] != np.array([int(sample.label) for sample in samples])
    if other.any():
        names = [sample.id for sample, moved in zip(samples, other, strict=True) if moved]
        raise DataError(
            f"{len(names)} samples have another class now than in '{path}': {some(names)}; "
            "restore the data, or pick the battery again."
        )
    return found
