"""Find the same picture twice: by its pixels, or by how it looks where it was scaled or compressed again."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE = 8  # of the dHash, so 64 steps, and of the thumbnail
_FLAT = 4  # levels of gray: a smaller step is no slope, and would turn with the compression
_FEW_STEPS = 8  # between hashes of one picture, compressed again: a slope or none is 1, up or down is 4
_FEW_TONES = 4.0  # of 255: how far apart thumbnails of one picture may be on average ...
_MANY_TONES = 16  # ... and anywhere
ROWS, COLUMNS = 256, 2**16  # pairs compared at once


@dataclass(frozen=True)
class Look:
    """What one image looks like, in 300 bytes."""

    pixels: str  # digest of size and RGB values
    slopes: NDArray[np.int8]  # (64,) dHash: whether it gets brighter (1) or darker (-1) to the right
    tones: NDArray[np.uint8]  # (8, 8, 3) its thumbnail


def look_at(image: Image.Image) -> Look:
    """Describe a decoded RGB image."""
    gray = np.asarray(image.convert("L").resize((_SIDE + 1, _SIDE), Image.Resampling.BOX), dtype=np.int16)
    tones = np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BOX).convert("RGB"))
    steps = np.diff(gray, axis=1).ravel()
    return Look(digest_of(image), (np.sign(steps) * (np.abs(steps) >= _FLAT)).astype(np.int8), tones)


def digest_of(image: Image.Image) -> str:
    """Return a digest of the decoded pixels: what a model is shown, however it is stored."""
    hashed = hashlib.sha256(f"{image.mode} {image.width} {image.height} ".encode())
    hashed.update(image.tobytes())
    return hashed.hexdigest()[:16]


def alike_pairs(left: Sequence[Look], right: Sequence[Look]) -> list[tuple[int, int]]:
    """Return the pairs that look alike though their pixels differ, each left one once.

    Of each only the nearest is looked at: where little is to be seen, very many are near one another.
    """
    if not left or not right:
        return []
    pairs = enumerate(nearest(left, right).tolist())
    return [(i, j) for i, j in pairs if left[i].pixels != right[j].pixels and _is_alike(left[i], right[j])]


def nearest(left: Sequence[Look], right: Sequence[Look]) -> NDArray[np.int64]:  # (n,)
    """Return for each look which of the others is nearest; all pairs are compared, by matrix products."""
    best = np.full(len(left), np.inf, dtype=np.float32)
    place = np.zeros(len(left), dtype=np.int64)
    for first in range(0, len(right), COLUMNS):
        theirs = features(right[first : first + COLUMNS])
        for start in range(0, len(left), ROWS):
            rows = slice(start, start + ROWS)
            ours = features(left[rows])
            apart = (theirs**2).sum(axis=1) - 2 * ours @ theirs.T + (ours**2).sum(axis=1)[:, None]
            found = apart.argmin(axis=1)
            closest = apart[np.arange(len(ours)), found]
            place[rows] = np.where(closest < best[rows], found + first, place[rows])
            best[rows] = np.minimum(closest, best[rows])
    return place


def features(looks: Sequence[Look]) -> NDArray[np.float32]:
    """Write looks as vectors whose distance is 1 where hash or thumbnail begin to differ. (n, 256)"""
    slopes = np.stack([look.slopes for look in looks]) / np.float32(_FEW_STEPS) ** 0.5
    tones = np.stack([look.tones.ravel() for look in looks])
    return np.hstack([slopes, tones / np.float32(_FEW_TONES * tones.shape[1] ** 0.5)])


def _is_alike(one: Look, other: Look) -> bool:
    """Hash and thumbnail must agree: pictures with little in them share hashes by chance."""
    steps = int(np.square(one.slopes - other.slopes).sum())
    return steps <= _FEW_STEPS and _same_tones(one, other)


def _same_tones(one: Look, other: Look) -> bool:
    apart = np.abs(one.tones.astype(np.int16) - other.tones.astype(np.int16))
    return bool(apart.mean() <= _FEW_TONES and apart.max() <= _MANY_TONES)
