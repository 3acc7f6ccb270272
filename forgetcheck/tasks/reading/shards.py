"""Samples in tars: KEY.jpg beside KEY.cls, found by their headers and read where they lie."""

import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from forgetcheck.documents import reason
from forgetcheck.errors import DataError
from forgetcheck.tasks.base import Unreadable
from forgetcheck.tasks.reading.decode import LONG, refuse_large
from forgetcheck.tasks.reading.samples import Samples
from forgetcheck.tasks.reading.stretches import Stretch
from forgetcheck.tasks.reading.tar import Member, members

_IMAGES = ("webp", "png", "jpg", "jpeg")  # CLIP_benchmark takes the first of these
_LABEL = "cls"
_TEXT = "txt"
_LONGEST = 32  # bytes of a label
_LONGEST_TEXT = 2**20  # bytes of captions
NAME = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")  # key and ending, as the webdataset library divides them
_METADATA = re.compile(r"__[^/]*__")

_Pieces = Mapping[str, Member]  # what a sample consists of, by ending


def list_samples(name: str, shards: Sequence[Path], classes: int, image: str = "") -> Samples:
    """List the samples of all shards, in order. Raises InputError for one that is not whole."""
    labels = array("q")

    def add(where: str, file: BinaryIO, pieces: _Pieces) -> None:
        label = _read_label(where, file, pieces)
        if not 0 <= label < classes:
            raise DataError(f"{where} has the label {label}, but classnames.txt has {classes} lines.")
        labels.append(label)

    ids, places = _walk(name, shards, add, image)
    return Samples(ids, np.array(labels, dtype=np.int64), places.read)


def list_captioned(name: str, shards: Sequence[Path], image: str = "") -> tuple[Samples, list[list[str]]]:
    """List the samples of all shards, in order, and the captions of each: the lines of KEY.txt."""
    captions: list[list[str]] = []

    def add(where: str, file: BinaryIO, pieces: _Pieces) -> None:
        captions.append(_read_captions(where, file, pieces))

    ids, places = _walk(name, shards, add, image)
    return Samples(ids, np.zeros(len(ids), dtype=np.int64), places.read), captions


def _walk(
    name: str, shards: Sequence[Path], add: Callable[[str, BinaryIO, _Pieces], None], image: str
) -> tuple[tuple[str, ...], "Places"]:
    """Return the names of all samples, and where their images lie; `add` is shown the rest of each."""
    places, ids = Places(shards), []
    for number, path in enumerate(shards):
        found = _samples_of(path)
        with path.open("rb") as file:
            for key, pieces in found.items():
                where = f"the sample '{key}' in '{path}'"
                add(where, file, pieces)
                ids.append(f"{name}/{number}/{key}")
                places.add(number, _image_of(where, file, pieces, image))
    return tuple(ids), places


@dataclass(frozen=True)
class Places:
    """Where the image of each sample lies: numbers only, whatever the size of the data set."""

    shards: Sequence[Path]
    shard: "array[int]" = field(default_factory=lambda: array("l"))  # (n,)
    offset: "array[int]" = field(default_factory=lambda: array("q"))  # (n,)
    size: "array[int]" = field(default_factory=lambda: array("q"))  # (n,)

    def add(self, shard: int, member: Member) -> None:
        self.shard.append(shard)
        self.offset.append(member.offset)
        self.size.append(member.size)

    def read(self, i: int) -> bytes | Stretch:
        """Return the bytes of image i, or where they lie if they are many.

        The tar is opened each time: threads and processes may share it.
        """
        refuse_large(self.size[i])
        if self.size[i] >= LONG:
            return Stretch(self.shards[self.shard[i]], self.offset[i], self.size[i])
        try:
            with self.shards[self.shard[i]].open("rb") as file:
                return _piece(file, self.offset[i], self.size[i])
        except OSError as problem:
            raise Unreadable(reason(problem)) from None


def _piece(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _samples_of(path: Path) -> Mapping[str, _Pieces]:
    """Return the samples of a shard by key. What has no ending, or is metadata, belongs to none."""
    found: dict[str, dict[str, Member]] = defaultdict(dict)
    for member in members(path):
        name = NAME.fullmatch(member.name)
        if name is None or _METADATA.fullmatch(member.name):
            continue
        key, ending = name.group(1), name.group(2).lower()
        if ending in found[key]:
            raise DataError(f"the tar '{path}' holds '{member.name}' twice: pack it anew.")
        found[key][ending] = member
    if not found:
        raise DataError(f"the tar '{path}' holds no samples: they are KEY.jpg beside KEY.cls.")
    return found


def _image_of(where: str, file: BinaryIO, pieces: _Pieces, wanted: str) -> Member:
    """Return the image of a sample. Of several that differ none is taken unless it is `wanted`."""
    found = [ending for ending in _IMAGES if ending in pieces]
    if wanted in pieces:
        return pieces[wanted]
    if wanted or not found:
        expected = wanted or ", ".join(_IMAGES)
        raise DataError(f"{where} has no image ({expected}) but {', '.join(pieces)}: pack it anew.")
    if len({_piece(file, pieces[ending].offset, pieces[ending].size) for ending in found[1:] and found}) > 1:
        raise DataError(
            f"{where} has different images ({' and '.join(found)}): say which is meant, as image={found[0]}."
        )
    return pieces[found[0]]


def _read_label(where: str, file: BinaryIO, pieces: _Pieces) -> int:
    if _LABEL not in pieces:
        raise DataError(f"{where} has no label ({_LABEL}) but {', '.join(pieces)}: pack it anew.")
    text = _piece(file, pieces[_LABEL].offset, min(pieces[_LABEL].size, _LONGEST))
    try:
        return int(text)
    except ValueError:
        raise DataError(f"{where} has a label which is no number: pack it anew.") from None


def _read_captions(where: str, file: BinaryIO, pieces: _Pieces) -> list[str]:
    if _TEXT not in pieces:
        raise DataError(f"{where} has no captions ({_TEXT}) but {', '.join(pieces)}: pack it anew.")
    size = pieces[_TEXT].size
    if size > _LONGEST_TEXT:
        raise DataError(f"{where} has {size:,} bytes of captions; at most {_LONGEST_TEXT:,} are read.")
    text = _piece(file, pieces[_TEXT].offset, size)
    try:
        return [line for line in map(str.strip, text.decode("utf-8-sig").splitlines()) if line]
    except UnicodeDecodeError:
        raise DataError(f"{where} has captions that are not UTF-8: pack it anew.") from None
