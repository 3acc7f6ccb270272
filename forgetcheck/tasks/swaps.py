"""Images with a right caption and a wrong one, as SugarCrepe has them: its JSON files, or a table.

A folder of JSON files is one kind of swap a file (`swap_att.json`: "swap att"), each a concept of its own. A
table (CSV, TSV) has a row per pair: path, caption, swap, and if it has them kind, split and group. Paths are
relative to the file or folder, or to `root` (COCO's val2017 for SugarCrepe), and stay below it.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from forgetcheck.catalog import Share, White
from forgetcheck.errors import DataError
from forgetcheck.tasks.base import Label, Task
from forgetcheck.tasks.captioned import Album, Captioned, Told, make_album
from forgetcheck.tasks.reading.caption_files import TABLES, read_swaps, read_table
from forgetcheck.tasks.reading.decode import WHITE
from forgetcheck.tasks.reading.reach import reach_of
from forgetcheck.tasks.reading.table import Columns

_KIND = "swap"  # what pairs without a kind are called


@dataclass(frozen=True)
class Swaps(Captioned, Task):
    """Which of two captions is right is the question; they differ in one thing."""

    path: str
    root: str = ""  # where the paths begin; the folder of the file, or the folder itself, if empty
    image: str = "path"  # the names of the columns of a table
    caption: str = "caption"
    swap: str = "swap"
    kind: str = "kind"
    part: str = "split"
    group: str = "group"
    others: Literal["refuse", "ignore"] = "refuse"
    strip: str = ""  # what a server or mount wrote before the paths; several between |
    links: Literal["inside", "follow"] = "inside"
    unreadable: Share = 0.0
    white: White = WHITE  # the brightest level of 16-bit gray: 4095 where 12 bits of them are used

    @property
    def labelled_by(self) -> Label:
        return "swap"

    @cached_property
    def album(self) -> Album:
        path, where, reach = Path(self.path), f"'{self.path}'", reach_of(self)
        root = Path(self.root or (path if path.is_dir() else path.parent))
        columns = Columns(
            {"image": self.image, "caption": self.caption, "swap": self.swap},
            {"kind": self.kind, "part": self.part, "group": self.group},
            self.others == "ignore",
            once=False,
            strip=self.strip,
        )
        told = (
            read_table(path, root, columns, reach)
            if path.suffix.lower() in TABLES
            else read_swaps(path, root, reach, self.strip)
        )
        _refuse_equal(where, told)
        return make_album(where, root, told, _KIND, self.links == "follow", reach)


def _refuse_equal(where: str, told: list[Told]) -> None:
    same = next((row for row in told if row.text == row.swap), None)
    if same is not None:
        raise DataError(
            f"{where}: the caption of '{same.path}' and its swap are both '{same.text}': swap it."
        )
