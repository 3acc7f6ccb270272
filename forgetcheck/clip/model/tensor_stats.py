"""Census: what kinds of numbers the tensors of a tower hold."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 1 << 22  # entries looked at together: bounds the memory for any tensor
_NAMED = 3  # offending tensors told per tower
_BUFFERS = ("running_mean", "running_var")  # measured statistics beside the parameters


@dataclass(frozen=True)
class TensorStats:
    """What kinds of numbers a tower holds."""

    parameters: int  # weights, without running statistics and integers
    precisions: Mapping[str, int]  # parameters by stored type, such as float16
    nan: int
    infinite: int
    denormal: int  # too small for full precision in the stored type
    zeros: int
    not_finite: tuple[str, ...]  # the first tensors with NaN or Inf
    denormal_in: tuple[str, ...]  # the first tensors with denormals; common and harmless in float16

    @property
    def finite(self) -> bool:
        return self.nan == 0 and self.infinite == 0


def take_census(weights: Mapping[str, Tensor]) -> TensorStats:
    """Count what is odd in a tower, in one pass, a bounded piece at a time."""
    totals, precisions = Counter[str](), Counter[str]()
    not_finite, denormal_in = [], []
    for name, value in weights.items():
        if not value.is_floating_point():
            continue
        found = kinds(value)
        totals.update(found)
        if found["nan"] or found["infinite"]:
            not_finite.append(name)
        if found["denormal"]:
            denormal_in.append(name)
        if not name.endswith(_BUFFERS):
            precisions[str(value.dtype).removeprefix("torch.")] += value.numel()
    return TensorStats(
        parameters=precisions.total(),
        precisions=dict(precisions),
        nan=totals["nan"],
        infinite=totals["infinite"],
        denormal=totals["denormal"],
        zeros=totals["zeros"],
        not_finite=tuple(not_finite[:_NAMED]),
        denormal_in=tuple(denormal_in[:_NAMED]),
    )


def kinds(value: Tensor) -> Counter[str]:
    smallest = torch.finfo(value.dtype).smallest_normal
    found = Counter[str]()
    for piece in value.detach().reshape(-1).split(CHUNK):
        size = piece.abs()
        zeros = count(size == 0)
        found["zeros"] += zeros
        found["nan"] += count(size.isnan())
        found["infinite"] += count(size.isinf())
        found["denormal"] += count(size < smallest) - zeros
    return found


def count(marks: Tensor) -> int:
    return int(torch.count_nonzero(marks))  # much faster than their sum, which counts in int64
