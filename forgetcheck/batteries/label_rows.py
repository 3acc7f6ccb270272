"""The labels of a task, a row each: what its source and its user call it, an image, and a model's answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from forgetcheck.tasks.base import Task

_NONE = "(none)"


@dataclass(frozen=True)
class Label:
    """One label of a task, as its source, its user and a model see it."""

    number: int
    raw: str  # what the source calls it
    name: str  # what a model is asked for
    sample: str  # one of its test images
    images: int  # in test
    answer: str = ""  # what the model says most often of them
    share: float = 0.0  # how often


def label_rows(
    task: Task, said: NDArray[np.int32] | None = None, truth: NDArray[np.int32] | None = None
) -> list[Label]:
    """Return a row for each label; stated names may be more or fewer than the source has.

    `said` (n,) is what a model answered to test images whose labels are `truth` (n,).
    """
    split = task.split("test")
    first = {int(label): split.ids[place] for place, label in reversed(list(enumerate(split.labels)))}
    counts = np.bincount(split.labels, minlength=len(task.class_names))
    rows = []
    for number, (raw, name) in enumerate(zip_longest(task.raw_names, task.class_names, fillvalue=_NONE)):
        images = int(counts[number]) if number < len(counts) else 0
        row = Label(number, raw, name, first.get(number, _NONE), images)
        rows.append(row if said is None else _answered(row, said[truth == number], task.class_names))
    return rows


def _answered(row: Label, said: NDArray[np.int32], names: Sequence[str]) -> Label:
    if not len(said):
        return row
    counts = np.bincount(said, minlength=len(names))
    most = int(counts.argmax())
    return replace(row, answer=names[most], share=float(counts[most] / len(said)))
