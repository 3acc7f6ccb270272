"""OpenAI's own archives: what a model of theirs looks like follows from the shapes of its weights."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

OPENAI_ARCHIVE = "OpenAI TorchScript archive"
SETTINGS = frozenset(("input_resolution", "context_length", "vocab_size"))  # kept among the tensors
_HEAD_WIDTH = 64  # of every tower of theirs
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
NOTE = "OpenAI's models have QuickGELU and its preprocessing, which the config says."


def openai_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the config to build the model from. Raises KeyError or ValueError for another layout."""
    width = tensors["ln_final.weight"].shape[0]
    vision = _transformer(tensors) if "visual.proj" in tensors else _resnet(tensors)
    return {
        "model_cfg": {
            "embed_dim": tensors["text_projection"].shape[1],
            "quick_gelu": True,
            "vision_cfg": vision,
            "text_cfg": {
                "context_length": tensors["positional_embedding"].shape[0],
                "vocab_size": tensors["token_embedding.weight"].shape[0],
                "width": width,
                "heads": width // _HEAD_WIDTH,
                "layers": _blocks(tensors, "transformer.resblocks."),
            },
        },
        "preprocess_cfg": {
            "size": vision["image_size"],
            "mode": "RGB",
            "mean": MEAN,
            "std": STD,
            "interpolation": "bicubic",
            "resize_mode": "shortest",
            "fill_color": 0,
        },
    }


def _transformer(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    width, _, patch, _ = tensors["visual.conv1.weight"].shape
    return {
        "image_size": _side(tensors["visual.positional_embedding"]) * patch,
        "layers": _blocks(tensors, "visual.transformer.resblocks."),
        "width": width,
        "head_width": _HEAD_WIDTH,
        "patch_size": patch,
    }


def _resnet(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "image_size": _side(tensors["visual.attnpool.positional_embedding"]) * 32,
        "layers": [_blocks(tensors, f"visual.layer{stage}.") for stage in (1, 2, 3, 4)],
        "width": tensors["visual.layer1.0.conv1.weight"].shape[0],
        "patch_size": None,
    }


def _blocks(tensors: Mapping[str, Tensor], prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)})


def _side(positions: Tensor) -> int:
    """Return how many patches make a side of the image; one position is the class token's."""
    length = math.isqrt(positions.shape[0] - 1)
    if length**2 != positions.shape[0] - 1:
        raise ValueError("its positions make no square")
    return length
