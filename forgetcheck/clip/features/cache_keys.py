"""What decides an embedding, and so names its entry in the feature cache: anything else may differ."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from forgetcheck.clip.model.encoder import Encoder, text_part
from forgetcheck.clip.model.heads import prompts_of
from forgetcheck.clip.model.settings import effective, listed, preprocessing
from forgetcheck.provenance import digest, installed

IMAGE_PACKAGES = ("torch", "torchvision", "open_clip_torch", "timm", "pillow", "numpy")
TEXT_PACKAGES = ("torch", "open_clip_torch", "transformers", "tokenizers", "ftfy")
TEXTS = 4096  # tokenized at a time: bounds the memory

Facts = Mapping[str, Any]


def image_facts(encoder: Encoder, manner: Facts, part: str, contents: str) -> Facts:
    """Name what an image tower sees in one part of a task.

    `manner` is how it computes (precision ...), `contents` the digest of every id, label and byte.
    """
    visual: Any = encoder.model.visual
    return {
        "what": "images",
        "weights": encoder.digests["visual"],
        "config": without(effective(encoder.config), "text_cfg."),
        "tower": described(visual),
        "preprocessing": [preprocessing(encoder.config), described(encoder.preprocess)],
        "part": part,
        "contents": contents,
        "manner": dict(manner),
        "device": encoder.device.type,
        "packages": {name: installed(name) for name in IMAGE_PACKAGES},
    }


def prompt_facts(
    encoder: Encoder, manner: Facts, class_names: Sequence[str], templates: Sequence[str]
) -> Facts:
    """Name what a text tower reads in the prompts of a task.

    The tokens are part of it: nothing else shows what a tokenizer from elsewhere makes of a text.
    """
    prompts = prompts_of(class_names, templates)
    words = {"class_names": list(class_names), "templates": list(templates)}
    return {"what": "prompts, each", **words, **text_facts(encoder, manner, prompts)}


def caption_facts(encoder: Encoder, manner: Facts, texts: Sequence[str]) -> Facts:
    """Name what a text tower reads in captions."""
    return {"what": "captions", "texts": digest(list(texts)), **text_facts(encoder, manner, texts)}


def text_facts(encoder: Encoder, manner: Facts, texts: Sequence[str]) -> Facts:
    tokens = hashlib.sha256()
    for start in range(0, len(texts), TEXTS):
        tokens.update(encoder.tokenizer(list(texts[start : start + TEXTS])).numpy().tobytes())
    return {
        "weights": encoder.digests["text"],
        "config": without(effective(encoder.config), "vision_cfg."),
        "tower": described(text_part(encoder.model)),
        "tokens": tokens.hexdigest(),
        "manner": dict(manner),
        "device": encoder.device.type,
        "packages": {name: installed(name) for name in TEXT_PACKAGES},
    }


def without(settings: Facts, prefix: str) -> Facts:
    return {key: listed(value) for key, value in settings.items() if not key.startswith(prefix)}


def described(thing: Any) -> str:
    """Say what a module or a transform is made of, without where it lies in the memory."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(thing))
