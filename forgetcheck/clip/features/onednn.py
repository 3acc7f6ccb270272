"""Linear layers on a CPU, multiplied by oneDNN: most of what a transformer computes.

PyTorch gives float32 to MKL, which on a processor that isn't Intel's may reach half of what oneDNN does; its
autocast to bfloat16 spends as long on casts as on products. `benchmarks/audit.py` compares with the bare
model.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_LINEAR = torch.ops.aten.linear.default
_NEEDED = ("_reorder_linear_weight", "_linear_pointwise")  # what PyTorch's own compiler calls, too


def supported(device: torch.device, kind: torch.dtype) -> bool:
    """Say whether this machine gains: an x86 processor whose oneDNN multiplies numbers of this kind."""
    library = torch.ops.mkldnn
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return False
    if not all(hasattr(library, name) for name in _NEEDED):
        return False
    if kind == torch.bfloat16:
        return bool(library._is_mkldnn_bf16_supported())
    if kind == torch.float16:
        return bool(library._is_mkldnn_fp16_supported())
    return kind == torch.float32


@contextmanager
def by_onednn(kind: torch.dtype) -> Iterator[None]:
    """Multiply in `kind` what linear layers are given in float32; what they return is float32 again.

    Without gradients. A weight is laid out in oneDNN's order for every batch, which is little beside its
    products with 64 images; to keep it would take the memory of the model once more, and to know when it
    changes. Attention is taken apart into its linear layers, which is the same to the last bits.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode(), _OneDnn(kind):  # else a layer arrives here in pieces
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


class _OneDnn(TorchDispatchMode):
    """Answers for every linear layer in float32; all other operations are PyTorch's."""

    def __init__(self, kind: torch.dtype) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kind = kind

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if operation is _LINEAR and _fits(*args):
            return multiply(*args, kind=self.kind)
        return operation(*args, **(kwargs or {}))


def _fits(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Say whether these are what oneDNN expects. It looks at no shape of a bias: it would read beyond it."""
    given = (x, weight) if bias is None else (x, weight, bias)
    if not all(_is_plain(each) for each in given):
        return False
    return weight.dim() == 2 and (bias is None or bias.shape == weight.shape[:1])


def _is_plain(tensor: Tensor) -> bool:
    """Whether numbers lie there as float32: a tensor of another class may keep anything, such as int4."""
    usual = type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided
    return usual and tensor.dtype == torch.float32 and tensor.numel() > 0


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, kind: torch.dtype) -> Tensor:
    """Return x (..., i) times weight (o, i), plus bias (o,): (..., o) in float32."""
    order = torch.ops.mkldnn._reorder_linear_weight(weight.to(kind))
    shift = None if bias is None else bias.to(kind).contiguous()  # whose strides it doesn't look at either
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x.to(kind), order, shift, "none", [], "")
    return found.to(torch.float32)
