"""transformers' CLIPModel: its names and config, and open_clip's."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from forgetcheck.clip.formats.base import Unbuildable

_VOCABULARY = 49408  # of OpenAI's byte-pair encoding, which open_clip has built in
_ACTIVATIONS = ("quick_gelu", "gelu", "gelu_pytorch_tanh", "gelu_new")
TANH = ("gelu_pytorch_tanh", "gelu_new")
_OLD_EOS = 2  # older configs say so and mean: the highest token of the text
_USUAL_EPS = 1e-5
_QKV = re.compile(r"^(.*)self_attn\.([qkv])_proj\.(weight|bias)$")

BLOCK = (
    (r"self_attn\.out_proj\.", "attn.out_proj."),
    (r"layer_norm1\.", "ln_1."),
    (r"layer_norm2\.", "ln_2."),
    (r"mlp\.fc1\.", "mlp.c_fc."),
    (r"mlp\.fc2\.", "mlp.c_proj."),
)
TEXT = (
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
)
VISION = (
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.weight$", "visual.conv1.weight"),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
)
PROJECTIONS = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}


def clip_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under open_clip's names.

    Consumes `tensors` while it goes, so that no weight is held twice but the block it joins.
    """
    found = {}
    for name, value in join_qkv(tensors).items():
        if name in PROJECTIONS:
            found[PROJECTIONS[name]] = value.T.contiguous()
        else:
            found[renamed(name, (*TEXT, *VISION, *BLOCK))] = value
    if "logit_scale" in found:
        found["logit_scale"] = found["logit_scale"].reshape(())
    return found


@dataclass(frozen=True)
class Place:
    """Where in open_clip's tensors one of transformers' lies."""

    name: str
    view: Callable[[Tensor], Tensor]  # that part of the tensor, in memory they share


def clip_place(name: str) -> Place:
    """Say where `clip_tensors` puts the tensor of this name."""
    if name in PROJECTIONS:
        return Place(PROJECTIONS[name], torch.t)
    return place_by(name, (*TEXT, *VISION, *BLOCK))


def place_by(name: str, rules: tuple[tuple[str, str], ...]) -> Place:
    match = _QKV.match(name)
    if match is None:
        return Place(renamed(name, rules), whole_tensor)
    joined = renamed(f"{match[1]}attn.in_proj_{match[3]}", rules)
    return Place(joined, partial(_third, "qkv".index(match[2])))


def whole_tensor(tensor: Tensor) -> Tensor:
    return tensor


def _third(number: int, tensor: Tensor) -> Tensor:
    return tensor.chunk(3)[number]


def renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def join_qkv(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Stack query, key and value as torch's attention does."""
    joined: dict[str, Tensor] = {}
    for name in list(tensors):
        match = _QKV.match(name)
        if match and match[2] == "q":
            parts = [tensors.pop(f"{match[1]}self_attn.{part}_proj.{match[3]}") for part in "qkv"]
            joined[f"{match[1]}attn.in_proj_{match[3]}"] = torch.cat(parts)
        elif not match:
            joined[name] = tensors.pop(name)
    return joined


def clip_config(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return open_clip's model_cfg, and what was assumed. What a config leaves out is CLIP's usual."""
    vision, text = (
        with_usual(told(config, "vision"), _VISION_USUAL),
        with_usual(told(config, "text"), _TEXT_USUAL),
    )
    activation = _agreed_activation(vision, text)
    eos, vocabulary = text["eos_token_id"], whole(text, "vocab_size")
    pooling = {} if eos in (_OLD_EOS, vocabulary - 1) else {"pool_type": "eos", "eos_id": eos}
    note = f"The vocabulary of {vocabulary} is not CLIP's own: open_clip's tokenizer may not fit."
    return {
        "embed_dim": tensors["visual_projection.weight"].shape[0],
        "quick_gelu": activation == "quick_gelu",
        "vision_cfg": {
            "image_size": whole(vision, "image_size"),
            "patch_size": whole(vision, "patch_size"),
            "layers": whole(vision, "num_hidden_layers"),
            "width": whole(vision, "hidden_size"),
            "head_width": _head_width(vision),
            **details(vision, activation),
        },
        "text_cfg": {
            "context_length": whole(text, "max_position_embeddings"),
            "vocab_size": vocabulary,
            "width": whole(text, "hidden_size"),
            "heads": whole(text, "num_attention_heads"),
            "layers": whole(text, "num_hidden_layers"),
            **pooling,
            **details(text, activation),
        },
    }, () if vocabulary == _VOCABULARY else (note,)


_VISION_USUAL = {
    "image_size": 224,
    "patch_size": 32,
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": _USUAL_EPS,
    "num_channels": 3,
}
_TEXT_USUAL = {
    "max_position_embeddings": 77,
    "vocab_size": _VOCABULARY,
    "hidden_size": 512,
    "num_attention_heads": 8,
    "num_hidden_layers": 12,
    "intermediate_size": 2048,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": _USUAL_EPS,
    "eos_token_id": 49407,
}


def told(config: Mapping[str, Any], tower: str) -> Any:
    """Return the config of a tower. Old files have two, of which transformers takes the `_dict` whole."""
    old = config.get(f"{tower}_config_dict")
    return config.get(f"{tower}_config") if old is None else old


def with_usual(found: Any, usual: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in what transformers leaves out of a config because it is the default."""
    if found is not None and not isinstance(found, dict):
        raise TypeError("a config that is no object")
    return {**usual, **{key: value for key, value in (found or {}).items() if value is not None}}


def whole(tower: Mapping[str, Any], key: str) -> int:
    value = tower[key]
    if type(value) is not int or value < 1:
        raise Unbuildable(f"{key} is {value!r}"[:80])
    return value


def _head_width(tower: Mapping[str, Any]) -> int:
    width, heads = whole(tower, "hidden_size"), whole(tower, "num_attention_heads")
    if width % heads:
        raise Unbuildable(f"its width of {width} is no multiple of its {heads} heads")
    return width // heads


def _agreed_activation(vision: Mapping[str, Any], text: Mapping[str, Any]) -> str:
    found = {str(tower["hidden_act"]) for tower in (vision, text)}
    if len(found) > 1 and "quick_gelu" in found:
        raise Unbuildable("its towers have different activations")
    other = sorted(found - set(_ACTIVATIONS))
    if other:
        raise Unbuildable(f"its activation is '{other[0][:40]}'")
    return "quick_gelu" if "quick_gelu" in found else "gelu"


def details(tower: Mapping[str, Any], activation: str) -> dict[str, Any]:
    """Return what open_clip's config names only where it is unusual."""
    width, inner, eps = (
        whole(tower, "hidden_size"),
        whole(tower, "intermediate_size"),
        float(tower["layer_norm_eps"]),
    )
    found: dict[str, Any] = {}
    if inner != 4 * width:
        found["mlp_ratio"] = _ratio(width, inner)
    if eps != _USUAL_EPS:
        found["norm_kwargs"] = {"eps": eps}
    if activation == "gelu" and tower["hidden_act"] in TANH:
        found["act_kwargs"] = {"approximate": "tanh"}
    return found


def _ratio(width: int, inner: int) -> float:
    """Return the ratio from which open_clip computes `inner`, which it rounds down."""
    exact = inner / width
    return exact if int(width * exact) == inner else (inner + 0.5) / width
