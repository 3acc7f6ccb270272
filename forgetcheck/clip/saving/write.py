"""Write a CLIP as others load it: a folder of open_clip, one safetensors file, or a state dict of torch."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from forgetcheck.clip.model.checkpoint import CONFIG, HEADER, WEIGHTS
from forgetcheck.clip.model.towers import digests
from forgetcheck.files import CONVERT_MANIFEST, LOCAL_DIR, refuse_existing_file, whole_file, whole_folder
from forgetcheck.version import __version__

SCHEMA = "forgetcheck/weights@1"
LINEAGE = "forgetcheck"  # key of a safetensors header: which weights these are, and what they were made from


@dataclass(frozen=True)
class Clip:
    """A whole CLIP, ready to be written."""

    config: Mapping[str, Any]  # {"model_cfg": ..., "preprocess_cfg": ...}
    tensors: Mapping[str, Tensor]  # under open_clip's names, in the precision they are stored in
    origin: Mapping[str, Any]  # what it was made from: its base, task and seed, or the file it was read from
    header: Mapping[str, str] = field(default_factory=dict)  # more texts beside the lineage
    tokenizer: Any = None  # one of transformers' is written too: open_clip looks for it in its folder


def write_clip(path: Path, clip: Clip, kind: str, overwrite: bool = False) -> None:
    """Write `clip` as one of files.KINDS, whole or not at all; every tensor stays as it is, bit by bit."""
    if kind == LOCAL_DIR:
        with whole_folder(path, overwrite) as temporary:
            fill_folder(temporary, clip)
            text = json.dumps({**lineage(clip), "complete": True}, indent=2)
            (temporary / CONVERT_MANIFEST).write_text(text + "\n", encoding="utf-8")
    else:
        refuse_existing_file(path, overwrite)
        with whole_file(path) as temporary:
            _WRITERS[kind](temporary, clip)


def fill_folder(folder: Path, clip: Clip) -> None:
    """Put what `open_clip.create_model_and_transforms("local-dir:FOLDER")` reads into an existing folder."""
    _write_safetensors(folder / WEIGHTS, clip)
    (folder / CONFIG).write_text(_config_text(clip) + "\n", encoding="utf-8")
    if hasattr(clip.tokenizer, "save_pretrained"):
        clip.tokenizer.save_pretrained(str(folder))


def _write_safetensors(path: Path, clip: Clip) -> None:
    record = json.dumps(lineage(clip))
    header = {**clip.header, HEADER: _config_text(clip), "format": "pt", LINEAGE: record}
    save_file(separate(clip.tensors), path, header)


def _write_state_dict(path: Path, clip: Clip) -> None:
    # given the path, torch would write the temporary name into the file
    with path.open("wb") as file, _system_heard():
        torch.save(separate(clip.tensors), file)


_WRITERS: Mapping[str, Callable[[Path, Clip], None]] = {
    "safetensors": _write_safetensors,
    "pt": _write_state_dict,
}


def _config_text(clip: Clip) -> str:
    return json.dumps(dict(clip.config), indent=2)


def lineage(clip: Clip) -> dict[str, Any]:
    """Return which weights these are, whatever the format and precision, and what they were made from."""
    return {
        "schema": SCHEMA,
        "forgetcheck": __version__,
        "digests": digests(clip.tensors),
        **clip.origin,
    }


def separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give each tensor memory of its own: shared, safetensors refuses it and torch writes all of it."""
    taken: set[int] = set()
    separated = {}
    for name, value in tensors.items():
        value = value.detach().cpu().contiguous()
        memory = value.untyped_storage()
        if memory.nbytes() != value.nbytes or memory.data_ptr() in taken:
            value = value.clone()
        taken.add(value.untyped_storage().data_ptr())
        separated[name] = value
    return separated


@contextmanager
def _system_heard() -> Iterator[None]:
    """Raise what the operating system said: torch reports a full disk as a mistake in its own counting."""
    try:
        yield
    except RuntimeError as problem:
        if isinstance(problem.__context__, OSError):
            raise problem.__context__ from None
        raise
