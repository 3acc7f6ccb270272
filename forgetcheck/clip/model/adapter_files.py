"""Adapter files: where an adapter lies in a folder of PEFT's save_pretrained, and what is in it."""

from pathlib import Path

from torch import Tensor

from forgetcheck.clip.formats.base import refuse_not_finite, refuse_unfit, shown
from forgetcheck.clip.formats.lora import ADAPTER, read_settings, with_saved_copies
from forgetcheck.clip.formats.rivals import same_weights
from forgetcheck.clip.formats.transformers_folder import trained
from forgetcheck.clip.model.adapters import Adapter
from forgetcheck.clip.model.read import ANY, has_weights, read_one, refuse_irregular
from forgetcheck.errors import CheckpointError

FILES = ("adapter_model.safetensors", "adapter_model.bin")  # in the order of PEFT


def find_adapter(path: Path) -> Path | None:
    """Return the adapter that a path names, None where it names none.

    It is a folder of PEFT, a file of weights in one, or a folder that holds nothing but such a folder.
    """
    if path.is_file():
        return path if path.name in FILES and (path.parent / ADAPTER).is_file() else None
    if not path.is_dir() or has_weights(path):
        return None
    if (path / ADAPTER).is_file():
        return path
    inside = _adapters_in(path)
    if any((path / name).exists() for name in ("config.json", "open_clip_config.json")) or not inside:
        return None
    if len(inside) > 1:
        raise CheckpointError(
            f"'{path}' holds several adapters ({_listed(inside)}): name one, as '{inside[0]}'."
        )
    return inside[0]


def _adapters_in(folder: Path) -> list[Path]:
    """Return the adapters in the folders right inside of a folder."""
    try:
        return sorted(each.parent for each in folder.glob(f"*/{ADAPTER}") if each.is_file())
    except OSError:  # which is told when it is read
        return []


def _listed(folders: list[Path]) -> str:
    more = f" and {len(folders) - 3} more" if folders[3:] else ""
    return ", ".join(shown(each.name) for each in folders[:3]) + more


def read_adapter(path: Path, finite: bool = True) -> Adapter:
    """Read an adapter that `find_adapter` found. Raises InputError for what is none of LoRA."""
    folder = path if path.is_dir() else path.parent
    settings = read_settings(folder / ADAPTER)
    there = [folder / name for name in FILES if (folder / name).exists()] if path.is_dir() else [path]
    if not there:
        raise CheckpointError(f"'{folder}' has an {ADAPTER} and none of {', '.join(FILES)}: copy it again.")
    tensors, notes = _read_tensors(there[0], finite)
    for other in there[1:]:
        if not same_weights(tensors, _read_tensors(other, False)[0]):
            raise CheckpointError(
                f"'{folder}' holds different adapters in {there[0].name} and {other.name}: name the file "
                f"that is meant, as '{there[0]}'."
            )
    others = _adapters_in(folder) if path.is_dir() else []
    if others:
        notes = (*notes, f"Left out other adapters in its folder: {_listed(others)}.")
    return Adapter(there[0], settings, tensors, notes, trained(folder))


def _read_tensors(path: Path, finite: bool) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    refuse_irregular(path)
    raw = read_one(path, ANY)
    refuse_unfit(path, raw.tensors, path.stat().st_size)
    if finite:
        refuse_not_finite(path, raw.tensors)
    tensors, note = with_saved_copies(path, raw.tensors)
    return tensors, (*raw.notes, *filter(None, [note]))
