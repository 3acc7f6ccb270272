"""1,797 real scans of handwritten digits (UCI, as shipped by scikit-learn), fixed stratified split."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forgetcheck.provenance import digest, source
from forgetcheck.tasks.base import Split, SplitName, Task, dealt

_TEST_EVERY = 3  # every third scan of a class is test
_SIDE = 32  # pixels of the enlarged scan; the original has 8


@dataclass(frozen=True)
class Digits(Task):
    """Handwritten digits, light ink on dark; about 1,200 train and 600 test images."""

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple("0123456789")

    @property
    def templates(self) -> tuple[str, ...]:
        return ("the digit {}", "a picture of the digit {}")

    def split(self, name: SplitName) -> Split:
        scans, labels = _read_scans()
        chosen = _indices(labels, name)
        return Split(
            ids=tuple(f"digits/{index}" for index in chosen),
            labels=labels[chosen],
            image=lambda i: enlarge(scans[chosen[i]]),
            contents=lambda: digest(
                [chosen.tolist(), labels[chosen].tolist(), scans[chosen].tolist(), source(__file__)]
            ),
        )


@cache
def _read_scans() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return scans (1797, 8, 8) with values 0 to 16, and labels (1797,)."""
    from sklearn.datasets import load_digits  # a second to import: only when asked

    bunch = load_digits()
    return bunch.images, bunch.target.astype(np.int64)


def _indices(labels: NDArray[np.int64], name: SplitName) -> NDArray[np.int64]:
    """Deal each class out in file order: two to train, one to test."""
    is_test = dealt(labels, _TEST_EVERY)
    return np.flatnonzero(is_test if name == "test" else ~is_test)


def enlarge(scan: NDArray[np.float64]) -> Image.Image:
    """Turn a scan (8, 8) of 0 to 16 into an RGB image of 32 x 32."""
    levels = (scan * 255 / 16).round().astype(np.uint8)
    return Image.fromarray(levels).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).convert("RGB")
