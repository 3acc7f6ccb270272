"""Checkpoint: what the weights are, where they are and how to see through them. A value, not a model."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from forgetcheck.clip.formats.rivals import Choice
from forgetcheck.documents import parse_json, reason
from forgetcheck.documents import read_text as read_bounded
from forgetcheck.errors import CheckpointError, unknown_name

TINY = "forgetcheck:tiny"
TINY_FOLDER = Path(__file__).parents[2] / "embedded" / "tiny"
WEIGHTS = "open_clip_model.safetensors"  # the name open_clip's own local-dir: loader prefers
CONFIG = "open_clip_config.json"
HEAD = "head.safetensors"
IMAGES = "images.safetensors"  # which images a run folder has seen
RUN_SCHEMA = "forgetcheck/tune@1"
HEADER = "open_clip_config"  # key of our safetensors header
ARCHITECTURE, PREPROCESSED = "architecture", "preprocessing"  # keys of what was inferred
GUESS = "a guess"
TEXT_MODEL = "text_model"  # key of a config: that of a text tower which transformers builds
_LARGEST_CONFIG = 2**24  # bytes; configs have some thousand, records of runs some hundred thousand
MAX_LAYERS = 1000  # of a tower; the deepest CLIP has some 60
MAX_TOKENS = 2**12  # of a text; the longest that a CLIP reads are of 512
_MAX_SIDE = 2**11  # pixels of an image as a tower sees it; the largest are of 1024
_MAX_PATCHES = 2**14  # of an image
_TOKENIZER_OPTIONS = {
    "clean",
    "strip_sep_token",
    "language",
}  # all that open_clip's own configs use, and more


@dataclass(frozen=True)
class Checkpoint:
    """One CLIP on disk or behind an open_clip tag."""

    name: str  # short, for tables
    config: Mapping[str, Any]  # {"model_cfg": ..., "preprocess_cfg": ...}, as open_clip's local-dir: holds it
    weights: Path | None  # a state dict; None when open_clip resolves `tag` itself
    tag: tuple[str, str] | None = None  # open_clip's (name, tag)
    run: Mapping[str, Any] = field(default_factory=dict)  # tune.json, if this is a run folder
    head: Path | None = None  # the fine-tuned head of a run folder
    inferred: Mapping[str, str] = field(default_factory=dict)  # what was not told -> what it follows from
    candidates: tuple[str, ...] = ()  # architectures that fit equally, while it is open which one it is
    undecided: str = ""  # why it is open; empty once it is settled
    choice: Choice = field(default_factory=Choice)  # of several sets of weights in one file
    tokenizer: Path | None = (
        None  # the folder of its own one; None: open_clip's, or one that the config names
    )
    text_from: "Checkpoint | None" = None  # whose text tower completes an image tower saved alone
    adapts: "Checkpoint | None" = None  # the base that `weights`, an adapter, is merged into


def architecture(name: str) -> dict[str, Any]:
    """Return the config of open_clip's architecture `name`, of forgetcheck:tiny, or of a folder."""
    if name == TINY:
        return read_config(TINY_FOLDER / CONFIG)
    import open_clip
    from open_clip.transform import PreprocessCfg

    cleaned = name.replace("/", "-")
    # open_clip's names come first: a folder that happens to be called like one is no answer to "ViT-B-32"
    if cleaned not in open_clip.list_models() and (Path(name) / CONFIG).is_file():
        return read_config(Path(name) / CONFIG)
    config = open_clip.get_model_config(cleaned) if ":" not in cleaned else None
    if config is None:
        raise unknown_name(
            "model", name, [*open_clip.list_models(), TINY], "https://github.com/mlfoundations/open_clip"
        )
    size = config["vision_cfg"].get("image_size", 224)
    return {"model_cfg": config, "preprocess_cfg": asdict(PreprocessCfg(size=size))}


def read_config(path: Path) -> dict[str, Any]:
    return checked_config(f"'{path}'", read_text(path))


def checked_config(where: str, text: str) -> dict[str, Any]:
    """Read a config and refuse what open_clip would trip over, run or fetch."""
    try:
        config = parse_json(text)
    except ValueError as problem:
        raise CheckpointError(f"cannot read {where}: {problem}.") from None
    if "model_cfg" not in config:
        raise CheckpointError(f"{where} has no model_cfg: it is no config of open_clip.")
    config.setdefault("preprocess_cfg", {})
    model = config["model_cfg"]
    parts = {"model_cfg": model, "preprocess_cfg": config["preprocess_cfg"]}
    if isinstance(model, dict):
        parts |= {name: model.get(name) for name in ("vision_cfg", "text_cfg")}
    for name, part in parts.items():
        if not isinstance(part, dict):
            raise CheckpointError(f"{where}: {name} is no table: it is no config of open_clip.")
    decoder = model.get("multimodal_cfg")
    _refuse_extravagant(
        where, parts["vision_cfg"], parts["text_cfg"], decoder if isinstance(decoder, dict) else {}
    )
    return config


def _refuse_extravagant(
    where: str, vision: Mapping[str, Any], text: Mapping[str, Any], decoder: Mapping[str, Any]
) -> None:
    """A config is as untrusted as weights: it may not fill the memory, run code or call somebody."""
    for tower in (vision, text, decoder):
        layers = tower.get("layers", 0)
        for count in layers if isinstance(layers, list) else [layers]:
            refuse_more(where, "layers", count, MAX_LAYERS)
        refuse_more(where, "tokens (context_length)", tower.get("context_length"), MAX_TOKENS)
    _refuse_many_pixels(where, vision)
    options = text.get("tokenizer_kwargs") or {}
    if not isinstance(options, dict):
        raise CheckpointError(f"{where}: tokenizer_kwargs is no table: it is no config of open_clip.")
    unknown = sorted(set(options) - _TOKENIZER_OPTIONS)
    if unknown:  # handed on to transformers, where trust_remote_code would execute what it finds
        raise CheckpointError(f"{where}: tokenizer_kwargs may not hold '{unknown[0]}'; remove it.")
    for key, name in {**vision, **text}.items():
        if key.endswith("_name") and not isinstance(name, (str, type(None))):
            raise CheckpointError(f"{where}: {key} is no name; correct it.")
    if ":" in str(vision.get("timm_model_name", "")):
        raise CheckpointError(f"{where}: timm_model_name must be a name of timm, not an address; correct it.")


def _refuse_many_pixels(where: str, vision: Mapping[str, Any]) -> None:
    sides, patches = (
        value if isinstance(value, list) else [value, value]
        for value in (vision.get("image_size", 224), vision.get("patch_size", 16))
    )
    for side in sides:
        refuse_more(where, "pixels (image_size)", side, _MAX_SIDE)
    if all(isinstance(size, int) and size > 0 for size in (*sides, *patches)) and vision.get("patch_size"):
        count = math.prod(side // patch for side, patch in zip(sides, patches, strict=False))
        refuse_more(where, "patches of an image", count, _MAX_PATCHES)


def refuse_more(where: str, what: str, count: Any, most: int) -> None:
    if isinstance(count, (int, float)) and count > most:
        raise CheckpointError(f"{where}: {count} {what} are more than the {most} that are read; correct it.")


def read_json(path: Path) -> dict[str, Any]:
    try:
        return parse_json(read_text(path))
    except ValueError as problem:
        raise CheckpointError(f"cannot read '{path}': {reason(problem)}.") from None


def read_text(path: Path) -> str:
    try:
        return read_bounded(path, _LARGEST_CONFIG)
    except (OSError, ValueError) as problem:
        raise CheckpointError(f"cannot read '{path}': {reason(problem)}.") from None
