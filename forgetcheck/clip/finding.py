"""Work out what the word for a checkpoint names: a file, a folder, a tag; and of which architecture it is."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from forgetcheck.clip.checkpoint import (
    CONFIG,
    HEAD,
    HEADER,
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
from forgetcheck.clip.reading import read_metadata
from forgetcheck.errors import CannotAsk, unknown_name
from forgetcheck.files import RUN_MANIFEST


def find_checkpoint(text: str, model: str | None = None, like: Checkpoint | None = None) -> Checkpoint:
    """Work out what `text` names; no weights are read yet.

    `text` is `forgetcheck:tiny`, a run folder (or any folder with open_clip_config.json), a
    `.safetensors` or `.pt` state dict, or open_clip's `name:tag`. A state dict that doesn't say its
    architecture takes it from `model`, else from `like`, the other checkpoint of the pair.
    Raises CannotAsk when nothing fits.
    """
    if model is not None:
        architecture(model)  # a name that nothing knows is refused, also where it isn't needed
    if not text:
        raise CannotAsk("a checkpoint's name is empty: is a variable of your script unset?")
    path = Path(text)
    if text == TINY:
        return Checkpoint("tiny", read_config(TINY_FOLDER / CONFIG), TINY_FOLDER / WEIGHTS)
    if path.is_dir():
        return folder_checkpoint(path)
    if path.exists():
        return Checkpoint(path.stem, file_config(path, model, like), path)
    if text.startswith("forgetcheck:"):
        raise unknown_name("embedded checkpoint", text, [TINY], "forgetcheck --help")
    if ":" in text:
        return tagged_checkpoint(text)
    raise CannotAsk(
        f"no checkpoint at '{text}': expected {TINY}, a run folder, a .safetensors or .pt file, "
        "or open_clip's NAME:TAG such as ViT-B-32:openai."
    )


def folder_checkpoint(folder: Path) -> Checkpoint:
    if not (folder / CONFIG).is_file():
        raise CannotAsk(
            f"'{folder}' is no run folder: it has no {CONFIG}; name a folder of `forgetcheck tune`."
        )
    if not (folder / WEIGHTS).is_file():
        raise CannotAsk(f"'{folder}' is incomplete: it has no {WEIGHTS}; run `forgetcheck tune` again.")
    head = folder / HEAD
    return Checkpoint(
        name=folder.resolve().name,
        config=read_config(folder / CONFIG),
        weights=folder / WEIGHTS,
        run=read_run(folder / RUN_MANIFEST) if (folder / RUN_MANIFEST).is_file() else {},
        head=head if head.is_file() else None,
    )


def read_run(path: Path) -> dict[str, Any]:
    run = read_json(path)
    if run.get("schema") != RUN_SCHEMA:
        raise CannotAsk(
            f"'{path}' has schema {run.get('schema')!r}, this forgetcheck reads {RUN_SCHEMA!r}; tune again."
        )
    if run.get("complete") is not True:
        raise CannotAsk(f"run '{path.parent}' is incomplete; run `forgetcheck tune` again.")
    task = run.get("task")
    source = task.get("source") if isinstance(task, dict) else None
    if not isinstance(source, str) or not source:
        raise CannotAsk(f"'{path}' doesn't say the task it was tuned on (task.source); tune again.")
    return run


def file_config(path: Path, model: str | None, like: Checkpoint | None) -> Mapping[str, Any]:
    """Decide the architecture of a bare state dict: told, else recorded, else as the other of the pair."""
    if model:
        return architecture(model)
    recorded = read_metadata(path).get(HEADER)
    if recorded:
        return checked_config(f"the {HEADER} header of '{path}'", recorded)
    if like:
        return like.config
    raise CannotAsk(
        f"'{path}' doesn't say which architecture it is: pass --model NAME, such as --model ViT-B-32."
    )


def tagged_checkpoint(text: str) -> Checkpoint:
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
    return Checkpoint(text.replace("/", "-"), config, weights=None, tag=(name, tag))
