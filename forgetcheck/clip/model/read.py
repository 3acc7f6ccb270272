"""Read the weights of a checkpoint, whatever saved them, without executing anything in it."""

import stat
from collections.abc import Iterable, Sequence
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
from forgetcheck.clip.formats.lora import ADAPTER, MERGE, read_settings, with_saved_copies
from forgetcheck.clip.formats.naming import (
    TOWER,
    drop_constants,
    is_adapter,
    is_constant,
    settle_names,
    strip_prefixes,
    take_apart,
)
from forgetcheck.clip.formats.openai import NOTE, OPENAI_ARCHIVE, openai_config
from forgetcheck.clip.formats.parts import refuse_missing, refuse_part
from forgetcheck.clip.formats.pickled_weights import read_pickled
from forgetcheck.clip.formats.reparametrised import whole_weights
from forgetcheck.clip.formats.rivals import TOP, Choice, choose, no_such, same_weights
from forgetcheck.clip.formats.safetensors_files import (
    INDEXES,
    is_safetensors,
    read_header,
    read_index,
    read_names,
    read_safetensors,
)
from forgetcheck.clip.formats.transformers_folder import CONFIG as TRANSFORMERS_CONFIG
from forgetcheck.clip.formats.transformers_folder import Lacking, convert_folder, lacking_told
from forgetcheck.clip.model.adapters import merge_within
from forgetcheck.errors import CheckpointError, InputError

__all__ = ["FLOATS", "Weights", "has_weights", "read_metadata", "read_weights"]
FILES = (  # of a folder, in the order of open_clip
    "open_clip_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
)
NAMES = (*FILES, *INDEXES)
_TRANSFORMERS = ("vision_model.", "text_model.")
ANY = Choice()
_FOREIGN = {
    b"GGUF": "a GGUF file of llama.cpp",
    b"\x89HDF": "an HDF5 file, as Keras writes them",
    b"\x93NUMPY": "an array of numpy",
}
_BASE_LAYER = ".base_layer."
_GIT_LFS = b"version https://git-lfs"


def read_weights(path: Path, finite: bool = True, choice: Choice = ANY) -> Weights:
    """Return what the checkpoint at `path`, a file or a folder, holds under open_clip's names.

    The format is told from the content, not the suffix. Where there are several sets of weights that
    differ, `choice` says which is meant. Raises InputError for a missing, empty, truncated or foreign file,
    for code in it, for a choice that is open, and, unless `finite` is off, for NaN or Inf.
    """
    if _is_folder(path):
        return _read_folder(path, finite, choice)
    raw = _read_file(path, finite, choice)
    weights = converted(path, path.parent, raw)
    return with_openai_config(path, weights) if raw.family == OPENAI_ARCHIVE else weights


def converted(path: Path, folder: Path, raw: Raw) -> Weights:
    """Bring weights to open_clip's names; those of transformers need the config in their folder."""
    if not _of_transformers(strip_prefixes(raw.tensors)[0]):
        return _settled(path, raw)
    if not (folder / TRANSFORMERS_CONFIG).exists():
        raise CheckpointError(
            f"'{path}' has the names of transformers: name the folder of save_pretrained, which says how "
            "the towers are built."
        )
    return convert_folder(folder, replace(raw, tensors=strip_prefixes(raw.tensors)[0]))


def read_metadata(path: Path) -> dict[str, str]:
    """Return the text header of a safetensors file, empty for any other file."""
    refuse_irregular(path)
    return read_header(path) if is_safetensors(path) else {}


def names_in(path: Path) -> list[str]:
    """Return the names of the tensors of a safetensors file, none for any other file or a folder."""
    return read_names(path) if path.is_file() and is_safetensors(path) else []


def has_weights(folder: Path) -> bool:
    """Tell whether a folder has one of the files that are read."""
    return any((folder / name).exists() for name in (*FILES, *INDEXES))


def only_weights(folder: Path) -> Path | None:
    """Return the file of weights of a folder, None where it has several, or none."""
    found = [folder / name for name in NAMES if (folder / name).exists()]
    return found[0] if len(found) == 1 else None


def _is_folder(path: Path) -> bool:
    """Tell a folder from a file. Raises InputError for what is neither."""
    try:
        folder = path.is_dir()
    except OSError as problem:  # such as a name that is too long
        raise _unreachable(path, problem) from None
    if not folder:
        refuse_irregular(path)
    return folder


def _unreachable(path: Path, problem: Exception) -> InputError:
    reason = getattr(problem, "strerror", None) or problem
    return InputError(f"no checkpoint at '{path}' ({reason}): check the path.")


def _read_folder(folder: Path, finite: bool, choice: Choice) -> Weights:
    """Read the file of weights that a folder has. Of several, all must hold the same."""
    refuse_adapter(folder)
    names = [name for name in (*FILES, *INDEXES) if (folder / name).exists()]
    if not names:
        raise CheckpointError(
            f"no weights in the folder '{folder}': expected one of {', '.join((*FILES, *INDEXES))}."
        )
    first, *others = names
    weights = converted(folder, folder, _read_file(folder / first, finite, choice))
    for name in others:
        if not same_weights(weights.tensors, _other_weights(folder, name, first, choice)):
            raise CheckpointError(
                f"'{folder}' holds different weights in {first} and {name}: name the file that is meant, as "
                f"'{folder / name}'."
            )
        weights = replace(weights, notes=(*weights.notes, f"The same weights are in {name}."))
    return weights


def _other_weights(folder: Path, name: str, first: str, choice: Choice) -> dict[str, Tensor]:
    try:
        return converted(folder, folder, _read_file(folder / name, False, choice)).tensors
    except InputError as problem:
        raise CheckpointError(
            f"'{folder}' holds weights in {first} and in {name}, which can't be compared "
            f"({str(problem).rstrip('.')}): name the file that is meant, as '{folder / first}'."
        ) from None


def refuse_adapter(folder: Path) -> None:
    """Whole weights beside an adapter are not the tuned model: transformers applies it on loading."""
    if not (folder / ADAPTER).exists():
        return
    names = [name for name in NAMES if (folder / name).exists()]
    way_out = f" ('{folder / names[0]}' names them)" if names else ""
    raise CheckpointError(
        f"'{folder}' holds an adapter ({ADAPTER}): {MERGE}, or move the adapter's files away if the weights "
        f"beside it are complete without it{way_out}."
    )


def _of_transformers(names: Iterable[str]) -> bool:
    return any(name.startswith(_TRANSFORMERS) for name in names)


def _read_file(path: Path, finite: bool, choice: Choice) -> Raw:
    """Read one file, told by its content."""
    refuse_irregular(path)
    with path.open("rb") as file:
        start = file.read(len(_GIT_LFS))
    _refuse_foreign_file(path, start)
    if start == _GIT_LFS:
        raise CheckpointError(
            f"'{path}' is a pointer of Git LFS and not the file itself: run `git lfs pull`."
        )
    if start[:1] == b"{" and not is_safetensors(path):
        raw = _read_parts(path, finite, choice)
    else:
        raw = read_one(path, choice)
        refuse_part(path, raw.tensors)
        refuse_unfit(path, raw.tensors, path.stat().st_size)
        if finite:
            refuse_not_finite(path, raw.tensors)
    return _one_model(path, _put_together(path, raw), choice)


def _put_together(path: Path, raw: Raw) -> Raw:
    """Make plain weights of what training code keeps in parts: trained copies, adapters, norms."""
    tensors, saved = with_saved_copies(path, raw.tensors)
    tensors, merged = _without_adapters(path, tensors)
    tensors, computed = whole_weights(path, tensors)
    return replace(raw, tensors=tensors, notes=(*raw.notes, *filter(None, (saved, merged, computed))))


def _without_adapters(path: Path, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Merge what LoRA adds into the weights beside it, if a config beside the file says how much it is."""
    adapters = [name for name in tensors if is_adapter(name)]
    if not adapters:
        return tensors, ""
    config = path.parent / ADAPTER
    wrapped = [name for name in tensors if _BASE_LAYER in name]
    if not wrapped or not config.is_file():
        beside = (
            "" if not wrapped else f", or save its {ADAPTER}, which says how much of it is added, beside it"
        )
        raise CheckpointError(f"'{path}' holds an adapter ('{shown(adapters[0])}'): {MERGE}{beside}.")
    settings = read_settings(config)
    whole = merge_within(path, tensors, settings)
    return whole, f"Merged {settings.describe()} into the weights it lies beside, as its {ADAPTER} says."


def _one_model(path: Path, raw: Raw, choice: Choice) -> Raw:
    """Take the CLIP out of a model that it is a part of, whatever its names begin with there."""
    parts = take_apart(raw.tensors)
    found = {prefix.rstrip(".") or TOP: parts.models[prefix] for prefix in sorted(parts.models, key=bool)}
    told = choice.name in raw.keys  # a key that leads to the weights
    if set(parts.models) <= {""} or (
        len(parts.models) == 1 and _has_tower(settle_names(raw.tensors).tensors)
    ):
        if choice.name and choice.required and raw.keys and not told and choice.name not in found:
            raise no_such(path, choice, raw.keys)
        return raw
    if choice.name and not told and choice.name not in found and (choice.required or len(found) > 1):
        raise no_such(path, choice, [*raw.keys, *found])
    wanted, equal = choose(path, found, choice if choice.name in found else ANY, strict=True)
    notes = [f"Read the weights whose names begin with '{shown(wanted)}.'."] if wanted != TOP else []
    others = [name for name in found if name != wanted] if not equal else []
    left = [*parts.others, *(f"{name}.*" for name in others)]
    doubt = f"Left out what is no part of them: {some(left)}." if left else ""
    return replace(
        raw,
        tensors={**found[wanted], **parts.heads},
        notes=(*raw.notes, *notes, *filter(None, [equal])),
        doubts=(*raw.doubts, *filter(None, [doubt])),
    )


def _has_tower(names: Iterable[str]) -> bool:
    return any(TOWER.match(name) for name in names)


def some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most:,} more" if names[most:] else ""
    return f"{', '.join(map(shown, names[:most]))}{more}"


def _refuse_foreign_file(path: Path, start: bytes) -> None:
    """Name a format that holds weights and isn't read, with what makes one of it that is."""
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            raise CheckpointError(f"'{path}' is {what}: save the PyTorch model that it was made from.")
    if path.suffix.lower() == ".onnx":
        raise CheckpointError(f"'{path}' is an ONNX graph: save the PyTorch model that it was made from.")


def read_one(path: Path, choice: Choice) -> Raw:
    """Read one file without what is no weight: an attention mask is infinite by right."""
    raw = Raw(read_safetensors(path), "safetensors") if is_safetensors(path) else read_pickled(path, choice)
    tensors, note = drop_constants(raw.tensors)
    if not tensors:
        raise CheckpointError(f"'{path}' is a {raw.family} without any weights in it: check what was saved.")
    return replace(raw, tensors=tensors, notes=(*raw.notes, note) if note else raw.notes)


def _read_parts(index: Path, finite: bool, choice: Choice) -> Raw:
    """Read the parts that an index lists; each must hold what the index says."""
    tensors: dict[str, Tensor] = {}
    parts = read_index(index)
    refuse_missing(index, list(parts))
    for part, names in parts.items():
        refuse_irregular(part)
        found = read_one(part, choice).tensors
        missing = [name for name in names if name not in found and not is_constant(name)]
        if missing:
            raise CheckpointError(
                f"'{part}' lacks '{shown(missing[0])}', which '{index.name}' lists: copy it again."
            )
        wanted = {name: found[name] for name in names if name in found}
        refuse_unfit(part, wanted, part.stat().st_size)
        if finite:
            refuse_not_finite(part, wanted)
        tensors.update(wanted)
    return Raw(tensors, "sharded safetensors" if "safetensors" in index.name else "sharded state dict")


def _settled(path: Path, raw: Raw) -> Weights:
    named = settle_names(raw.tensors)
    twice = [name for name in named.tensors if f"text.{name}" in named.tensors]
    if twice:
        raise CheckpointError(
            f"'{path}' has its text tower twice ('{shown(twice[0])}' and 'text.{shown(twice[0])}'): "
            "save the weights of one model."
        )
    if raw.head_raw and named.head is not None:
        note = "Left out its head: it expects embeddings that are not normalised, as no probe has them."
        named = replace(named, head=None, head_bias=None, notes=(*named.notes, note))
    return Weights(
        named.tensors,
        raw.family,
        (*raw.notes, *named.notes),
        head=named.head,
        head_bias=named.head_bias,
        quick_gelu=raw.quick_gelu,
        doubts=raw.doubts,
        counters=raw.counters,
    )


def with_openai_config(path: Path, weights: Weights) -> Weights:
    try:
        with in_one_line(path):
            config = lacking_told(openai_config, weights.tensors)
    except Lacking as problem:
        raise CheckpointError(
            f"'{path}' is no readable archive of OpenAI's: it has their settings and lacks "
            f"'{shown(problem.args[0])}', which every CLIP of theirs has; save the whole model."
        ) from None
    return replace(weights, config=config, notes=(*weights.notes, NOTE))


def refuse_irregular(path: Path) -> None:
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            path.open("rb").close()
    except (OSError, ValueError) as problem:
        raise _unreachable(path, problem) from None
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(
            f"'{path}' is not a file: expected weights (.safetensors, .pt) or a run folder."
        )
    if status.st_size == 0:
        raise CheckpointError(f"'{path}' is empty (0 bytes): copy or save the checkpoint again.")
