"""Read the weights of a checkpoint, whatever saved them, without executing anything in it."""

import stat
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from forgetcheck.clip.formats.base import (
    FLOATS,
    Raw,
    Weights,
    in_one_line,
    refuse_not_finite,
    refuse_unfit,
    shown,
)
from forgetcheck.clip.formats.naming import drop_constants, is_constant, settle_names
from forgetcheck.clip.formats.openai import NOTE, OPENAI_ARCHIVE, openai_config
from forgetcheck.clip.formats.pickled_weights import read_pickled
from forgetcheck.clip.formats.safetensors_files import (
    INDEXES,
    is_safetensors,
    read_header,
    read_index,
    read_safetensors,
)
from forgetcheck.clip.formats.transformers_folder import convert_folder
from forgetcheck.errors import CannotAsk

__all__ = ["FLOATS", "Weights", "has_weights", "read_metadata", "read_state_dict", "read_weights"]
FILES = (  # of a folder, in the order of open_clip
    "open_clip_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
)
TRANSFORMERS = ("vision_model.", "text_model.")


def read_weights(path: Path, finite: bool = True) -> Weights:
    """Return what the checkpoint at `path`, a file or a folder, holds under open_clip's names.

    The format is told from the content, not the suffix. Raises CannotAsk for a missing, empty, truncated
    or foreign file, for code in it, and, unless `finite` is off, for NaN or Inf.
    """
    if path.is_dir():
        return read_folder(path, finite)
    refuse_irregular(path)
    raw = read_file(path, finite)
    if of_transformers(raw):
        raise CannotAsk(
            f"'{path}' has the names of transformers: name the folder of save_pretrained, which says how "
            "the towers are built."
        )
    weights = settled(raw)
    return with_openai_config(path, weights) if raw.family == OPENAI_ARCHIVE else weights


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return dense CPU tensors by name."""
    return read_weights(path).tensors


def read_metadata(path: Path) -> dict[str, str]:
    """Return the text header of a safetensors file, empty for any other file."""
    refuse_irregular(path)
    return read_header(path) if is_safetensors(path) else {}


def has_weights(folder: Path) -> bool:
    """Tell whether a folder has one of the files that are read."""
    return any((folder / name).exists() for name in (*FILES, *INDEXES))


def read_folder(folder: Path, finite: bool) -> Weights:
    raw = read_files(folder, finite)
    return convert_folder(folder, raw) if of_transformers(raw) else settled(raw)


def of_transformers(raw: Raw) -> bool:
    return any(name.startswith(TRANSFORMERS) for name in raw.tensors)


def read_files(folder: Path, finite: bool) -> Raw:
    """Read the file of weights that a folder has, or the parts of an index."""
    for name in (*FILES, *INDEXES):
        if (folder / name).exists():
            return read_file(folder / name, finite)
    raise CannotAsk(f"no weights in the folder '{folder}': expected one of {', '.join((*FILES, *INDEXES))}.")


def read_file(path: Path, finite: bool) -> Raw:
    """Read one file, told by its content."""
    refuse_irregular(path)
    with path.open("rb") as file:
        start = file.read(1)
    if start == b"{" and not is_safetensors(path):
        return read_parts(path, finite)
    raw = read_one(path)
    refuse_unfit(path, raw.tensors, path.stat().st_size)
    if finite:
        refuse_not_finite(path, raw.tensors)
    return raw


def read_one(path: Path) -> Raw:
    """Read one file without what is no weight: an attention mask is infinite by right."""
    raw = Raw(read_safetensors(path), "safetensors") if is_safetensors(path) else read_pickled(path)
    tensors, note = drop_constants(raw.tensors)
    if not tensors:
        raise CannotAsk(f"'{path}' is a {raw.family} without any weights in it: check what was saved.")
    return Raw(tensors, raw.family, (*raw.notes, note) if note else raw.notes)


def read_parts(index: Path, finite: bool) -> Raw:
    """Read the parts that an index lists; each must hold what the index says."""
    tensors: dict[str, Tensor] = {}
    for part, names in read_index(index).items():
        refuse_irregular(part)
        found = read_one(part).tensors
        missing = [name for name in names if name not in found and not is_constant(name)]
        if missing:
            raise CannotAsk(
                f"'{part}' lacks '{shown(missing[0])}', which '{index.name}' lists: copy it again."
            )
        wanted = {name: found[name] for name in names if name in found}
        refuse_unfit(part, wanted, part.stat().st_size)
        if finite:
            refuse_not_finite(part, wanted)
        tensors.update(wanted)
    return Raw(tensors, "sharded safetensors" if "safetensors" in index.name else "sharded state dict")


def settled(raw: Raw) -> Weights:
    named = settle_names(raw.tensors)
    return Weights(
        named.tensors,
        raw.family,
        (*raw.notes, *named.notes),
        head=named.head,
        head_bias=named.head_bias,
    )


def with_openai_config(path: Path, weights: Weights) -> Weights:
    with in_one_line(path):
        config = openai_config(weights.tensors)
    return replace(weights, config=config, notes=(*weights.notes, NOTE))


def refuse_irregular(path: Path) -> None:
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            path.open("rb").close()
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise CannotAsk(f"no checkpoint at '{path}' ({reason}): check the path.") from None
    if not stat.S_ISREG(status.st_mode):
        raise CannotAsk(f"'{path}' is not a file: expected weights (.safetensors, .pt) or a run folder.")
    if status.st_size == 0:
        raise CannotAsk(f"'{path}' is empty (0 bytes): copy or save the checkpoint again.")
