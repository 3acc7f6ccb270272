"""Work out what the word for a checkpoint names: a file, a folder, a tag; and of which architecture it is."""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

from forgetcheck.clip.formats.lora import ADAPTER
from forgetcheck.clip.formats.rivals import Choice
from forgetcheck.clip.formats.tokenizers import tokenizer_in
from forgetcheck.clip.identity.activation import BY_TAG, BY_US, OF_OPEN_CLIP
from forgetcheck.clip.identity.identify import (
    Bare,
    Unmerged,
    buildable,
    identify,
    refuse_contradiction,
    settled,
)
from forgetcheck.clip.model.adapter_files import find_adapter, read_adapter
from forgetcheck.clip.model.adapters import Adapter
from forgetcheck.clip.model.checkpoint import (
    ARCHITECTURE,
    CONFIG,
    GUESS,
    HEAD,
    HEADER,
    PREPROCESSED,
    RUN_SCHEMA,
    TINY,
    TINY_FOLDER,
    WEIGHTS,
    Checkpoint,
    architecture,
    checked_config,
    read_config,
    read_json,
)
from forgetcheck.clip.model.hub import download
from forgetcheck.clip.model.read import (
    ANY,
    NAMES,
    has_weights,
    only_weights,
    read_metadata,
    read_weights,
    refuse_adapter,
)
from forgetcheck.clip.model.text_tower import Ask, complete
from forgetcheck.documents import reason
from forgetcheck.errors import CheckpointError, unknown_name
from forgetcheck.files import RUN_MANIFEST
from forgetcheck.progress import Progress, silent
from forgetcheck.tasks.base import Task

_FOREIGN_FOLDERS = {
    ".distcp": (
        "a checkpoint of torch.distributed in parts",
        "join it by `python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE`",
    ),
    "_model_states.pt": (
        "a checkpoint of DeepSpeed in parts",
        "join it by the zero_to_fp32.py that lies beside it",
    ),
    "saved_model.pb": (
        "a SavedModel of TensorFlow",
        "load it in transformers with from_tf=True, and save it",
    ),
    ".msgpack": ("weights of Flax", "load it in transformers with from_flax=True, and save it"),
    ".npz": ("weights of MLX or JAX", "save the PyTorch model that they were made from"),
}
LOCAL, HUB = "local-dir:", "hf-hub:"
_TRANSFORMERS = "config.json"


def find_checkpoint(
    text: str,
    model: str | None = None,
    like: Checkpoint | None = None,
    tasks: Sequence[Task] = (),
    weights: str = "",
    allow_download: bool = False,
) -> Checkpoint:
    """Work out what `text` names, and of which architecture it is.

    `text` is `forgetcheck:tiny`, a folder of open_clip, of transformers or of `forgetcheck tune`, a file of
    weights, `local-dir:FOLDER`, `hf-hub:NAME`, or open_clip's `NAME:TAG`. The architecture of bare weights is
    `model` if it is told; else what is recorded with them; else, of all that have their names and shapes,
    that of `like`, the other checkpoint of the pair; else, of two activations, the one that works on the
    images of `tasks`. Of a file with several sets of weights the one under `weights` is meant. What a config
    names of the hub is fetched only with `allow_download`. Raises InputError when nothing or several fit.
    """
    return complete(settled(look(text, model, like, Choice(weights)), tasks), like, Ask.of(allow_download))


def find_checkpoints(
    texts: Sequence[str],
    model: str | None = None,
    tasks: Sequence[Task] = (),
    progress: Progress = silent,
    weights: str = "",
    allow_download: bool = False,
) -> list[Checkpoint]:
    """Work out the checkpoints of one comparison, the base first.

    Bare weights take from the base what they don't say. What the base leaves open, another may tell.
    """
    return together(
        texts, model, partial(settled, tasks=tasks, progress=progress), weights, Ask.of(allow_download)
    )


def look_at(texts: Sequence[str], model: str | None = None, weights: str = "") -> list[Checkpoint]:
    """Work out several checkpoints as far as it shows; each can be built, maybe in several ways.

    Nothing is fetched for it.
    """
    return together(texts, model, buildable, weights, Ask.NONE)


def together(
    texts: Sequence[str],
    model: str | None,
    finish: Callable[[Checkpoint], Checkpoint],
    weights: str,
    ask: Ask,
) -> list[Checkpoint]:
    # a base that holds one set of weights only was trained by others, who named them otherwise
    choices = [Choice(weights, required=place > 0 or len(texts) == 1) for place in range(len(texts))]
    found = [_point(text, model, choice) for text, choice in zip(texts, choices, strict=True)]
    base = complete(finish(_base_among(found, model)), None, ask)
    return [base, *(complete(finish(identify(each, model, base)), base, ask) for each in found[1:])]


def _base_among(found: Sequence[Checkpoint | Bare | Unmerged], model: str | None) -> Checkpoint:
    """Identify the first of several. Another that is certain tells only what it leaves open."""
    first, *rest = found
    base = identify(first, model, None)
    if not isinstance(first, Bare) or first.image_alone or not (base.undecided or is_guess(base)):
        return base
    recorded = [each for each in rest if isinstance(each, Checkpoint)]
    told = [identify(each, model, None) for each in rest if isinstance(each, Bare)]
    sure = [*recorded, *(one for one in told if not one.undecided and not is_guess(one))]
    return identify(first, model, sure[0]) if sure else base


def is_guess(checkpoint: Checkpoint) -> bool:
    """Tell whether the preprocessing is known from nowhere."""
    return checkpoint.inferred.get(PREPROCESSED, "").startswith(GUESS)


def look(
    text: str, model: str | None = None, like: Checkpoint | None = None, choice: Choice = ANY
) -> Checkpoint:
    """Work out what `text` names as far as it shows; what stays open is said in `undecided`."""
    return identify(_point(text, model, choice), model, like)


def _point(text: str, model: str | None, choice: Choice) -> Checkpoint | Bare | Unmerged:
    """Follow a word to what it names."""
    if model is not None:
        architecture(model)  # a name that nothing knows is refused, also where it isn't needed
    if not text:
        raise CheckpointError("a checkpoint's name is empty: is a variable of your script unset?")
    path = Path(text.removeprefix(LOCAL))
    if text == TINY:
        config = read_config(TINY_FOLDER / CONFIG)
        return Checkpoint("tiny", config, TINY_FOLDER / WEIGHTS, inferred={ARCHITECTURE: BY_US})
    if text.startswith(HUB):
        path = download(text.removeprefix(HUB))
    adapter = _unmerged(text, path)
    if adapter is not None:
        return adapter
    if path.is_dir():
        return _folder_checkpoint(path, model, choice)
    if path.exists():
        return _file_checkpoint(path, model, choice)
    if text.startswith("forgetcheck:"):
        raise unknown_name("embedded checkpoint", text, [TINY], "forgetcheck --help")
    if ":" in text and not text.startswith(LOCAL):
        return _tagged_checkpoint(text, model)
    raise CheckpointError(
        f"no checkpoint at '{path}': expected {TINY}, a folder, a file of weights (.safetensors, .pt, .bin), "
        "or open_clip's NAME:TAG such as ViT-B-32:openai."
    )


def _unmerged(text: str, path: Path) -> Unmerged | None:
    """Return the adapter that lies at a path, None for whatever else is there."""
    try:
        adapter = find_adapter(path)
    except OSError:  # such as a name that is too long, which is told when it is followed
        return None
    return Unmerged(adapter, text) if adapter is not None else None


def adapter_named(text: str) -> Adapter | None:
    """Read the adapter that `text` names, for a look at it without its base; None for a whole model."""
    path = download(text.removeprefix(HUB)) if text.startswith(HUB) else Path(text.removeprefix(LOCAL))
    found = _unmerged(text, path)
    return read_adapter(found.path, finite=False) if found is not None else None


def _folder_checkpoint(folder: Path, model: str | None, choice: Choice) -> Checkpoint | Bare:
    """Tell a folder of open_clip, which may be a run folder, from one of transformers."""
    if not (folder / CONFIG).is_file():
        if (folder / _TRANSFORMERS).is_file():
            return bare(folder, choice)
        _refuse_foreign(folder)
        raise CheckpointError(
            f"'{folder}' is no run folder: it has no {CONFIG} (nor a {_TRANSFORMERS} of transformers); "
            "name a folder of `forgetcheck tune`, or a file."
        )
    if not has_weights(folder):
        raise CheckpointError(f"'{folder}' is incomplete: it has no {WEIGHTS}; run `forgetcheck tune` again.")
    refuse_adapter(folder)
    config, head = read_config(folder / CONFIG), folder / HEAD
    refuse_contradiction(f"{folder / CONFIG}", config, model)
    return Checkpoint(
        name=folder.resolve().name,
        config=config,
        weights=only_weights(folder) or folder,
        choice=choice,
        tokenizer=tokenizer_in(folder),
        inferred=_unrecorded(config),
        run=read_run(folder / RUN_MANIFEST) if (folder / RUN_MANIFEST).is_file() else {},
        head=head if head.is_file() else None,
    )


def _unrecorded(config: Mapping[str, Any]) -> dict[str, str]:
    """Say that open_clip's default is used where a config doesn't say how images are prepared."""
    lacking = [key for key in ("mean", "std") if key not in config["preprocess_cfg"]]
    return {PREPROCESSED: f"{OF_OPEN_CLIP}: its config has no {' and '.join(lacking)}"} if lacking else {}


def _refuse_foreign(folder: Path) -> None:
    """Name the format of a folder that is none of ours, and what makes one of it that is read."""
    if (folder / ADAPTER).is_file():
        refuse_adapter(folder)
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as problem:
        raise CheckpointError(f"cannot read the folder '{folder}': {reason(problem)}.") from None
    for ending, (what, way_out) in _FOREIGN_FOLDERS.items():
        if any(name.endswith(ending) for name in names):
            raise CheckpointError(f"'{folder}' holds {what}: {way_out}.")


def read_run(path: Path) -> dict[str, Any]:
    run = read_json(path)
    if run.get("schema") != RUN_SCHEMA:
        raise CheckpointError(
            f"'{path}' has schema {run.get('schema')!r}, this forgetcheck reads {RUN_SCHEMA!r}; tune again."
        )
    if run.get("complete") is not True:
        raise CheckpointError(f"run '{path.parent}' is incomplete; run `forgetcheck tune` again.")
    task = run.get("task")
    source = task.get("source") if isinstance(task, dict) else None
    if not isinstance(source, str) or not source:
        raise CheckpointError(f"'{path}' doesn't say the task it was tuned on (task.source); tune again.")
    return run


def _file_checkpoint(path: Path, model: str | None, choice: Choice) -> Checkpoint | Bare:
    """Read the config in the header of a safetensors file, or see which weights there are."""
    recorded = read_metadata(path).get(HEADER)
    beside = path.parent / CONFIG
    if recorded:
        where = f"the {HEADER} header of '{path}'"
        config = checked_config(where, recorded)
    elif path.name in NAMES and beside.is_file() and not path.name.startswith(("model.", "pytorch_model.")):
        where, config = str(beside), read_config(beside)
    else:
        return bare(path, choice)
    refuse_contradiction(where, config, model)
    own = None if recorded else tokenizer_in(path.parent)
    return Checkpoint(path.stem, config, path, choice=choice, tokenizer=own, inferred=_unrecorded(config))


def bare(path: Path, choice: Choice) -> Bare:
    """Read weights for their names and shapes; that they are finite is asked when they are loaded."""
    read = read_weights(path, finite=False, choice=choice)
    recorded = None if read.config is None else checked_config(f"'{path}'", json.dumps(read.config))
    shapes = {name: tuple(value.shape) for name, value in read.tensors.items()}
    return Bare(path, shapes, recorded, read.quick_gelu, read.assumed, choice)


def _tagged_checkpoint(text: str, model: str | None) -> Checkpoint:
    """Look up open_clip's NAME:TAG with the preprocessing its weights were trained with."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
    from open_clip.transform import merge_preprocess_dict

    name, _, tag = text.partition(":")
    name = name.replace("/", "-")
    config = deepcopy(architecture(name))
    found = get_pretrained_cfg(name, tag)
    if not found:
        raise unknown_name(
            f"tag of {name}", tag, list_pretrained_tags_by_model(name), "open_clip.list_pretrained()"
        )
    config["preprocess_cfg"] = merge_preprocess_dict(config["preprocess_cfg"], found)
    if found.get("quick_gelu"):
        config["model_cfg"]["quick_gelu"] = True
    refuse_contradiction(f"the open_clip tag '{text}'", config, model)
    return Checkpoint(
        text.replace("/", "-"), config, weights=None, tag=(name, tag), inferred={ARCHITECTURE: BY_TAG}
    )
