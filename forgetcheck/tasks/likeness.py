"""Find the same picture twice: by its pixels, or by how it looks where it was scaled or compressed again."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 8  # of the dHash, so 64 steps, and of the thumbnail
FLAT = 4  # levels of gray: a smaller step is no slope, and would turn with the compression
FEW_STEPS = 8  # between hashes of one picture, compressed again: a slope or none is 1, up or down is 4
FEW_TONES = 4.0  # of 255: how far apart thumbnails of one picture may be on average ...
MANY_TONES = 16  # ... and anywhere
CHUNK = 2**24  # pairs compared at once


@dataclass(frozen=True)
class Look:
    """What one image looks like, in 300 bytes."""

    pixels: str  # digest of size and RGB values
    slopes: NDArray[np.int8]  # (64,) dHash: whether it gets brighter (1) or darker (-1) to the right
    tones: NDArray[np.uint8]  # (8, 8, 3) its thumbnail


def look_at(image: Image.Image) -> Look:
    """Describe a decoded RGB image."""
    gray = np.asarray(image.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX), dtype=np.int16)
    tones = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX).convert("RGB"))
    steps = np.diff(gray, axis=1).ravel()
    return Look(digest_of(image), (np.sign(steps) * (np.abs(steps) >= FLAT)).astype(np.int8), tones)


def digest_of(image: Image.Image) -> str:
    """Return a digest of the decoded pixels: what a model is shown, however it is stored."""
    hashed = hashlib.sha256(f"{image.mode} {image.width} {image.height} ".encode())
    hashed.update(image.tobytes())
    return hashed.hexdigest()[:16]


def equal_pairs(left: Sequence[Look], right: Sequence[Look]) -> list[tuple[int, int]]:
    """Return the pairs of images with exactly the same pixels, each left one once."""
    places = {look.pixels: place for place, look in reversed(list(enumerate(right)))}
    return [(i, places[look.pixels]) for i, look in enumerate(left) if look.pixels in places]


def alike_pairs(left: Sequence[Look], right: Sequence[Look]) -> list[tuple[int, int]]:
    """Return the pairs that look alike though their pixels differ, each left one once.

    The hash proposes and the thumbnails decide: pictures with little in them share hashes by chance.
    """
    found: dict[int, int] = {}
    for i, j in close_hashes(left, right):
        if i not in found and left[i].pixels != right[j].pixels and same_tones(left[i], right[j]):
            found[i] = j
    return list(found.items())


def close_hashes(left: Sequence[Look], right: Sequence[Look]) -> Iterator[tuple[int, int]]:
    """Yield the pairs whose hashes differ in few steps; all pairs are compared, by matrix products."""
    if not left or not right:
        return
    ours, theirs = (np.stack([look.slopes for look in looks]).astype(np.float32) for looks in (left, right))
    step = max(1, CHUNK // len(right))
    for start in range(0, len(left), step):
        part = ours[start : start + step]
        apart = (part**2).sum(axis=1)[:, None] + (theirs**2).sum(axis=1) - 2 * part @ theirs.T
        for i, j in np.argwhere(apart <= FEW_STEPS):
            yield start + int(i), int(j)


def same_tones(one: Look, other: Look) -> bool:
    apart = np.abs(one.tones.astype(np.int16) - other.tones.astype(np.int16))
    return bool(apart.mean() <= FEW_TONES and apart.max() <= MANY_TONES)
