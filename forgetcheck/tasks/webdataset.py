"""Tars in the layout of CLIP_benchmark, from a folder or a web address (downloaded once, into the cache).

    classnames.txt  zeroshot_classification_templates.txt
    train/nshards.txt  train/0.tar ...  test/nshards.txt  test/0.tar ...

A tar holds KEY.jpg, KEY.jpeg, KEY.png or KEY.webp and KEY.cls, the label as a number from 0. Tars are
indexed by their headers and read in place: nothing in them is executed or extracted.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from forgetcheck.catalog import Share, White
from forgetcheck.errors import DataError
from forgetcheck.tasks.base import Split, SplitName, Task
from forgetcheck.tasks.reading import naming
from forgetcheck.tasks.reading.decode import WHITE
from forgetcheck.tasks.reading.download import Mirror
from forgetcheck.tasks.reading.reach import data_folders, reach_of
from forgetcheck.tasks.reading.samples import Samples
from forgetcheck.tasks.reading.shard_folder import (
    CLASSIFICATION,
    KIND,
    Local,
    kind_of,
    lines_of,
    reach_in,
    refuse_bare,
    root_of,
    shards_of,
)
from forgetcheck.tasks.reading.shards import list_samples

_CLASSES = "classnames.txt"
TEMPLATES = "zeroshot_classification_templates.txt"


@dataclass(frozen=True)
class Webdataset(Task):
    """A data set that CLIP_benchmark's webdataset builder wrote, or one in its layout."""

    path: str  # a folder, or an address such as https://huggingface.co/datasets/USER/NAME
    image: Literal["", "webp", "png", "jpg", "jpeg"] = ""  # which, where a sample has several
    unreadable: Share = 0.0
    white: White = WHITE  # the brightest level of 16-bit gray: 4095 where 12 bits of them are used

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        return naming.checked(f"'{self.path}'", lines_of(self.root, self.root.fetch(_CLASSES)))

    @cached_property
    def templates(self) -> tuple[str, ...]:
        path = self.root.find(TEMPLATES)
        if path is None:
            return naming.FALLBACK
        refuse_bare(self.root)
        return naming.read_templates(path, reach_in(self.root), data_folders(self.root.folder))

    @property
    def tolerated(self) -> float:
        return self.unreadable

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self.root.find(TEMPLATES) else (f"it has no {TEMPLATES}: a general one is used",)

    @cached_property
    def root(self) -> Mirror | Local:
        return root_of(self.path, reach_of(self))

    def split(self, name: SplitName) -> Split:
        part = self.train if name == "train" else self.test
        return (part if self.white == WHITE else replace(part, white=self.white)).split()

    @cached_property
    def train(self) -> Samples:
        return _list_part(self.root, "train", len(self.class_names), self.image)

    @cached_property
    def test(self) -> Samples:
        return _list_part(self.root, "test", len(self.class_names), self.image)


def _list_part(root: Mirror | Local, part: SplitName, classes: int, image: str) -> Samples:
    """List the samples of a part from the headers of its tars."""
    if kind_of(root) != CLASSIFICATION:
        raise DataError(
            f"its {KIND} says that it is no {CLASSIFICATION}: its images have no class each; captions are "
            "read by the source captions:path=..."
        )
    return list_samples(part, shards_of(root, part), classes, image)
