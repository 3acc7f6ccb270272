"""What a task is: labelled images, class names and prompt templates."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SplitName = Literal["train", "test"]


@dataclass(frozen=True)
class Split:
    """One ordered part of a task. The order is the same at every call and on every machine."""

    ids: tuple[str, ...]  # (n,) stable names of the samples
    labels: NDArray[np.int64]  # (n,) indices into the task's class_names
    image: Callable[[int], Image.Image]  # decodes sample i, RGB

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: NDArray[np.int64]) -> "Split":
        """Keep the samples at `indices` (m,), in that order."""
        return Split(
            ids=tuple(self.ids[i] for i in indices),
            labels=self.labels[indices],
            image=lambda i: self.image(int(indices[i])),
        )


@dataclass(frozen=True)
class Task(ABC):
    """Labelled images of named classes. The dataclass fields of a subclass are its options."""

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """Names that fill the templates, indexed by label."""

    @property
    @abstractmethod
    def templates(self) -> tuple[str, ...]:
        """Prompt templates for zero-shot, each with one `{}`."""

    @abstractmethod
    def split(self, name: SplitName) -> Split:
        """Return the named part; train and test never share a sample."""


def dealt(labels: NDArray[np.int64], every: int) -> NDArray[np.bool_]:
    """Mark every `every`-th sample of each class, in order: a stratified part without chance. (n,)"""
    turn = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        turn[members] = np.arange(len(members))
    held: NDArray[np.bool_] = turn % every == every - 1
    return held
