"""What a config makes a model do, defaults filled in, in the words of the field."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from open_clip.model import CLIPTextCfg, CLIPVisionCfg

from forgetcheck.clip.model.checkpoint import TEXT_MODEL

ACTIVATION = "quick_gelu"
PLAIN, QUICK = "GELU", "QuickGELU"
# settings of training, and which of two equal text layouts: no prediction depends on them
_IDLE = (
    "custom_text", "vision_cfg.timm_model_pretrained", "vision_cfg.patch_dropout", "vision_cfg.timm_drop",
    "vision_cfg.timm_drop_path", "text_cfg.hf_model_pretrained",
)  # fmt: skip
_PREPROCESSING: Mapping[str, Any] = {  # open_clip's defaults, where a config is silent
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
_SAID_APART = (ACTIVATION, "vision_cfg.act_kwargs", "text_cfg.act_kwargs", "text_cfg.hf_tokenizer_name")


def effective(config: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a config to what the model does: defaults filled in, settings of training left out."""
    model = told(config["model_cfg"])
    vision = {**asdict(CLIPVisionCfg()), **told(model.get("vision_cfg", {}))}
    text = {**asdict(CLIPTextCfg()), **told(model.get("text_cfg", {}))}
    settings = {
        ACTIVATION: False,
        **{key: value for key, value in model.items() if not isinstance(value, Mapping)},
        **{f"vision_cfg.{key}": value for key, value in vision.items()},
        **{f"text_cfg.{key}": value for key, value in text.items()},
        **{f"text_cfg.{TEXT_MODEL}.{key}": value for key, value in config.get(TEXT_MODEL, {}).items()},
    }
    return {key: plain(value) for key, value in told(settings).items() if key not in _IDLE}


def told(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def preprocessing(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return how an image is prepared: defaults filled in, the size that of the tower, as in open_clip."""
    told = {key: value for key, value in config.get("preprocess_cfg", {}).items() if value is not None}
    size = effective(config)["vision_cfg.image_size"]
    merged: dict[str, Any] = listed({**_PREPROCESSING, **told, "size": size})
    return merged


def activation(config: Mapping[str, Any]) -> str:
    """Name the activation of the blocks; timm towers and hub text towers bring their own."""
    settings = effective(config)
    plain = QUICK if settings[ACTIVATION] else PLAIN
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
    found += _differing(*ways)
    apart = {key: value for key, value in effective(base).items() if key not in _SAID_APART}
    other = {key: value for key, value in effective(tuned).items() if key not in _SAID_APART}
    return tuple(found + _differing(apart, other))


def _differing(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """Compare settings in the order of WORDS, then as they come."""
    keys = [*WORDS, *(key for key in {**here, **there} if key not in WORDS)]
    return [
        f"{WORDS.get(key, key)}: {here.get(key, 'not set')} against {there.get(key, 'not set')}"
        for key in keys
        if here.get(key) != there.get(key)
    ]


def listed(value: Any) -> Any:
    """Turn tuples into lists, as JSON will."""
    if isinstance(value, Mapping):
        return {key: listed(item) for key, item in value.items()}
    return [listed(item) for item in value] if isinstance(value, (tuple, list)) else value
