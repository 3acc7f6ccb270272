"""Find images that are there twice: under two labels, or in test and in train."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forgetcheck.batteries.names import some
from forgetcheck.tasks.base import Task

_Key = Hashable | None  # equal for equal images; None: it couldn't be read, and equals nothing


@dataclass(frozen=True)
class Keyed:
    """The images of one part, with what tells them apart: bytes, pixels, or what a model sees."""

    ids: Sequence[str]  # (n,)
    labels: Sequence[int]  # (n,)
    keys: Sequence[_Key]  # (n,)

    def contradicted(self) -> list[tuple[int, int]]:
        """Return each image that is another one with another label, after the first that it equals."""
        first: dict[_Key, int] = {}
        pairs = [
            (first.setdefault(key, place), place) for place, key in enumerate(self.keys) if key is not None
        ]
        return [(i, j) for i, j in pairs if self.labels[i] != self.labels[j]]

    def also_in(self, other: "Keyed") -> list[tuple[int, int]]:
        """Return each image that is in another part as well, with its place there."""
        places = {key: place for place, key in reversed(list(enumerate(other.keys)))}
        return [(i, places[key]) for i, key in enumerate(self.keys) if key is not None and key in places]


def brief(marks: Iterable[bytes | None]) -> NDArray[np.uint64]:
    """Return the first 8 bytes of each digest (n,): enough to know an image again among some millions."""
    return np.array([int.from_bytes(mark[:8], "big") for mark in marks if mark is not None], dtype=np.uint64)


def among(few: NDArray[np.uint64], many: NDArray[np.uint64]) -> NDArray[np.bool_]:  # (n,), (m,) -> (n,)
    """Mark those that are among many, which are sorted: np.isin would sort them again for every task."""
    if not len(many):
        return np.zeros(len(few), dtype=np.bool_)
    places = np.searchsorted(many, few).clip(max=len(many) - 1)
    found: NDArray[np.bool_] = many[places] == few
    return found


def tuned_on(ids: Sequence[str], marks: Sequence[bytes | None], seen: NDArray[np.uint64]) -> str:
    """Say which test images a checkpoint was tuned on, byte by byte; empty if none is."""
    readable = [place for place, mark in enumerate(marks) if mark is not None]
    again = among(brief(marks), seen)
    found = [repr(ids[place]) for place, same in zip(readable, again, strict=True) if same]
    if not found:
        return ""
    share = 100 * len(found) / len(ids)
    return (
        f"{len(found):,} of {len(ids):,} test images ({share:.1f} %) are, byte by byte, among those that it "
        f"was tuned on: {some(found)}; leave them out, as they don't show what it retained"
    )


def two_labels(part: str, images: Keyed, task: Task, what: str) -> str:
    """Say which images of a part are there with two labels; empty if none is. `what` they share is named."""
    pairs = images.contradicted()
    if not pairs:
        return ""
    names = task.class_names
    shown = [" and ".join(f"'{images.ids[k]}' ({names[images.labels[k]]})" for k in pair) for pair in pairs]
    return (
        f"{len(pairs):,} {part} images have the {what} of another with another label: {some(shown)}; give "
        "each one label, or remove both"
    )


def in_both_parts(test: Keyed, train: Keyed, how: str) -> str:
    """Say which test images are in train as well, and `how` they were compared; empty if none is."""
    pairs = test.also_in(train)
    if not pairs:
        return ""
    other = sum(test.labels[i] != train.labels[j] for i, j in pairs)
    shown = [f"'{test.ids[i]}' and '{train.ids[j]}'" for i, j in pairs]
    return (
        f"{len(pairs):,} test images are in train as well, {how}: {some(shown)}"
        f"{f' ({other:,} with another label there)' if other else ''}; remove one of each"
    )
