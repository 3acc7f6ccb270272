"""Weights that training code keeps in parts, as weight norm and spectral norm do: computed as torch does."""

import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from forgetcheck.clip.formats.base import refuse_not_finite, shown
from forgetcheck.errors import CheckpointError

_NEWER = re.compile(r"^(?P<module>.*?)parametrizations\.(?P<leaf>[^.]+)\.(?P<part>original\d*|\d+\..+)$")
_OLDER = ("g", "v", "orig", "u", "mask")  # endings of the parts: weight_g, weight_v ...
_NAMED = ("weight", "bias")  # what is kept in parts
_BAKE = "`torch.nn.utils.parametrize.remove_parametrizations(module, 'weight')`"

_Parts = dict[str, Tensor]


def whole_weights(path: Path, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Return the tensors with every weight that lies there in parts, and a note.

    Weight norm, spectral norm and pruning masks of torch, in their older and newer spelling, are computed as
    torch's modules do in evaluation mode. Raises InputError for parts that only other code can put together.
    """
    parts = _parts_of(tensors)
    if not parts:
        return tensors, ""
    found: dict[str, Tensor] = {}
    used: set[str] = set()
    ways: dict[str, int] = {}
    for name, held in parts.items():
        leaves = {part: tensors[source].float() for part, source in held.items()}
        way, compute = _way_of(frozenset(held))
        value = compute(leaves) if compute is not None else None
        if value is None:
            raise CheckpointError(
                f"'{path}': '{shown(name)}' is computed from '{shown(next(iter(held.values())))}' by code "
                f"that the file doesn't hold: {_BAKE} makes a plain weight of it; then save the model again."
            )
        found[name] = value
        used.update(held.values())
        ways[way] = ways.get(way, 0) + 1
    refuse_not_finite(path, found)
    rest = {name: value for name, value in tensors.items() if name not in used}
    said = ", ".join(f"{count} of {way}" for way, count in ways.items())
    return {**rest, **found}, f"Computed weights that lay there in parts: {said}."


def _parts_of(tensors: dict[str, Tensor]) -> dict[str, dict[str, str]]:
    """Group the names of parts by the weight they make: {weight: {part: name}}."""
    groups: dict[str, dict[str, str]] = {}
    for name in tensors:
        if match := _NEWER.match(name):
            groups.setdefault(match["module"] + match["leaf"], {})[f"new {match['part']}"] = name
    for name in tensors:
        stem, _, ending = name.rpartition("_")
        if stem.endswith(_NAMED) and ending in _OLDER and stem not in tensors and _older(stem, tensors):
            groups.setdefault(stem, {})[ending] = name
    return groups


def _older(stem: str, tensors: dict[str, Tensor]) -> bool:
    """Tell whether a name is that of a weight in parts: some of what it takes is beside it."""
    there = [f"{stem}_{ending}" in tensors for ending in _OLDER]
    return (there[0] and there[1]) or (there[2] and (there[3] or there[4]))


def _way_of(parts: frozenset[str]) -> tuple[str, Callable[[_Parts], Tensor | None] | None]:
    """Return what a set of parts is called, and what makes one weight of them."""
    return _WAYS.get(parts, ("", None))


def _weight_norm(size: Tensor, direction: Tensor) -> Tensor | None:
    """Give every slice of `direction` the norm in `size`, whose shape tells along which dimension."""
    if size.ndim == 0:
        return torch._weight_norm(direction, size, -1)
    if size.ndim != direction.ndim:
        return None
    kept = [place for place, length in enumerate(size.shape) if length != 1]
    dimension = kept[0] if kept else 0
    slices = [1] * size.ndim
    slices[dimension] = direction.shape[dimension]
    if list(size.shape) == slices:
        return torch._weight_norm(direction, size, dimension)
    if size.numel() == 1:  # of the whole, which no dimension of length 1 tells
        return torch._weight_norm(direction, size.reshape(()), -1)
    return None


def _spectral_norm(weight: Tensor, left: Tensor, right: Tensor) -> Tensor | None:
    """Divide by the largest singular value, which `left` and `right` single out.

    Along which dimension doesn't show in a square; it is largest along the right one.
    """
    matrices = [weight.movedim(dimension, 0).flatten(1) for dimension in range(weight.ndim)]
    sizes = [
        torch.dot(left, torch.mv(matrix, right))
        for matrix in matrices
        if (left.ndim, right.ndim) == (1, 1) and matrix.shape == (len(left), len(right))
    ]
    return weight / max(sizes) if sizes else None


def _masked(weight: Tensor, mask: Tensor) -> Tensor | None:
    return weight * mask if weight.shape == mask.shape else None


_WAYS: dict[frozenset[str], tuple[str, Callable[[_Parts], Tensor | None]]] = {
    frozenset(("g", "v")): ("weight norm", lambda part: _weight_norm(part["g"], part["v"])),
    frozenset(("new original0", "new original1")): (
        "weight norm",
        lambda part: _weight_norm(part["new original0"], part["new original1"]),
    ),
    frozenset(("orig", "u", "v")): (
        "spectral norm",
        lambda part: _spectral_norm(part["orig"], part["u"], part["v"]),
    ),
    frozenset(("new original", "new 0._u", "new 0._v")): (
        "spectral norm",
        lambda part: _spectral_norm(part["new original"], part["new 0._u"], part["new 0._v"]),
    ),
    frozenset(("orig", "mask")): ("pruning", lambda part: _masked(part["orig"], part["mask"])),
}
