"""Samples: where the images of a source lie. Names, labels and a way to read; never the images."""

import hashlib
import os
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forgetcheck.tasks.base import Split, Unreadable
from forgetcheck.tasks.reading.decode import WHITE, decode, read_file
from forgetcheck.tasks.reading.reach import ANYWHERE, Reach
from forgetcheck.tasks.reading.stretches import Stretch, fingerprint

_Advice = Callable[[Path, str], str]  # of a root and a name below it that leads nowhere
_NOTHING = hashlib.sha256(b"").digest()  # the fingerprint of what can't be read


@dataclass(frozen=True)
class Samples:
    """Samples in one order, each read when it is asked for."""

    ids: tuple[str, ...]  # (n,)
    labels: NDArray[np.int64]  # (n,)
    read: Callable[[int], bytes | Stretch]  # what sample i is stored as; raises Unreadable
    groups: NDArray[np.int64] | None = None  # (n,)
    show: Callable[[int], Image.Image] | None = None  # RGB, where what is stored is not an image file
    white: int = WHITE  # the brightest level of 16-bit gray

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, i: int) -> Image.Image:
        return decode(self.read(i), self.white) if self.show is None else self.show(i)

    def take(self, indices: NDArray[np.int64]) -> "Samples":
        """Keep the samples at `indices` (m,), in that order."""
        return Samples(
            tuple(self.ids[i] for i in indices),
            self.labels[indices],
            lambda i: self.read(int(indices[i])),
            None if self.groups is None else self.groups[indices],
            self.show and (lambda i: self.image(int(indices[i]))),
            self.white,
        )

    def split(self) -> Split:
        return Split(self.ids, self.labels, self.image, self.groups, self.contents, mark=self.mark)

    def mark(self, i: int) -> bytes | None:
        """Return what tells bytes apart; None where they can't be read, which equals nothing."""
        known = self.__dict__.get("fingerprints")  # after contents(), nothing is read once more
        found = self.fingerprint(i) if known is None else known[i]
        return None if found == _NOTHING else found

    def contents(self) -> str:
        """Return a digest of every id, label and byte, in order."""
        whole = hashlib.sha256(b"" if self.white == WHITE else str(self.white).encode())
        for name, label, mark in zip(self.ids, self.labels.tolist(), self.fingerprints, strict=True):
            whole.update(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
            whole.update(label.to_bytes(8, "big", signed=True) + mark)
        return whole.hexdigest()

    @cached_property
    def fingerprints(self) -> tuple[bytes, ...]:  # (n,)
        """SHA-256 of what each sample is stored as; everything is read once."""
        return tuple(map(self.fingerprint, range(len(self))))

    def fingerprint(self, i: int) -> bytes:
        try:
            return fingerprint(self.read(i))
        except Unreadable:
            return _NOTHING


def file_samples(
    root: Path,
    ids: Sequence[str],
    labels: Sequence[int],
    groups: NDArray[np.int64] | None = None,
    follow: bool = False,
    advice: _Advice | None = None,
    reach: Reach = ANYWHERE,
) -> Samples:
    """Return samples that are files below `root`; their ids are their relative names.

    Links out of the root are read only if `follow` is set, and only as far as `reach` goes. `advice` says
    where one that is missing may be.
    """
    names, base = tuple(ids), None if follow else os.path.realpath(root)
    read = partial(_read_below, root, base, reach, names, advice)
    return Samples(names, np.array(labels, dtype=np.int64), read, groups)


def _read_below(
    root: Path, base: str | None, reach: Reach, names: Sequence[str], advice: _Advice | None, i: int
) -> bytes | Stretch:
    path = located(root, names[i])
    if base is not None and not is_below(base, path):
        raise Unreadable("it is a link out of the folder: pass links=follow if you trust it")
    if not reach.confined(path):
        raise Unreadable("it is a link out of what --confine keeps everything in")
    try:
        return read_file(path)
    except Unreadable as problem:
        with suppress(OSError, ValueError):
            if advice is not None and not path.exists() and (told := advice(root, names[i])):
                raise Unreadable(f"{problem}; {told}") from None
        raise


def located(root: Path, name: str) -> Path:
    """Return the path of a file, also where its name was written down on a machine that spells it otherwise.

    Windows separates folders by backslashes, macOS decomposes accents, servers escape as %20.
    """
    path = root / name
    with suppress(OSError):  # such as a name that is too long, which is told when it is read
        if path.exists():
            return path
    slashed = name.replace("\\", "/")
    spellings = [
        slashed,
        *(unicodedata.normalize(form, slashed) for form in ("NFC", "NFD")),
        unquote(slashed),
    ]
    inside = (root / each for each in spellings if ".." not in Path(each).parts and not each.startswith("/"))
    with suppress(OSError):
        return next((other for other in inside if other.exists()), path)
    return path


def is_below(base: str, path: Path) -> bool:
    """Whether a path, links followed, lies in the folder `base`."""
    try:
        return Path(os.path.realpath(path)).is_relative_to(base)
    except ValueError:  # a name with a zero byte
        return False
