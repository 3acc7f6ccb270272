"""Files without an archive: torch.save before 1.6, and modules written with `pickle.dump`."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import torch
from torch import Tensor

from forgetcheck.clip.formats.pickled import Made, Name, Stored, read_pickle
from forgetcheck.clip.formats.tensors import STORAGES, NotDense, Shelf, fill_from, find_storage

_MAGIC = 0x1950A86A20F9469CFC6C  # torch's own first pickle
_PROTOCOL = 1001
_COUNT_BYTES = 8  # before each storage: how many numbers it has
_INLINE = "torch.storage._load_from_bytes"


@dataclass
class _StreamShelf(Shelf):
    """Storages that lie one behind the other in a file, or inside of its pickle."""

    file: BinaryIO
    places: Mapping[str, tuple[int, int]]  # offset and length in bytes
    read: dict[str, Tensor] = field(default_factory=dict)

    def take(self, key: str) -> Tensor:
        if key not in self.read:
            offset, length = self.places[key]
            self.file.seek(offset)
            self.read[key] = fill_from(self.file, length)
        return self.read[key]

    def take_inline(self, node: Made) -> tuple[torch.dtype, Tensor]:
        """Read the small file of torch.save that a plain pickle holds for each storage.

        The bytes in the tree give way to the tensor: nothing is held or read twice.
        """
        if not isinstance(node.maker, Name) or node.maker.path != _INLINE:
            raise ValueError("no storage")
        if isinstance(node.arguments, _Taken):
            return node.arguments.kind, node.arguments.content
        (content,) = node.arguments
        if not isinstance(content, bytes | bytearray):
            raise TypeError("a storage that is no bytes")
        root, shelf = read_stream(io.BytesIO(content), len(content))
        if not isinstance(root, Stored):
            raise TypeError("no storage")
        node.arguments = _Taken(*find_storage(root, shelf))
        return node.arguments.kind, node.arguments.content


@dataclass(frozen=True)
class _Taken:
    """A storage that has been read."""

    kind: torch.dtype
    content: Tensor  # (bytes,) uint8


def read_stream(file: BinaryIO, size: int) -> tuple[Any, _StreamShelf]:
    """Return the tree of the file and where its storages are.

    torch writes five pickles - magic number, protocol, system, object, keys of the storages - and then,
    per storage, how many numbers it has and their bytes. Any other file is one plain pickle.
    """
    tree = read_pickle(file, size)
    if type(tree.root) is not int or tree.root != _MAGIC:
        return tree.root, _StreamShelf(file, {})
    protocol, system = (read_pickle(file, size - file.tell()).root for _ in range(2))
    if protocol != _PROTOCOL or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("another byte order or version")
    tree = read_pickle(file, size - file.tell())
    keys = read_pickle(file, size - file.tell()).root
    return tree.root, _StreamShelf(file, _find_places(file, size, keys, _widths(tree.stored)))


def _widths(stored: list[Stored]) -> dict[str, int]:
    """Return how many bytes a number of each storage has."""
    found = {}
    for storage in stored:
        _, kind, key, _location, _length, view = storage.key
        name = kind.path.rpartition(".")[2]
        if name not in STORAGES:
            raise NotDense(name)
        if view is not None:
            raise ValueError("a view of a storage, which torch stopped writing in 2016")
        found[key] = STORAGES[name].itemsize
    return found


def _find_places(
    file: BinaryIO, size: int, keys: Any, bytes_per_number: dict[str, int]
) -> dict[str, tuple[int, int]]:
    """Return offset and length in bytes of each storage; all of them lie in the file, one after another."""
    places = {}
    for key in keys:
        length = int.from_bytes(file.read(_COUNT_BYTES), "little") * bytes_per_number[key]
        start = file.tell()
        if start + length > size:
            raise EOFError("a storage ends behind the file")
        places[key] = (start, length)
        file.seek(start + length)
    return places
