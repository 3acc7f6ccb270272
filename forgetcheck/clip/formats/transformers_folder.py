"""A folder of transformers' save_pretrained: CLIPModel or SiglipModel, under open_clip's names and config."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from forgetcheck.clip.formats.base import LONGEST_NAME, Raw, Unbuildable, Weights, in_one_line, shown
from forgetcheck.clip.formats.tokenizers import NAME, is_clips_own, named, tokenizer_in
from forgetcheck.clip.formats.transformers_clip import clip_config, clip_tensors
from forgetcheck.clip.formats.transformers_siglip import TOKENIZERS, siglip_config, siglip_tensors
from forgetcheck.documents import parse_json, read_text, reason
from forgetcheck.errors import CheckpointError

CONFIG = "config.json"
_PREPROCESSOR = "preprocessor_config.json"
_TOKENIZER = "tokenizer_config.json"
_CLIP_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast")
_PROCESSOR = "processor_config.json"  # where transformers 5 keeps the other inside
_TRAINER = "trainer_state.json"
_RESCALING = 1 / 255
_MAX_TEXT = 2**22  # bytes of a config
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers
_READABLE = ("bilinear", "bicubic")  # what open_clip resizes with
_ESSENTIAL = (  # of either model
    "text_model.embeddings.token_embedding.weight",
    "vision_model.embeddings.position_embedding.weight",
    "logit_scale",
)
_PARTS = ("text_model.", "vision_model.", "text_projection.", "visual_projection.", "logit_")
_NAMES = {"clip": "CLIP", "siglip": "SigLIP"}
_CONVERSIONS = {"clip": (clip_tensors, clip_config), "siglip": (siglip_tensors, siglip_config)}
_OPENAI = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
Result = TypeVar("Result")
_HALVES = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])


def convert_folder(folder: Path, raw: Raw) -> Weights:
    """Return the weights under open_clip's names, with the config open_clip builds the same model from."""
    config = _read_json(folder / CONFIG)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in _NAMES:
        kind = kind if isinstance(kind, str) else type(kind).__name__
        raise CheckpointError(
            f"'{folder}' holds a '{shown(kind)}' of transformers: of its models, CLIPModel and SiglipModel "
            "are read."
        )
    lacking = [name for name in _ESSENTIAL if name not in raw.tensors]
    if lacking:
        raise CheckpointError(
            f"'{folder}' lacks '{lacking[0]}': of transformers' models, whole CLIPModels and SiglipModels "
            "are read; save that model, not a part of it or a classifier made from it."
        )
    unread = [name for name in raw.tensors if not name.startswith(_PARTS)]
    if unread:
        raise CheckpointError(
            f"'{folder}' has '{shown(unread[0])}', which no {_NAMES[kind]}Model has: save that model alone."
        )
    convert, describe = _CONVERSIONS[kind]
    more: tuple[str, ...] = ()
    try:
        with in_one_line(folder):
            model, notes = lacking_told(partial(describe, config), raw.tensors)
            lacking_told(partial(_refuse_mismatch, model["vision_cfg"], model["text_cfg"]), raw.tensors)
            tensors = lacking_told(convert, raw.tensors)
            _refuse_tokenizer(folder, kind)
            preprocess, assumed = _preprocessing(folder, kind, model["vision_cfg"]["image_size"])
    except Lacking as problem:
        raise CheckpointError(
            f"'{folder}' lacks '{shown(problem.args[0])}', which every {_NAMES[kind]}Model has: save the "
            "whole model."
        ) from None
    except Unbuildable as problem:
        raise CheckpointError(
            f"'{folder}' is not a model that open_clip can build: {shown(str(problem), 2 * LONGEST_NAME)}."
        ) from None
    published = kind == "siglip" and model["text_cfg"]["vocab_size"] in TOKENIZERS
    if tokenizer_in(folder) and not published and (kind != "clip" or not is_clips_own(folder)):
        # the text tower knows this vocabulary, whatever its class or size says
        model["text_cfg"][NAME] = named(folder)
        more = ("Its own tokenizer is used, which is not CLIP's.",) if kind == "clip" else ()
    name = _NAMES[kind]
    return Weights(
        tensors,
        f"transformers {name} folder",
        (*raw.notes, f"Converted from the names of transformers' {name}.", *notes, *more, *assumed),
        doubts=(*notes, *more),
        assumed=" ".join(assumed),
        config={"model_cfg": model, "preprocess_cfg": preprocess},
        counters={**raw.counters, **trained(folder)},
    )


class Lacking(Exception):
    """A tensor that a model of this kind has isn't there; the argument is its name."""


def lacking_told(convert: Callable[[dict[str, Tensor]], Result], tensors: dict[str, Tensor]) -> Result:
    """Convert or describe tensors, and tell which of them isn't there: that is no damage."""
    try:
        return convert(tensors)
    except KeyError as problem:
        raise Lacking(str(problem.args[0])) from None


def trained(folder: Path) -> dict[str, int]:
    """Return how many steps transformers' Trainer says that it made."""
    path = folder / _TRAINER
    steps = _read_json(path).get("global_step") if path.is_file() else None
    return {"global_step": steps} if type(steps) is int and steps >= 0 else {}


def _refuse_tokenizer(folder: Path, kind: str) -> None:
    """Weights of a text tower mean something to one tokenizer only, and open_clip has CLIP's built in."""
    if tokenizer_in(folder):  # which is used as it is
        return
    path = folder / _TOKENIZER
    name = _read_json(path).get("tokenizer_class") if kind == "clip" and path.is_file() else None
    if name is not None and name not in _CLIP_TOKENIZERS:
        raise Unbuildable(f"its tokenizer is {name}, of which only CLIPTokenizer is read")


def _refuse_mismatch(
    vision: Mapping[str, Any], text: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Compare the config with the weights before anything is built from it: it may ask for terabytes."""
    wanted = {"text_model.embeddings.token_embedding.weight": (text["vocab_size"], text["width"])}
    wanted["text_model.embeddings.position_embedding.weight"] = (text["context_length"], text["width"])
    if "patch_size" in vision:
        places = (vision["image_size"] // vision["patch_size"]) ** 2 + 1
        wanted["vision_model.embeddings.position_embedding.weight"] = (places, vision["width"])
    for name, shape in wanted.items():
        if tuple(tensors[name].shape) != shape:
            raise Unbuildable(f"its config makes '{name}' {shape}, its weights {tuple(tensors[name].shape)}")
    for tower, config in (("vision", vision), ("text", text)):
        prefix = f"{tower}_model.encoder.layers."
        layers = {name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)}
        if "layers" in config and len(layers) != config["layers"]:
            raise Unbuildable(f"its config says {config['layers']} {tower} layers, its weights {len(layers)}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return parse_json(read_text(path, _MAX_TEXT))
    except (OSError, ValueError) as problem:
        raise CheckpointError(f"cannot read '{path}': {reason(problem)}; copy the folder again.") from None


def _preprocessing(folder: Path, kind: str, image_size: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the preprocess_cfg of open_clip, and what was assumed."""
    mean, std = _OPENAI if kind == "clip" else _HALVES
    usual = {"mode": "RGB", "fill_color": 0, "interpolation": "bicubic", "size": image_size}
    found = _processor(folder)
    if found is None:
        mode = "shortest" if kind == "clip" else "squash"
        note = f"There is no {_PREPROCESSOR}: the usual preprocessing of such models is assumed."
        return {**usual, "mean": mean, "std": std, "resize_mode": mode}, (note,)
    size, mode = _sizes(found, image_size)
    if size != image_size:
        raise Unbuildable(f"it sees images of {image_size} pixels, but is given {size}")
    told = {
        "size": size,
        "resize_mode": mode,
        "mean": _channels(found.get("image_mean"), mean),
        "std": _channels(found.get("image_std"), std),
        "interpolation": _interpolation(found.get("resample", 3)),
    }
    off = [step for step in ("do_resize", "do_normalize", "do_rescale") if found.get(step) is False]
    if off:
        raise Unbuildable(f"{_PREPROCESSOR} switches {off[0]} off")
    if abs(float(found.get("rescale_factor") or _RESCALING) - _RESCALING) > _RESCALING / 1000:
        raise Unbuildable(f"{_PREPROCESSOR} scales pixels by {found['rescale_factor']}, open_clip by 1/255")
    return {**usual, **told}, ()


def _processor(folder: Path) -> dict[str, Any] | None:
    """Return what the folder says about images, in the order of transformers; None where it says nothing."""
    if (folder / _PROCESSOR).is_file():
        inside = _read_json(folder / _PROCESSOR).get("image_processor")
        if isinstance(inside, dict):
            return inside
    return _read_json(folder / _PREPROCESSOR) if (folder / _PREPROCESSOR).is_file() else None


def _sizes(found: Mapping[str, Any], image_size: int) -> tuple[int, str]:
    """Return the size of what the model sees and how an image is brought to it."""
    size = found.get("size", image_size)
    shortest = size.get("shortest_edge") if isinstance(size, dict) else size
    if shortest is None:
        return square(size), "squash"
    crop = found.get("crop_size", shortest)
    crop = square(crop) if isinstance(crop, dict) else crop
    if crop != shortest or found.get("do_center_crop") is False:
        raise Unbuildable(f"it resizes to {shortest} pixels and crops to {crop}")
    return int(shortest), "shortest"


def square(size: Mapping[str, Any]) -> int:
    if size.get("height") != size.get("width") or not isinstance(size.get("height"), int):
        raise Unbuildable("it sees images that are no squares")
    return int(size["height"])


def _channels(found: Any, usual: list[float]) -> list[float]:
    if found is None:
        return usual
    if not isinstance(found, list) or len(found) != 3:
        raise Unbuildable("its images don't have three channels")
    return [float(value) for value in found]


def _interpolation(resample: Any) -> str:
    name = _RESAMPLING.get(resample, str(resample))
    if name not in _READABLE:
        raise Unbuildable(f"it resizes images by '{name}', open_clip by {' or '.join(_READABLE)}")
    return name
