"""What decides an embedding, and so names its entry in the feature cache: anything else may differ."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from forgetcheck.clip.model.encoder import Encoder, text_part
from forgetcheck.clip.model.heads import prompts_of
from forgetcheck.clip.model.settings import effective, listed, preprocessing
from forgetcheck.provenance import digest, installed

_IMAGE_PACKAGES = ("torch", "torchvision", "open_clip_torch", "timm", "pillow", "numpy")
_TEXT_PACKAGES = ("torch", "open_clip_torch", "transformers", "tokenizers", "ftfy")
_TEXTS = 4096  # tokenized at a time: bounds the memory

Facts = Mapping[str, Any]


def image_facts(encoder: Encoder, manner: Facts, part: str, contents: str) -> Facts:
    """Name what an image tower sees in one part of a task.

    `manner` is how it computes (precision ...), `contents` the digest of every id, label and byte.
    """
    visual: Any = encoder.model.visual
    return {
        "what": "images",
        "weights": encoder.digests["visual"],
        "config": _without(effective(encoder.config), "text_cfg."),
        "tower": _described(visual),
        "preprocessing": [preprocessing(encoder.config), _described(encoder.preprocess)],
        "part": part,
        "contents": contents,
        "manner": dict(manner),
        "device": encoder.device.type,
        "packages": {name: installed(name) for name in _IMAGE_PACKAGES},
    }


def prompt_facts(
    encoder: Encoder, manner: Facts, class_names: Sequence[str], templates: Sequence[str]
) -> Facts:
    """Name what a text tower reads in the prompts of a task.

    The tokens are part of it: nothing else shows what a tokenizer from elsewhere makes of a text.
    """
    prompts = prompts_of(class_names, templates)
    words = {"class_names": list(class_names), "templates": list(templates)}
    return {"what": "prompts, each", **words, **_text_facts(encoder, manner, prompts)}


def caption_facts(encoder: Encoder, manner: Facts, texts: Sequence[str]) -> Facts:
    """Name what a text tower reads in captions."""
    return {"what": "captions", "texts": digest(list(texts)), **_text_facts(encoder, manner, texts)}


def _text_facts(encoder: Encoder, manner: Facts, texts: Sequence[str]) -> Facts:
    tokens = hashlib.sha256()
    for start in range(0, len(texts), _TEXTS):
        tokens.update(encoder.tokenizer(list(texts[start : start + _TEXTS])).numpy().tobytes())
    return {
        "weights": encoder.digests["text"],
        "config": _without(effective(encoder.config), "vision_cfg."),
        "tower": _described(text_part(encoder.model)),
        "tokens": tokens.hexdigest(),
        "manner": dict(manner),
        "device": encoder.device.type,
        "packages": {name: installed(name) for name in _TEXT_PACKAGES},
    }


def _without(settings: Facts, prefix: str) -> Facts:
    return {key: listed(value) for key, value in settings.items() if not key.startswith(prefix)}


def _described(thing: Any) -> str:
    """Say what a module or a transform is made of, without where it lies in the memory."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(thing))
