"""Drawn images with captions, so that forgetcheck:tiny knows some of what is said of them."""

from dataclasses import dataclass

import numpy as np

from forgetcheck.tasks.base import Captions, Task
from forgetcheck.tasks.drawn import Drawn


@dataclass(frozen=True)
class Told(Task):
    """Some test images of each class of a family, each with captions, half of them of one kind."""

    labelled_by: str = "caption"
    family: str = "colour"
    per_class: int = 1
    captions: int = 2
    class_names: tuple[str, ...] = ("plain", "other")
    templates: tuple[str, ...] = ()

    def split(self, name):
        source = Drawn(self.family)
        split, names = source.split(name), source.class_names
        chosen = np.concatenate(
            [np.flatnonzero(split.labels == label)[: self.per_class] for label in range(len(names))]
        )
        some = split.take(chosen)
        rows = [(place, turn) for place in range(len(some)) for turn in range(self.captions)]
        said = [source.templates[turn].format(names[some.labels[place]]) for place, turn in rows]
        swapped = [source.templates[turn].format(names[some.labels[place] - 1]) for place, turn in rows]
        told = Captions(
            np.array([place for place, _ in rows]),
            np.array([place % 2 for place, _ in rows]),
            tuple(said),
            tuple(swapped) if self.labelled_by == "swap" else ("",) * len(rows),
        )
        return type(split)(
            some.ids, np.arange(len(some)) % 2, some.image, contents=some.contents, captions=told
        )
