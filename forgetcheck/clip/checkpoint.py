"""Checkpoint: what the weights are, where they are and how to see through them. A value, not a model."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from forgetcheck.clip.reading import read_metadata
from forgetcheck.documents import parse_json, reason
from forgetcheck.errors import CannotAsk, unknown_name
from forgetcheck.files import RUN_MANIFEST

TINY = "forgetcheck:tiny"
TINY_FOLDER = Path(__file__).parent.parent / "embedded" / "tiny"
WEIGHTS = "open_clip_model.safetensors"  # the name open_clip's own local-dir: loader prefers
CONFIG = "open_clip_config.json"
HEAD = "head.safetensors"
RUN_SCHEMA = "forgetcheck/tune@1"
HEADER = "open_clip_config"  # key of our safetensors header
MAX_LAYERS = 1000  # of a tower; the deepest CLIP has some 60
TOKENIZER_OPTIONS = {"clean", "strip_sep_token", "language"}  # all that open_clip's own configs use, and more


@dataclass(frozen=True)
class Checkpoint:
    """One CLIP on disk or behind an open_clip tag."""

    name: str  # short, for tables
    config: Mapping[str, Any]  # {"model_cfg": ..., "preprocess_cfg": ...}, as open_clip's local-dir: holds it
    weights: Path | None  # a state dict; None when open_clip resolves `tag` itself
    tag: tuple[str, str] | None = None  # open_clip's (name, tag)
    run: Mapping[str, Any] = field(default_factory=dict)  # tune.json, if this is a run folder
    head: Path | None = None  # the fine-tuned head of a run folder


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


def architecture(name: str) -> dict[str, Any]:
    """Return the config of open_clip's architecture `name`, of forgetcheck:tiny, or of a folder."""
    if name == TINY:
        return read_config(TINY_FOLDER / CONFIG)
    if (Path(name) / CONFIG).is_file():
        return read_config(Path(name) / CONFIG)
    import open_clip
    from open_clip.transform import PreprocessCfg

    cleaned = name.replace("/", "-")
    config = open_clip.get_model_config(cleaned) if ":" not in cleaned else None
    if config is None:
        raise unknown_name(
            "model", name, [*open_clip.list_models(), TINY], "https://github.com/mlfoundations/open_clip"
        )
    size = config["vision_cfg"].get("image_size", 224)
    return {"model_cfg": config, "preprocess_cfg": asdict(PreprocessCfg(size=size))}


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


def read_config(path: Path) -> dict[str, Any]:
    return checked_config(f"'{path}'", read_text(path))


def checked_config(where: str, text: str) -> dict[str, Any]:
    """Read a config and refuse what open_clip would trip over, run or fetch."""
    try:
        config = parse_json(text)
    except ValueError as problem:
        raise CannotAsk(f"cannot read {where}: {problem}.") from None
    if "model_cfg" not in config:
        raise CannotAsk(f"{where} has no model_cfg: it is no config of open_clip.")
    config.setdefault("preprocess_cfg", {})
    model = config["model_cfg"]
    parts = {"model_cfg": model, "preprocess_cfg": config["preprocess_cfg"]}
    if isinstance(model, dict):
        parts |= {name: model.get(name) for name in ("vision_cfg", "text_cfg")}
    for name, part in parts.items():
        if not isinstance(part, dict):
            raise CannotAsk(f"{where}: {name} is no table: it is no config of open_clip.")
    refuse_extravagant(where, parts["vision_cfg"], parts["text_cfg"])
    return config


def refuse_extravagant(where: str, vision: Mapping[str, Any], text: Mapping[str, Any]) -> None:
    """A config is as untrusted as weights: it may not fill the memory, run code or call somebody."""
    for tower in (vision, text):
        layers = tower.get("layers", 0)
        if isinstance(layers, int) and layers > MAX_LAYERS:
            raise CannotAsk(f"{where}: {layers} layers are more than the {MAX_LAYERS} that are read.")
    unknown = sorted(set(text.get("tokenizer_kwargs") or {}) - TOKENIZER_OPTIONS)
    if unknown:  # handed on to transformers, where trust_remote_code would execute what it finds
        raise CannotAsk(f"{where}: tokenizer_kwargs may not hold '{unknown[0]}'; remove it.")
    if ":" in str(vision.get("timm_model_name", "")):
        raise CannotAsk(f"{where}: timm_model_name must be a name of timm, not an address; correct it.")


def read_json(path: Path) -> dict[str, Any]:
    try:
        return parse_json(read_text(path))
    except ValueError as problem:
        raise CannotAsk(f"cannot read '{path}': {reason(problem)}.") from None


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as problem:
        raise CannotAsk(f"cannot read '{path}': {reason(problem)}.") from None
