"""Read a state dict from a file without executing anything in it."""

import pickle
import stat
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from forgetcheck.errors import CannotAsk

WRAPPERS = ("state_dict", "model_state_dict", "model")
FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)  # what weights are stored in
PREFIXES = ("module.", "_orig_mod.")
CONVERT = (
    "save it as a plain state dict: `safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')`"
)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return dense CPU tensors by name.

    The format is told from the content, not the suffix. Pickles are read with torch's restricted
    unpickler only, and `weights_only=True` is passed explicitly so that no environment variable can
    lift it. Raises CannotAsk for a missing, empty, truncated or foreign file and for NaN or Inf.
    """
    refuse_irregular(path)
    with path.open("rb") as file:
        head = file.read(9)
    loaded = read_safetensors(path) if head[8:9] == b"{" else read_torch(path)
    tensors = strip_prefixes(unwrap(path, loaded))
    refuse_unfit(path, tensors)
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """Return the text header of a safetensors file, empty for any other file."""
    refuse_irregular(path)
    with path.open("rb") as file:
        if file.read(9)[8:9] != b"{":
            return {}
    with opened_safetensors(path) as file:
        return dict(file.metadata() or {})


def refuse_irregular(path: Path) -> None:
    try:
        status = path.stat()
    except OSError as problem:
        raise CannotAsk(f"no checkpoint at '{path}' ({problem.strerror}): check the path.") from None
    if not stat.S_ISREG(status.st_mode):
        raise CannotAsk(f"'{path}' is not a file: expected weights (.safetensors, .pt) or a run folder.")
    if status.st_size == 0:
        raise CannotAsk(f"'{path}' is empty (0 bytes): copy or save the checkpoint again.")


def opened_safetensors(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as problem:
        raise CannotAsk(f"'{path}' is truncated or damaged ({problem}): copy or save it again.") from None


def read_safetensors(path: Path) -> dict[str, Tensor]:
    with opened_safetensors(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)


def read_torch(path: Path) -> Any:
    """Read a file of torch.save, state dict or training checkpoint."""
    if zipfile.is_zipfile(path):
        refuse_bad_archive(path)
    try:
        # an open file: given a path, torch chooses its reader by the suffix
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd about a file is refused below, in one line
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        # torch's own text recommends weights_only=False: never repeat that
        raise CannotAsk(
            f"'{path}' holds more than tensors, so reading it could run foreign code: refused; {CONVERT}."
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError):
        raise CannotAsk(
            f"'{path}' is no readable state dict (truncated, damaged or another format): "
            f"copy it again, or {CONVERT}."
        ) from None


def refuse_bad_archive(path: Path) -> None:
    """torch.load neither checks sums nor sizes: a flipped bit loads silently, a deflated bomb expands."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
                raise CannotAsk(
                    f"'{path}' is a compressed archive, not a state dict of torch.save: {CONVERT}."
                )
            damaged = archive.testzip()
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as problem:
        raise CannotAsk(f"'{path}' is truncated or damaged ({problem}): copy or save it again.") from None
    if damaged:
        raise CannotAsk(f"'{path}' is damaged (checksum of {damaged}): copy or save it again.")


def unwrap(path: Path, loaded: Any) -> dict[str, Tensor]:
    """Find the tensors by name, also inside a training checkpoint."""
    for wrapper in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not loaded:
        raise CannotAsk(f"'{path}' is no state dict (found {type(loaded).__name__}): {CONVERT}.")
    odd = [
        name for name, value in loaded.items() if not isinstance(name, str) or not isinstance(value, Tensor)
    ]
    if odd:
        raise CannotAsk(f"'{path}' is no plain state dict ('{odd[0]}' is not a tensor): {CONVERT}.")
    return dict(loaded)


def strip_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop what DataParallel or torch.compile put before every name."""
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def refuse_unfit(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse what cannot be weights: sparse, quantised, larger than stored, or not finite."""
    room = path.stat().st_size
    for name, value in tensors.items():
        if (
            value.layout != torch.strided
            or value.is_quantized
            or value.is_nested
            or value.device.type != "cpu"
        ):
            raise CannotAsk(f"'{path}': tensor '{name}' is not dense; {CONVERT}.")
        if value.dtype not in FLOATS and (value.is_floating_point() or value.is_complex()):
            kind = str(value.dtype).removeprefix("torch.")
            raise CannotAsk(f"'{path}': tensor '{name}' is {kind}: save it as float32 or float16.")
        if value.numel() * value.element_size() > min(room, value.untyped_storage().nbytes()):
            raise CannotAsk(f"'{path}': tensor '{name}' claims more data than the file holds; save it again.")
    bad = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise CannotAsk(
            f"'{path}' has NaN or Inf in '{bad[0]}'{more}: training diverged; use an earlier checkpoint."
        )
