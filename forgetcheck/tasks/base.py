"""What a task is: labelled images, class names and prompt templates."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forgetcheck.errors import InputError, NoPart
from forgetcheck.provenance import digest

SplitName = Literal["train", "test"]
Label = Literal["class", "caption", "swap"]
Places = NDArray[np.int64]


class Unreadable(Exception):
    """An image that cannot be decoded. The argument says why, in half a line."""


@dataclass(frozen=True)
class Captions:
    """What is said of the images of a part, one entry per caption."""

    places: Places  # (m,) which image each is about
    kinds: Places  # (m,) indices into the task's class_names
    texts: tuple[str, ...]  # (m,)
    swaps: tuple[str, ...]  # (m,) the caption with something changed so that it is wrong; empty: none

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def distinct(self) -> tuple[str, ...]:
        """Every text once, sorted."""
        return tuple(sorted({*self.texts, *filter(None, self.swaps)}))

    def take(self, images: Places) -> "Captions":
        """Keep the captions of these images (m,), by their new places; their order stays."""
        moved = dict(zip(images.tolist(), range(len(images)), strict=True))
        kept = [number for number, place in enumerate(self.places.tolist()) if place in moved]
        return Captions(
            np.array([moved[place] for place in self.places[kept].tolist()], dtype=np.int64),
            self.kinds[kept],
            tuple(self.texts[number] for number in kept),
            tuple(self.swaps[number] for number in kept),
        )


@dataclass(frozen=True)
class Split:
    """One ordered part of a task. The order is the same at every call and on every machine."""

    ids: tuple[str, ...]  # (n,) stable names of the samples
    labels: NDArray[np.int64]  # (n,) indices into the task's class_names
    image: Callable[[int], Image.Image]  # decodes sample i, RGB, in any thread; raises Unreadable
    groups: NDArray[np.int64] | None = (
        None  # (n,) samples of one cluster, such as a patient; None: independent
    )
    contents: Callable[[], str] | None = None  # digest of every id, label and byte in order; None: unknown
    captions: Captions | None = None  # one or more for every image, where they are the labels
    mark: Callable[[int], bytes | None] | None = None  # equal for equal bytes, None for what can't be read

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: NDArray[np.int64]) -> "Split":
        """Keep the samples at `indices` (m,), in that order."""
        contents, mark = self.contents, self.mark
        return Split(
            ids=tuple(self.ids[i] for i in indices),
            labels=self.labels[indices],
            image=lambda i: self.image(int(indices[i])),
            groups=None if self.groups is None else self.groups[indices],
            contents=None if contents is None else lambda: digest([contents(), indices.tolist()]),
            captions=self.captions and self.captions.take(indices),
            mark=None if mark is None else lambda i: mark(int(indices[i])),
        )


@dataclass(frozen=True)
class Task(ABC):
    """Labelled images of named classes. The dataclass fields of a subclass are its options."""

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """Names that fill the templates, indexed by label."""

    @property
    def raw_names(self) -> tuple[str, ...]:
        """What the source itself calls its classes, such as the names of folders, in their order."""
        return self.class_names

    @property
    @abstractmethod
    def templates(self) -> tuple[str, ...]:
        """Prompt templates for zero-shot, each with one `{}`."""

    @abstractmethod
    def split(self, name: SplitName) -> Split:
        """Return the named part; train and test never share a sample."""

    @property
    def origin(self) -> "Task":
        """The task whose images and labels these are; a battery may word it otherwise, or ask fewer."""
        return self

    @property
    def labelled_by(self) -> Label:
        """What images come with: a class each, captions, or captions that have a swap.

        The classes of the latter are kinds of captions, often a single one; they have no templates.
        """
        return "class"

    @property
    def left_out(self) -> tuple[str, ...]:
        """What lies among the data and is not asked about, counted; each half a sentence. Notes as well."""
        return ()

    @property
    def tolerated(self) -> float:
        """The share of images that may be unreadable before the task can't be asked."""
        return 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the data, such as how the source was split; each half a sentence."""
        return ()


def size(task: Task, name: SplitName) -> int:
    """Count the samples of a part; none where it can't be asked, which is told when it is."""
    try:
        return len(task.split(name))
    except InputError:
        return 0


def lacks(task: Task, name: SplitName) -> bool:
    """Whether a task has no such part at all; what else keeps it from being asked is told when it is."""
    try:
        task.split(name)
    except NoPart:
        return True
    except InputError:
        return False
    return False


def texts(split: Split) -> tuple[str, ...]:
    """Return the captions to be read with the images of a part."""
    return split.captions.distinct if split.captions else ()


def dealt(labels: NDArray[np.int64], every: int) -> NDArray[np.bool_]:
    """Mark every `every`-th sample of each class, in order: a stratified part, deterministic. (n,)"""
    turn = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        turn[members] = np.arange(len(members))
    held: NDArray[np.bool_] = turn % every == every - 1
    return held
