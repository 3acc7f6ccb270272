"""Roboflow's tables of classes: `_classes.csv`, a column for each class, 1 where an image has it."""

import csv
from collections.abc import Mapping
from pathlib import Path

from forgetcheck.documents import reason, refuse_table
from forgetcheck.errors import DataError, InputError
from forgetcheck.tasks.annotated import Annotated, Reading, refuse_strange
from forgetcheck.tasks.indexed import Index
from forgetcheck.tasks.reading import naming
from forgetcheck.tasks.reading.reach import Reach
from forgetcheck.tasks.reading.splitting import is_part

_FILE = "_classes.csv"
_IMAGE = "filename"
_VALUES = {"1": True, "0": False, "1.0": True, "0.0": False, "": False}


def one_hot_files(path: Path) -> dict[str, Path]:
    """Return the table of each part of a folder, or the one that is meant; none where it is another table."""
    if path.name == _FILE:
        return {"": path}
    try:
        if not path.is_dir():
            return {}
        if (path / _FILE).is_file():
            return {"": path / _FILE}
        parts = [each for each in sorted(path.iterdir()) if is_part(each.name) and (each / _FILE).is_file()]
    except OSError as problem:
        raise DataError(f"cannot read '{path}': {reason(problem)}.") from None
    return {part.name: part / _FILE for part in parts}


def read_one_hot(
    path: str, files: Mapping[str, Path], root: str, strip: str, follow: bool, reach: Reach
) -> Index:
    """Read the images that have exactly one class. Raises InputError where one has several, or none."""
    found: list[Annotated] = []
    classes: dict[str, None] = {}
    top = next(iter(files.values())).parent
    begins = Path(root) if root else top.parent if "" not in files else top
    for part, file in files.items():
        rows = _rows_of(file, part, reach, begins)
        refuse_strange(reach, file, begins, strip, (image for image, _ in rows))
        for image, names in rows:
            found.append(image)
            classes |= dict.fromkeys(names)
    return Reading(f"'{path}'", "class", begins, strip, None, follow, reach).index(
        found, naming.in_order(classes)
    )


def _rows_of(file: Path, part: str, reach: Reach, root: Path) -> list[tuple[Annotated, tuple[str, ...]]]:
    """Return each image with all classes of the table."""
    rows: list[tuple[Annotated, tuple[str, ...]]] = []
    try:
        own = reach.around_list(file, root)
        refuse_table(reach.allowed(file, own))
        with reach.open_text(file, "utf-8-sig", own=own) as opened:
            lines = csv.reader(opened, strict=True)
            header = [naming.tidied(name) for name in next(lines, [])]
            if _IMAGE not in header[:1] or len(set(header)) < len(header) or "" in header:
                raise ValueError(f"expected the column '{_IMAGE}', then one for each class")
            for fields in filter(None, lines):
                image = _make_row(f"'{file}' line {lines.line_num}", header, fields, part)
                rows.append((image, tuple(header[1:])))
    except (OSError, ValueError, csv.Error) as problem:
        raise DataError(f"cannot read '{file}': {reason(problem)}.") from None
    except InputError:  # whose message may show a cell
        refuse_strange(reach, file, root, "", (image for image, _ in rows))
        raise
    return rows


def _make_row(where: str, header: list[str], fields: list[str], part: str) -> Annotated:
    if len(fields) != len(header):
        raise DataError(f"{where} has {len(fields)} fields where the header has {len(header)}.")
    marks = [field.strip() for field in fields[1:]]
    odd = next((mark for mark in marks if mark not in _VALUES), None)
    if odd is not None:
        raise DataError(f"{where} has '{odd}' for a class: expected 1 or 0.")
    labels = tuple(name for name, mark in zip(header[1:], marks, strict=True) if _VALUES[mark])
    return Annotated(where, fields[0].strip(), labels, part, part)
