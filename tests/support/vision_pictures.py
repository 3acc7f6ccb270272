"""Pictures that say themselves what they are: brightness is the class, the brighter half the part.

So the labels, names and parts of a data set are compared with its pixels, and not with what its library says.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from PIL import Image
from sources import encoded, put

DARKEST, STEP, TILT = 40, 4, 15
SIGNS = {"train": 1, "test": -1, "neither": 0}
WHOLE = {"": "neither"}  # no parts of its own
FLAGGED = {"train": "train", "test": "test"}
WITH_VALID = {**FLAGGED, "valid": "neither"}
WITH_VAL = {**FLAGGED, "val": "neither"}
VAL_IS_TEST = {"train": "train", "val": "test"}
FORMATS = {".jpg": "JPEG", ".JPEG": "JPEG", ".png": "PNG", ".ppm": "PPM"}


class Row(NamedTuple):
    """One picture of a data set."""

    part: str  # as the layout calls it
    role: str  # which part of ours it belongs to
    label: int
    number: int

    def pixels(self, side=16):  # (side, side)
        noise = np.random.default_rng(self.number).normal(0, 3, (side, side))
        half = np.where(np.arange(side) < side // 2, TILT, -TILT) * SIGNS[self.role]
        level = DARKEST + STEP * self.label + half + noise - noise.mean()
        return level.round().astype(np.uint8)

    def colours(self, side):  # (side, side, 3)
        return np.repeat(self.pixels(side)[..., None], 3, axis=2)

    def save(self, path):
        put(path, encoded(Image.fromarray(self.pixels()), FORMATS[path.suffix]))


def shown(image):
    """Return the role and the label that a picture shows."""
    levels = np.asarray(image.convert("L"), dtype=float)
    left, right = np.hsplit(levels, 2)
    tilt = left.mean() - right.mean()
    role = "train" if tilt > TILT else "test" if tilt < -TILT else "neither"
    return role, round((levels.mean() - DARKEST) / STEP)


def rows(classes, parts, each=2):
    """Return rows of every part, `each` of a class, in an order in which classes alternate."""
    everything = product(parts.items(), range(each), range(classes))
    return [Row(part, role, label, number) for number, ((part, role), _, label) in enumerate(everything)]


def in_part(found, part):
    return [row for row in found if row.part == part]


def labels(found, shift=0):
    return [row.label + shift for row in found]
