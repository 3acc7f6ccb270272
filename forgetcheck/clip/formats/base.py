"""What reading a checkpoint gives, and what every format refuses in the same words."""

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from forgetcheck.clip.formats.pickled import Forbidden
from forgetcheck.errors import CheckpointError, InputError

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)  # what weights are stored in
CONVERT = (
    "save it as a plain state dict: `safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')`"
)
_MOST_SHARED = 4  # how often a number may be shared among tensors, on average
LONGEST_NAME = 120  # characters of a name that is quoted


@dataclass(frozen=True)
class Weights:
    """What a checkpoint holds, under open_clip's names."""

    tensors: dict[str, Tensor]  # dense, on the CPU
    family: str  # "state dict", "whole-module pickle", "transformers CLIP folder", ...
    notes: tuple[str, ...] = ()  # what was stripped, converted or left out: one short sentence each
    doubts: tuple[str, ...] = ()  # what had to be assumed: each may make the model another one
    config: Mapping[str, Any] | None = None  # {"model_cfg", "preprocess_cfg"} where the format records it
    head: Tensor | None = None  # (c, d), a fine-tuned classification head found beside the towers
    head_bias: Tensor | None = None  # (c,)
    quick_gelu: bool | None = None  # whether the activation is QuickGELU, where the file names its class
    counters: Mapping[str, int] = field(default_factory=dict)  # how far training was, such as {"epoch": 3}
    assumed: str = ""  # why the preprocessing in the config is only the usual one; empty where it is recorded
    adapter: Mapping[str, Any] = field(default_factory=dict)  # what was merged into a base, for a report
    base: Mapping[str, Tensor] = field(default_factory=dict)  # which that base is, before it


@dataclass(frozen=True)
class Raw:
    """The tensors of one file under the names they are saved with."""

    tensors: dict[str, Tensor]
    family: str
    notes: tuple[str, ...] = ()
    quick_gelu: bool | None = None  # as in Weights
    head_raw: bool = False  # whether its head expects embeddings that are not normalised
    counters: Mapping[str, int] = field(default_factory=dict)  # as in Weights
    doubts: tuple[str, ...] = ()  # as in Weights
    keys: tuple[str, ...] = ()  # that led to the weights inside of a training checkpoint


class Unbuildable(Exception):
    """A model of another library that open_clip cannot build; the argument says why."""


@contextmanager
def in_one_line(path: Path) -> Iterator[None]:
    """Turn whatever a damaged or hostile file makes a reader trip over into one line.

    torch's own text recommends to switch its safety off: only what safetensors and zipfile say is passed on.
    """
    try:
        yield
    except Forbidden as problem:
        raise CheckpointError(
            f"'{path}' would call {shown(problem.args[0])} if it were unpickled, which no checkpoint needs: "
            "refused, nothing was run; get the weights from somebody you trust."
        ) from None
    except (SafetensorError, zipfile.BadZipFile) as problem:
        raise damaged(path, problem) from None
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        EOFError,
        RuntimeError,
        ArithmeticError,
        AttributeError,
    ):
        raise CheckpointError(
            f"'{path}' is no readable state dict (truncated, damaged or another format): "
            f"copy it again, or {CONVERT}."
        ) from None


def damaged(path: Path, problem: Exception) -> InputError:
    """Build the refusal with what the library says, which may quote the file at any length."""
    return InputError(f"'{path}' is truncated or damaged ({shown(str(problem))}): copy or save it again.")


def shown(name: str, most: int = LONGEST_NAME) -> str:
    """Make a text from a file fit for one line of a terminal."""
    text = name if name.isprintable() else ascii(name[: most + 1])[1:-1]
    return text if len(text) <= most else f"{text[:most]}..."


def refuse_unfit(path: Path, tensors: Mapping[str, Tensor], room: int) -> None:
    """Refuse what cannot be weights: sparse, or larger than the `room` bytes of its file."""
    for name, value in tensors.items():
        if value.layout != torch.strided or value.device.type != "cpu":
            raise CheckpointError(f"'{path}': tensor '{shown(name)}' is not dense; {CONVERT}.")
        if value.dtype not in FLOATS and (value.is_floating_point() or value.is_complex()):
            kind = str(value.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"'{path}': tensor '{shown(name)}' is {kind}: save it as float32 or float16."
            )
        if value.numel() * value.element_size() > min(room, value.untyped_storage().nbytes()):
            raise too_large(path, name)
    total = sum(value.numel() * value.element_size() for value in tensors.values())
    if total > _MOST_SHARED * room:  # many names for one storage would make a small file large
        raise too_large(path, max(tensors, key=lambda name: tensors[name].numel()))


def refuse_not_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    bad = [name for name, value in tensors.items() if not _finite(value)]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise CheckpointError(
            f"'{path}' has NaN or Inf in '{shown(bad[0])}'{more}: training diverged; "
            "use an earlier checkpoint."
        )


def too_large(path: Path, name: str) -> InputError:
    return InputError(
        f"'{path}': tensor '{shown(name)}' claims more data than the file holds; save it again."
    )


def _finite(value: Tensor) -> bool:
    """Tell whether all numbers are finite. `torch.isfinite` would make a copy of the tensor for it."""
    if value.numel() == 0 or not value.is_floating_point():
        return True
    low, high = value.aminmax()  # NaN passes through both
    return math.isfinite(low) and math.isfinite(high)
