"""Tars in the layout of CLIP_benchmark, from a folder or a web address (downloaded once, into the cache).

    classnames.txt  zeroshot_classification_templates.txt
    train/nshards.txt  train/0.tar ...  test/nshards.txt  test/0.tar ...

A tar holds KEY.jpg, KEY.jpeg, KEY.png or KEY.webp and KEY.cls, the label as a number from 0. Tars are
indexed by their headers and read in place: nothing in them is executed or extracted.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from forgetcheck.catalog import Share
from forgetcheck.errors import CannotAsk
from forgetcheck.tasks import naming
from forgetcheck.tasks.base import Split, SplitName, Task
from forgetcheck.tasks.downloading import Mirror
from forgetcheck.tasks.samples import Samples
from forgetcheck.tasks.shards import list_samples

CLASSES = "classnames.txt"
TEMPLATES = "zeroshot_classification_templates.txt"
KIND = "dataset_type.txt"
COUNT = "nshards.txt"
DIGITS = 5  # of the number of tars


@dataclass(frozen=True)
class Webdataset(Task):
    """A data set that CLIP_benchmark's webdataset builder wrote, or one in its layout."""

    path: str  # a folder, or an address such as https://huggingface.co/datasets/USER/NAME
    unreadable: Share = 0.0

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        return naming.checked(f"'{self.path}'", naming.read_lines(self.root.fetch(CLASSES)))

    @cached_property
    def templates(self) -> tuple[str, ...]:
        path = self.root.find(TEMPLATES)
        return naming.FALLBACK if path is None else naming.read_templates(path)

    @property
    def tolerated(self) -> float:
        return self.unreadable

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self.root.find(TEMPLATES) else (f"it has no {TEMPLATES}: a general one is used",)

    @cached_property
    def root(self) -> "Mirror | Local":
        return Mirror.of(self.path, "webdataset") if "://" in self.path else Local(Path(self.path))

    def split(self, name: SplitName) -> Split:
        return (self.train if name == "train" else self.test).split()

    @cached_property
    def train(self) -> Samples:
        return list_part(self.root, "train", len(self.class_names))

    @cached_property
    def test(self) -> Samples:
        return list_part(self.root, "test", len(self.class_names))


@dataclass(frozen=True)
class Local:
    """A folder on this machine, asked in the words of a Mirror."""

    folder: Path

    def fetch(self, name: str) -> Path:
        place = self.folder / name
        if not place.exists():
            raise CannotAsk(f"there is no '{place}': check the path, or get the rest of the data set.")
        return place

    def find(self, name: str) -> Path | None:
        place = self.folder / name
        return place if place.exists() else None

    def refuse_more(self, part: str, count: int) -> None:
        """Refuse tars that are there but not counted: whether they belong to the data can't be known."""
        known = {f"{number}.tar" for number in range(count)}
        others = sorted(path.name for path in (self.folder / part).glob("*.tar") if path.name not in known)
        if others:
            raise CannotAsk(
                f"'{self.folder / part}' holds '{others[0]}', but {COUNT} says {count}, from 0.tar on: "
                "remove it, or correct the number."
            )


def list_part(root: Mirror | Local, part: SplitName, classes: int) -> Samples:
    """List the samples of a part from the headers of its tars."""
    kind = root.find(KIND)
    if kind is not None and [line.lower() for line in naming.read_lines(kind)] != ["classification"]:
        raise CannotAsk(f"'{kind}' says that images do not have one label each: they can't be classified.")
    count = count_shards(root, part)
    if isinstance(root, Local):
        root.refuse_more(part, count)
    return list_samples(part, [root.fetch(f"{part}/{number}.tar") for number in range(count)], classes)


def count_shards(root: Mirror | Local, part: SplitName) -> int:
    path = root.fetch(f"{part}/{COUNT}")
    lines = naming.read_lines(path)
    if len(lines) != 1 or not lines[0].isdecimal() or len(lines[0]) > DIGITS or not int(lines[0]):
        raise CannotAsk(f"'{path}' should hold the number of tars, and holds '{' '.join(lines)[:40]}'.")
    return int(lines[0])
