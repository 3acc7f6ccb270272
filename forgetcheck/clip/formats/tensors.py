"""Build tensors from what torch pickled about them, every bound checked."""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from forgetcheck.clip.formats.pickled import Made, Name

_LAYOUTS = frozenset(f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3"))
_WRAPPED = frozenset(  # the tensor is the first argument
    (
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch.nn.parameter.Parameter",
    )
)
_SUBCLASS = "torch._tensor._rebuild_from_type_v2"  # (function, type, arguments, state)
_REBUILD = "torch._utils._rebuild_"
_UNTYPED = "UntypedStorage"
STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    _UNTYPED: torch.uint8,
}
_KINDS = {str(kind): kind for kind in vars(torch).values() if isinstance(kind, torch.dtype)}
_CHUNK = 2**22  # bytes; zipfile copies as much as it is asked for
_MAX_DIMENSIONS = 64  # what torch itself can hold


class NotDense(ValueError):
    """A tensor of torch that is sparse, quantised, nested or without data."""


class TooLarge(ValueError):
    """A tensor that claims more numbers than its storage has."""


class Shelf(ABC):
    """Where a file keeps its storages."""

    @abstractmethod
    def take(self, key: str) -> Tensor:  # (bytes,) uint8
        """Return the bytes of a storage that the pickle names; the same tensor each time."""

    def take_inline(self, _node: Made) -> tuple[torch.dtype, Tensor]:
        """Return a storage that the pickle itself holds; only files without an archive have such."""
        raise ValueError("no storage")


def fill_from(file: Any, length: int) -> Tensor:
    """Read `length` bytes, which the caller has seen to be there, straight into a tensor's own memory."""
    room = torch.empty(length, dtype=torch.uint8)
    view = memoryview(room.numpy())  # type: ignore[arg-type]
    filled = 0
    while filled < length:
        count = file.readinto(view[filled : filled + _CHUNK])
        if not count:
            raise EOFError("the storage ends too early")
        filled += count
    return room


def is_tensor(node: Any) -> bool:
    """Tell whether torch would make a tensor of this, of whatever kind."""
    return (
        isinstance(node, Made)
        and isinstance(node.maker, Name)
        and (
            node.maker.path in _WRAPPED
            or node.maker.path == _SUBCLASS
            or node.maker.path.startswith(_REBUILD)
        )
    )


def build_tensor(node: Made, shelf: Shelf) -> Tensor:
    """Return the tensor. Raises NotDense, TooLarge, or what damaged arguments raise."""
    function, arguments = _unwrap(node)
    if function not in _LAYOUTS:
        raise NotDense(function)
    storage, offset, size, stride = arguments[:4]
    kind, content = find_storage(storage, shelf)
    rest = arguments[6:]
    if function.endswith("_v3"):
        kind, rest = _KINDS[rest[0].path], rest[1:]
    if any(isinstance(state, dict) and any(state.values()) for state in rest):
        raise NotDense("a view that is negative or conjugate")  # the bytes are not the numbers
    room = content.numel() // kind.itemsize
    flat = content[: room * kind.itemsize].view(kind)
    return _place(flat, count(offset), _counts(size), _counts(stride))


def _unwrap(node: Made) -> tuple[str, Any]:
    """Peel off what makes a tensor a parameter or a subclass; a function and its arguments are left."""
    maker, arguments = node.maker, node.arguments
    for _ in range(4):
        if maker.path == _SUBCLASS:
            maker, arguments = arguments[0], arguments[2]
        elif maker.path in _WRAPPED:
            maker, arguments = arguments[0].maker, arguments[0].arguments
        else:
            return maker.path, arguments
    raise ValueError("wrapped too often")


def find_storage(node: Any, shelf: Shelf) -> tuple[torch.dtype, Tensor]:
    """Return the number type of a storage and its bytes."""
    if isinstance(node, Made):
        return shelf.take_inline(node)
    mark, kind, key, _location, length = node.key[:5]
    name = kind.path.rpartition(".")[2]
    if mark != "storage" or not isinstance(key, str):
        raise ValueError("no storage")
    if name not in STORAGES:
        raise NotDense(name)  # quantised
    content = shelf.take(key)
    if count(length) * STORAGES[name].itemsize > content.numel():
        raise TooLarge(key)
    return STORAGES[name], content[: length * STORAGES[name].itemsize]


def _place(flat: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Lay a shape over a storage, if all of it is there. (That numbers repeat is seen by `refuse_unfit`.)"""
    if len(size) != len(stride) or len(size) > _MAX_DIMENSIONS:
        raise ValueError("odd shape")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if math.prod(size) and last >= flat.numel():
        raise TooLarge(str(size))
    if not math.prod(size):
        return torch.empty(0, dtype=flat.dtype).reshape(size)
    return flat.as_strided(size, stride, offset)


def _counts(value: Any) -> tuple[int, ...]:
    """Return a size or a stride, which torch.Size may be wrapped around."""
    if isinstance(value, Made):
        (value,) = value.arguments
    if not isinstance(value, tuple | list):
        raise TypeError("no shape")
    return tuple(count(item) for item in value)


def count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError("no count")
    return value
