"""What sources of captioned images share: rows of image and caption, and the one part that is asked."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from forgetcheck.errors import DataError
from forgetcheck.tasks.base import Captions, Split, SplitName
from forgetcheck.tasks.reading import naming
from forgetcheck.tasks.reading.decode import WHITE
from forgetcheck.tasks.reading.prefixes import advice
from forgetcheck.tasks.reading.reach import Reach
from forgetcheck.tasks.reading.samples import Samples, file_samples
from forgetcheck.tasks.reading.splitting import numbered, parts_among, short

ASKED: SplitName = "test"


@dataclass(frozen=True, slots=True)
class Told:
    """One caption of one image."""

    path: str  # relative to the root
    text: str
    swap: str = ""
    kind: str = ""
    part: str = ""
    group: str = ""


@dataclass(frozen=True)
class Album:
    """Images and what is said of them."""

    where: str  # the source, for messages
    kinds: tuple[str, ...]
    samples: Samples
    captions: Captions
    notes: tuple[str, ...] = ()

    def by_white(self, white: int) -> "Album":
        """Return the same images, with another level of 16-bit gray as white."""
        return self if white == WHITE else replace(self, samples=replace(self.samples, white=white))

    def split(self, name: SplitName) -> Split:
        if name != ASKED:
            raise DataError(f"{self.where} has no {name} part: nothing learns from captions, they are asked.")
        return replace(self.samples.split(), captions=self.captions)


class Captioned:
    """What every source of captions answers alike; its own part is to make the album."""

    unreadable: float  # the share of images that may be unreadable
    white: int  # the brightest level of 16-bit gray

    @property
    @abstractmethod
    def album(self) -> Album:
        """Look where it was told to. Raises InputError with the way out where nothing is there."""

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.album.kinds

    @property
    def templates(self) -> tuple[str, ...]:
        return ()

    @property
    def tolerated(self) -> float:
        return self.unreadable

    @property
    def notes(self) -> tuple[str, ...]:
        return self.album.notes

    def split(self, name: SplitName) -> Split:
        return self.shown.split(name)

    @cached_property
    def shown(self) -> Album:
        return self.album.by_white(self.white)


def make_album(where: str, root: Path, told: Sequence[Told], kind: str, follow: bool, reach: Reach) -> Album:
    """Gather the captions of each image; images are in the order in which they first come.

    Where the rows say a part, those of test are asked. `kind` names what has no kind of its own.
    """
    asked, notes = _those_asked(where, told)
    kinds = naming.in_order(row.kind for row in asked)
    names = tuple(naming.humanised([name or kind for name in kinds]))
    if len(set(map(naming.folded, names))) < len(names):
        raise DataError(f"{where} has kinds that differ in little but their writing: rename one.")
    broken = next((name for name in names if naming.has_no_text(name)), None)
    if broken is not None:
        raise DataError(f"{where} has the kind {broken!r}, which is not Unicode: rename it.")
    number = {name: place for place, name in enumerate(kinds)}
    images: dict[str, int] = {}
    places = [images.setdefault(row.path, len(images)) for row in asked]
    first = dict(reversed(list(zip(places, asked, strict=True))))
    labels = [number[first[place].kind] for place in range(len(images))]
    _refuse_two_groups(where, asked, places, first)
    groups = numbered([first[place].group for place in range(len(images))])
    captions = Captions(
        np.array(places, dtype=np.int64),
        np.array([number[row.kind] for row in asked], dtype=np.int64),
        tuple(row.text for row in asked),
        tuple(row.swap for row in asked),
    )
    samples = file_samples(root, list(images), labels, groups, follow, advice, reach)
    return Album(where, names, samples, captions, notes)


def _those_asked(where: str, told: Sequence[Told]) -> tuple[Sequence[Told], tuple[str, ...]]:
    """Return the captions of the test part, all if no part is named, and a note of the others."""
    if not told:
        raise DataError(f"{where} has no captions: nothing would be measured.")
    parts = dict.fromkeys(short(row.part) for row in told)
    if set(parts) == {""}:
        return told, ()
    chosen = parts_among(parts).get(ASKED)
    if chosen is None:
        raise DataError(
            f"{where} has the parts {', '.join(map(repr, parts))}: nothing is asked of any but test."
        )
    asked = [row for row in told if short(row.part) == chosen]
    left = len(told) - len(asked)
    note = f"only '{chosen}' is asked: {left:,} captions of other parts are left out"
    return asked, (note,) if left else ()


def _refuse_two_groups(
    where: str, asked: Sequence[Told], places: Sequence[int], first: Mapping[int, Told]
) -> None:
    for row, place in zip(asked, places, strict=True):
        if row.group != first[place].group:
            raise DataError(
                f"{where} puts '{row.path}' into the groups '{first[place].group}' and '{row.group}': "
                "keep one."
            )
