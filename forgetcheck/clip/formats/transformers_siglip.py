"""transformers' SiglipModel: its names and config, and open_clip's, whose image tower is timm's."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from forgetcheck.clip.formats.base import Unbuildable
from forgetcheck.clip.formats.transformers_clip import (
    BLOCK,
    TANH,
    Place,
    details,
    join_qkv,
    place_by,
    renamed,
    whole,
    with_usual,
)

_TRUNK = (
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.trunk.patch_embed.proj."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.trunk.pos_embed"),
    (r"^vision_model\.post_layernorm\.", "visual.trunk.norm."),
    (r"^vision_model\.head\.probe$", "visual.trunk.attn_pool.latent"),
    (r"^vision_model\.head\.attention\.out_proj\.", "visual.trunk.attn_pool.proj."),
    (r"^vision_model\.head\.layernorm\.", "visual.trunk.attn_pool.norm."),
    (r"^vision_model\.head\.mlp\.", "visual.trunk.attn_pool.mlp."),
    (r"^vision_model\.encoder\.layers\.", "visual.trunk.blocks."),
    (r"\.attn\.in_proj_", ".attn.qkv."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
    (r"\.layer_norm([12])\.", r".norm\1."),
)
TEXT = (
    (r"^text_model\.embeddings\.token_embedding\.", "text.token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "text.positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "text.ln_final."),
    (r"^text_model\.head\.", "text.text_projection."),
    (r"^text_model\.encoder\.layers\.", "text.transformer.resblocks."),
    *BLOCK,
)
_TRUNK_EPS = 1e-6  # which open_clip cannot change
_POOL = "vision_model.head.attention.in_proj_"  # query, key and value, which timm keeps as q and kv

_SIZES = {  # (width, layers, heads, width inside): timm's word for it
    (768, 12, 12, 3072): "base",
    (1024, 24, 16, 4096): "large",
    (1152, 27, 16, 4304): "so400m",
    (1536, 40, 16, 6144): "giantopt",
}
_TRUNKS = {  # (size, patch, image): whether timm's GELU is the one by tanh
    ("base", 32, 256): True,
    **{("base", 16, image): False for image in (224, 256, 384, 512)},
    **{("large", 16, image): image == 512 for image in (256, 384, 512)},
    **{("so400m", 14, image): False for image in (224, 378, 384)},
    **{("so400m", 16, image): True for image in (256, 384, 512)},
    **{("giantopt", 16, image): True for image in (256, 384)},
}
TOKENIZERS = {  # by the size of the vocabulary
    32000: "timm/ViT-B-16-SigLIP",
    250000: "timm/ViT-B-16-SigLIP-i18n-256",
    256000: "timm/ViT-B-16-SigLIP2",
}
_VISION_USUAL = {
    "image_size": 224,
    "patch_size": 16,
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
    "vision_use_head": True,
}
_TEXT_USUAL = {
    "max_position_embeddings": 64,
    "vocab_size": 32000,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
}


def siglip_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under open_clip's names. Consumes `tensors` while it goes."""
    found = {}
    for name, value in join_qkv(tensors).items():
        if name.startswith(_POOL):
            kind, width = name.removeprefix(_POOL), value.shape[0] // 3
            found[f"visual.trunk.attn_pool.q.{kind}"] = value[:width]
            found[f"visual.trunk.attn_pool.kv.{kind}"] = value[width:]
        else:
            found[renamed(name, _TRUNK if name.startswith("vision_model.") else TEXT)] = value
    found["visual.trunk.pos_embed"] = found["visual.trunk.pos_embed"][None]
    for name in ("logit_scale", "logit_bias"):
        found[name] = found[name].reshape(())
    return found


def siglip_place(name: str) -> Place:
    """Say where `siglip_tensors` puts the tensor of this name; what it splits is nowhere."""
    if name.startswith(_POOL):
        return Place("", _first_of)
    place = place_by(name, _TRUNK if name.startswith("vision_model.") else TEXT)
    return Place(place.name, _first_of) if place.name == "visual.trunk.pos_embed" else place


def _first_of(tensor: Tensor) -> Tensor:
    return tensor[0]


def siglip_config(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return open_clip's model_cfg, and what differs or was assumed."""
    vision, text = (
        with_usual(config.get("vision_config"), _VISION_USUAL),
        with_usual(config.get("text_config"), _TEXT_USUAL),
    )
    trunk, notes = _find_trunk(vision)
    vocabulary = whole(text, "vocab_size")
    if vocabulary not in TOKENIZERS:
        notes += (f"A vocabulary of {vocabulary} is none of SigLIP's: its first tokenizer is assumed.",)
    return {
        "embed_dim": tensors["text_model.head.weight"].shape[0],
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": whole(vision, "image_size"),
            "timm_model_name": trunk,
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {
            "context_length": whole(text, "max_position_embeddings"),
            "vocab_size": vocabulary,
            "hf_tokenizer_name": TOKENIZERS.get(vocabulary, TOKENIZERS[32000]),
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "width": whole(text, "hidden_size"),
            "heads": whole(text, "num_attention_heads"),
            "layers": whole(text, "num_hidden_layers"),
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            **details(text, gelu(text)),
        },
    }, notes


def gelu(tower: Mapping[str, Any]) -> str:
    if tower["hidden_act"] not in ("gelu", *TANH):
        raise Unbuildable(f"its activation is '{str(tower['hidden_act'])[:40]}'")
    return "gelu"


def _find_trunk(vision: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return timm's name of the image tower, and how its activation differs from transformers'."""
    gelu(vision)
    if float(vision["layer_norm_eps"]) != _TRUNK_EPS:
        raise Unbuildable(f"timm's image tower has a layer_norm_eps of {_TRUNK_EPS}, this config another")
    shape = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    size = _SIZES.get(tuple(whole(vision, key) for key in shape))  # type: ignore[arg-type]
    patch, image = whole(vision, "patch_size"), whole(vision, "image_size")
    if size is None or (size, patch, image) not in _TRUNKS or not vision["vision_use_head"]:
        raise Unbuildable("timm has no SigLIP image tower of its size")
    by_tanh = vision["hidden_act"] in TANH
    note = f"timm's tower computes GELU {'exactly' if by_tanh else 'by tanh'}, this config the other way."
    return f"vit_{size}_patch{patch}_siglip_{image}", (note,) if by_tanh != _TRUNKS[
        size, patch, image
    ] else ()
