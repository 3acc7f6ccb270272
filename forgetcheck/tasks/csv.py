"""A CSV file that lists images: path, label, and if it has them split and group (a patient, a video).

The table is a CSV or TSV file, JSON lines, or Roboflow's folder with `_classes.csv`, a column for each class.
Paths are relative to the file, or to `root`, and stay below it. Class names are the labels in sorted order
(numbers by value), or the lines of the file `classes`; labels may then also be numbers, from 0. Without a
split column the rows are split by content hash; what is equal or of one group is always in the same part.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from forgetcheck.catalog import Share, White
from forgetcheck.errors import DataError
from forgetcheck.tasks.base import Task
from forgetcheck.tasks.indexed import Index, Indexed, index_by_part
from forgetcheck.tasks.one_hot import one_hot_files, read_one_hot
from forgetcheck.tasks.reading import naming
from forgetcheck.tasks.reading.decode import WHITE
from forgetcheck.tasks.reading.prefixes import advice
from forgetcheck.tasks.reading.reach import reach_of
from forgetcheck.tasks.reading.samples import file_samples
from forgetcheck.tasks.reading.splitting import numbered, short
from forgetcheck.tasks.reading.table import Columns, Row, read_rows


@dataclass(frozen=True)
class Csv(Indexed, Task):
    """One row per image. A column that is not declared is refused, unless others=ignore."""

    path: str
    root: str = ""  # where the paths begin; the folder of the file if empty
    classes: str = ""  # a file with one class name a line
    image: str = "path"  # the names of the columns
    label: str = "label"
    part: str = "split"
    group: str = "group"
    others: Literal["refuse", "ignore"] = "refuse"
    prompts: str = ""  # a file of templates
    strip: str = ""  # what a server or mount wrote before the paths; several between |
    links: Literal["inside", "follow"] = "inside"
    unreadable: Share = 0.0
    white: White = WHITE  # the brightest level of 16-bit gray: 4095 where 12 bits of them are used

    @cached_property
    def index(self) -> Index:
        files = one_hot_files(Path(self.path))
        if files:
            follow = self.links == "follow"
            return read_one_hot(self.path, files, self.root, self.strip, follow, reach_of(self))
        root = Path(self.root) if self.root else Path(self.path).parent
        columns = Columns(
            {"image": self.image, "label": self.label},
            {"part": self.part, "group": self.group},
            self.others == "ignore",
            strip=self.strip,
        )
        reach = reach_of(self)
        rows = read_rows(Path(self.path), root, columns, reach)
        labels = {_label_of(row) for row in rows}
        listed: Sequence[str] = naming.in_order(labels)
        if self.classes:
            path, images = Path(self.classes), (root / row.path for row in rows)
            listed = naming.read_lines(path, reach, self.beside(path, images))
        where = f"'{self.path}'"
        names = naming.checked(f"'{self.classes}'" if self.classes else where, listed)
        samples = file_samples(
            root,
            [row.path for row in rows],
            _labels_of(rows, names, by_number=bool(self.classes)),
            numbered([row.said["group"] for row in rows]),
            self.links == "follow",
            advice,
            reach,
        )
        return index_by_part(where, names, [short(row.said["part"]) for row in rows], samples)

    def around(self, text: Path) -> Sequence[Path]:
        path = Path(self.path)
        top = path if path.is_dir() else path.parent
        return self.beside_list(path, Path(self.root) if self.root else top, text)

    def beside(self, text: Path, images: Iterable[Path]) -> Sequence[Path]:
        """A text file is a part of the data beside the list, or in a folder of its images."""
        return (Path(self.path).parent, *reach_of(self).around(text, images))


def _label_of(row: Row) -> str:
    return naming.tidied(row.said["label"])


def _labels_of(rows: Sequence[Row], names: Sequence[str], by_number: bool) -> list[int]:
    """Return the place of each label in `names`; numbers are places where no name is one."""
    places = {name: place for place, name in enumerate(names)}
    said = [_label_of(row) for row in rows]
    if by_number and not any(label in places for label in said):
        places, said = {str(place): place for place in range(len(names))}, [*map(naming.whole, said)]
    for row, label in zip(rows, said, strict=True):
        if label not in places:
            raise DataError(
                f"{row.where} has the label '{_label_of(row)}', which is none of the {len(names)} "
                "classes: correct it, or add it to them."
            )
    return [places[label] for label in said]
