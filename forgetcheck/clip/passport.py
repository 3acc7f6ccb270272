"""The passport of a checkpoint: what it is, how that is known, and what its tensors hold."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from forgetcheck.clip.deciding import ACTIVATION, effective
from forgetcheck.clip.towers import digest, tower

CHUNK = 1 << 22  # entries looked at together: bounds the memory for any tensor
NAMED = 3  # offending tensors told per tower
TOWERS = ("visual", "text")
BUFFERS = ("running_mean", "running_var")  # measured statistics beside the parameters
PREPROCESSING: Mapping[str, Any] = {  # open_clip's defaults, where a config is silent
    "mode": "RGB",
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}
WORDS = {
    "mode": "colour mode", "resize_mode": "resize mode",
    "fill_color": "fill colour",
    "vision_cfg.image_size": "image size", "text_cfg.context_length": "context length",
    "text_cfg.vocab_size": "vocabulary", "text_cfg.tokenizer_mode": "tokenizer mode",
    "text_cfg.tokenizer_kwargs": "tokenizer options",
}  # fmt: skip
SAID_APART = (ACTIVATION, "vision_cfg.act_kwargs", "text_cfg.act_kwargs", "text_cfg.hf_tokenizer_name")


@dataclass(frozen=True)
class Census:
    """What kinds of numbers a tower holds."""

    parameters: int  # weights, without running statistics and integers
    precisions: Mapping[str, int]  # parameters by stored type, such as float16
    nan: int
    infinite: int
    denormal: int  # too small for full precision in the stored type
    zeros: int
    not_finite: tuple[str, ...]  # the first tensors with NaN or Inf
    denormal_in: tuple[str, ...]  # the first tensors with denormals; common and harmless in float16

    @property
    def finite(self) -> bool:
        return self.nan == 0 and self.infinite == 0


@dataclass(frozen=True)
class Passport:
    """Everything about a checkpoint that decides what its predictions are."""

    name: str
    family: str  # how it was read, such as "open_clip state dict"
    architectures: tuple[str, ...]  # one, or several with the same shapes
    inferred: Mapping[str, str]  # what was not told -> what it was concluded from
    activation: str
    image_size: Any  # one number, or height and width
    preprocessing: Mapping[str, Any]  # mean, std, interpolation, resize mode, ...
    tokenizer: str
    context_length: Any
    digests: Mapping[str, str]  # tower -> SHA-256, independent of the stored precision
    census: Mapping[str, Census]  # by tower
    notes: tuple[str, ...]  # what the reading stripped, renamed or left out

    def as_record(self) -> dict[str, Any]:
        """Return what audit.json stores: strings, numbers, lists and tables only."""
        return {key: listed(value) for key, value in asdict(self).items()}


def issue(
    name: str,
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    architectures: Sequence[str] = (),
    inferred: Mapping[str, str] | None = None,
    family: str = "",
    notes: Sequence[str] = (),
) -> Passport:
    """Write the passport of weights under their model's own names and of the config they go with.

    The digests are those of the encoder that these weights are loaded into.
    """
    settings = effective(config)
    parts = {part: tower(weights, visual=part == "visual") for part in TOWERS}
    return Passport(
        name=name,
        family=family,
        architectures=tuple(architectures),
        inferred=dict(inferred or {}),
        activation=activation(config),
        image_size=settings["vision_cfg.image_size"],
        preprocessing=preprocessing(config),
        tokenizer=tokenizer(config),
        context_length=settings["text_cfg.context_length"],
        digests={part: digest(tensors) for part, tensors in parts.items()},
        census={part: take_census(tensors) for part, tensors in parts.items()},
        notes=tuple(notes),
    )


def listed(value: Any) -> Any:
    """Turn tuples into lists, as JSON will."""
    if isinstance(value, Mapping):
        return {key: listed(item) for key, item in value.items()}
    return [listed(item) for item in value] if isinstance(value, (tuple, list)) else value


def take_census(weights: Mapping[str, Tensor]) -> Census:
    """Count what is odd in a tower, in one pass, a bounded piece at a time."""
    totals, precisions = Counter[str](), Counter[str]()
    not_finite, denormal_in = [], []
    for name, value in weights.items():
        if not value.is_floating_point():
            continue
        found = kinds(value)
        totals.update(found)
        if found["nan"] or found["infinite"]:
            not_finite.append(name)
        if found["denormal"]:
            denormal_in.append(name)
        if not name.endswith(BUFFERS):
            precisions[str(value.dtype).removeprefix("torch.")] += value.numel()
    return Census(
        parameters=precisions.total(),
        precisions=dict(precisions),
        nan=totals["nan"],
        infinite=totals["infinite"],
        denormal=totals["denormal"],
        zeros=totals["zeros"],
        not_finite=tuple(not_finite[:NAMED]),
        denormal_in=tuple(denormal_in[:NAMED]),
    )


def kinds(value: Tensor) -> Counter[str]:
    smallest = torch.finfo(value.dtype).smallest_normal
    found = Counter[str]()
    for piece in value.detach().reshape(-1).split(CHUNK):
        size = piece.abs()
        zeros = int((size == 0).sum())
        found["zeros"] += zeros
        found["nan"] += int(size.isnan().sum())
        found["infinite"] += int(size.isinf().sum())
        found["denormal"] += int((size < smallest).sum()) - zeros
    return found


def preprocessing(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return how an image is prepared: defaults filled in, the size that of the tower, as in open_clip."""
    told = {key: value for key, value in config.get("preprocess_cfg", {}).items() if value is not None}
    size = effective(config)["vision_cfg.image_size"]
    merged: dict[str, Any] = listed({**PREPROCESSING, **told, "size": size})
    return merged


def activation(config: Mapping[str, Any]) -> str:
    """Name the activation of the blocks; timm towers and hub text towers bring their own."""
    settings = effective(config)
    plain = "QuickGELU" if settings[ACTIVATION] else "GELU"
    vision, text = (
        f"{plain}{variant(settings.get(f'{part}_cfg.act_kwargs'))}" for part in ("vision", "text")
    )
    if "vision_cfg.timm_model_name" in settings:
        vision = f"that of timm's {settings['vision_cfg.timm_model_name']}"
    if "text_cfg.hf_model_name" in settings:
        text = f"that of {settings['text_cfg.hf_model_name']}"
    return text if vision == text else f"image tower: {vision}, text tower: {text}"


def variant(options: Any) -> str:
    if not isinstance(options, Mapping) or not options:
        return ""
    return f" ({', '.join(f'{key} {value}' for key, value in options.items())})"


def tokenizer(config: Mapping[str, Any]) -> str:
    settings = effective(config)
    vocabulary = settings["text_cfg.vocab_size"]
    return str(settings.get("text_cfg.hf_tokenizer_name") or f"CLIP's byte pairs ({vocabulary})")


def differences(base: Mapping[str, Any], tuned: Mapping[str, Any]) -> tuple[str, ...]:
    """Say in words what differs between two configs apart from the weights: settings, most telling first.

    Defaults are filled in, so that a setting left out and the same setting spelled out don't differ.
    """
    found = [
        f"{words}: {here} against {there}"
        for words, here, there in (
            ("activation", activation(base), activation(tuned)),
            ("tokenizer", tokenizer(base), tokenizer(tuned)),
        )
        if here != there
    ]
    ways = [{k: v for k, v in preprocessing(config).items() if k != "size"} for config in (base, tuned)]
    found += differing(*ways)
    apart = {key: value for key, value in effective(base).items() if key not in SAID_APART}
    other = {key: value for key, value in effective(tuned).items() if key not in SAID_APART}
    return tuple(found + differing(apart, other))


def differing(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """Compare settings in the order of WORDS, then as they come."""
    keys = [*WORDS, *(key for key in {**here, **there} if key not in WORDS)]
    return [
        f"{WORDS.get(key, key)}: {here.get(key, 'not set')} against {there.get(key, 'not set')}"
        for key in keys
        if here.get(key) != there.get(key)
    ]
