"""safetensors: one file, or the parts that an index lists."""

from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from forgetcheck.clip.formats.base import in_one_line
from forgetcheck.documents import parse_json
from forgetcheck.errors import CheckpointError

_MAX_INDEX = 2**23  # bytes; of a model of 1000 tensors it has 100,000
_MAX_HEADER = 2**23  # bytes; in memory it takes twenty times as much
INDEXES = (
    "model.safetensors.index.json",
    "open_clip_model.safetensors.index.json",
    "pytorch_model.bin.index.json",
)


def is_safetensors(path: Path) -> bool:
    """Tell by the content: the length of a header, then the header, which is JSON."""
    with path.open("rb") as file:
        return file.read(9)[8:9] == b"{"


def read_safetensors(path: Path) -> dict[str, Tensor]:
    _refuse_long_header(path)
    with in_one_line(path), safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)


def _refuse_long_header(path: Path) -> None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > _MAX_HEADER:
        raise CheckpointError(
            f"'{path}' is no checkpoint of a CLIP (its header says {length:,} bytes): copy or save it again."
        )


def read_header(path: Path) -> dict[str, str]:
    """Return the texts in the header of a safetensors file."""
    _refuse_long_header(path)
    with in_one_line(path), safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def read_names(path: Path) -> list[str]:
    """Return the names of the tensors of a safetensors file; only its header is read."""
    _refuse_long_header(path)
    with in_one_line(path), safe_open(path, framework="pt") as file:
        return list(file.keys())


def read_index(path: Path) -> dict[Path, list[str]]:
    """Return the names of the tensors in each part, by the part's path."""
    if path.stat().st_size > _MAX_INDEX:
        raise CheckpointError(f"'{path}' is too large for an index of weights: check what it is.")
    listed = _index_of(path).get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise CheckpointError(f"'{path}' is no index of weights: it has no weight_map.")
    parts: dict[Path, list[str]] = {}
    for name, part in listed.items():
        if not isinstance(part, str) or part in ("", ".", "..") or any(mark in part for mark in "/\\:\0"):
            raise CheckpointError(
                f"'{path}' names parts outside of its own folder: refused; save the model again."
            )
        parts.setdefault(path.parent / part, []).append(name)
    return parts


def _index_of(path: Path) -> dict[str, Any]:
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise CheckpointError(f"cannot read '{path}': {problem}.") from None
