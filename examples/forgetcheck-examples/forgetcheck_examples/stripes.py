"""Stripes that lie or stand, drawn from a seed."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from forgetcheck import Task
from forgetcheck.catalog import SmallCount
from forgetcheck.tasks.base import Split, SplitName

SIDE = 64  # pixels


@dataclass(frozen=True)
class Stripes(Task):
    """`count` images of each class and part, all different."""

    count: SmallCount = 20

    @property
    def class_names(self) -> tuple[str, ...]:
        return ("horizontal stripes", "vertical stripes")

    @property
    def templates(self) -> tuple[str, ...]:
        return ("a picture of {}.",)

    def split(self, name: SplitName) -> Split:
        first = 0 if name == "train" else self.count  # so that no image is in both parts
        labels = np.repeat(np.arange(2), self.count)
        seeds = np.tile(np.arange(first, first + self.count), 2)
        return Split(
            ids=tuple(f"{name}/{label}-{seed}" for label, seed in zip(labels, seeds, strict=True)),
            labels=labels,
            image=lambda place: draw(int(seeds[place]), standing=bool(labels[place])),
        )


def draw(seed: int, standing: bool) -> Image.Image:
    """Draw black stripes on white, with noise. Equal seeds give equal images."""
    generator = np.random.default_rng([seed, standing])
    width, start = generator.integers(4, 12), generator.integers(0, 12)
    dark = (np.arange(SIDE) + start) // width % 2 == 0  # (side,)
    stripes = np.where(dark, 0.0, 255.0)
    pixels = np.broadcast_to(stripes if standing else stripes[:, None], (SIDE, SIDE))
    noisy = (pixels + generator.normal(0, 20, (SIDE, SIDE))).clip(0, 255).astype(np.uint8)
    return Image.fromarray(noisy).convert("RGB")
