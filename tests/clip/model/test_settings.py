"""What a config makes a model do is said in words, and so is where two configs differ."""

from typing import Any

import pytest

from forgetcheck.clip.identity.architecture_index import index
from forgetcheck.clip.model.checkpoint import architecture
from forgetcheck.clip.model.settings import activation, differences, effective, preprocessing, tokenizer


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ViT-B-32", "GELU"),
        ("ViT-B-32-quickgelu", "QuickGELU"),
        ("RN50-quickgelu", "QuickGELU"),
        ("convnext_base", "image tower: that of timm's convnext_base, text tower: GELU"),
        ("xlm-roberta-base-ViT-B-32", "image tower: GELU, text tower: that of xlm-roberta-base"),
    ],
)
def test_the_activation_is_named(name: str, expected: str) -> None:
    assert activation(architecture(name)) == expected


def test_activation_options_are_part_of_its_name() -> None:
    config = architecture("ViT-SO400M-14-SigLIP2-378")
    assert "text tower: GELU (approximate tanh)" in activation(config)


def test_the_tokenizer_is_named() -> None:
    assert tokenizer(architecture("ViT-B-16-SigLIP")) == "timm/ViT-B-16-SigLIP"
    assert tokenizer(architecture("ViT-B-32")) == "CLIP's byte pairs (49408)"


def test_the_size_is_the_towers_as_in_open_clip() -> None:
    config = {"model_cfg": {"vision_cfg": {"image_size": 32}}, "preprocess_cfg": {"size": 224, "mean": None}}
    assert preprocessing(config)["size"] == 32
    assert preprocessing(config)["mean"] == [0.48145466, 0.4578275, 0.40821073]


def test_every_architecture_has_settings() -> None:
    for name in index().configs:
        assert activation(architecture(name))
        assert effective(architecture(name))["text_cfg.context_length"] > 0


def changed(part: str, **settings: Any) -> dict[str, Any]:
    config = architecture("ViT-B-32")
    model = dict(config["model_cfg"])
    if part == "preprocess_cfg":
        return {**config, part: {**config[part], **settings}}
    model |= settings if part == "model_cfg" else {part: {**model[part], **settings}}
    return {**config, "model_cfg": model}


@pytest.mark.parametrize(
    ("part", "settings", "words"),
    [
        ("model_cfg", {"quick_gelu": True}, "activation: GELU against QuickGELU"),
        ("vision_cfg", {"image_size": 336}, "image size: 224 against 336"),
        ("text_cfg", {"context_length": 16}, "context length: 77 against 16"),
        ("text_cfg", {"hf_tokenizer_name": "a/b"}, "tokenizer: CLIP's byte pairs (49408) against a/b"),
        ("vision_cfg", {"layers": 24}, "vision_cfg.layers: 12 against 24"),
        ("preprocess_cfg", {"resize_mode": "squash"}, "resize mode: shortest against squash"),
        ("preprocess_cfg", {"std": [1, 1, 1]}, "std: [0.26862954, 0.26130258, 0.27577711] against [1, 1, 1]"),
        ("vision_cfg", {"ls_init_value": 0.1}, "vision_cfg.ls_init_value: not set against 0.1"),
    ],
)
def test_each_difference_is_said_once_and_in_words(part: str, settings: dict[str, Any], words: str) -> None:
    assert differences(architecture("ViT-B-32"), changed(part, **settings)) == (words,)


def test_spelled_out_defaults_are_no_difference() -> None:
    assert differences(architecture("ViT-B-32"), changed("model_cfg", quick_gelu=False)) == ()
    assert differences(architecture("ViT-B-32"), changed("vision_cfg", ls_init_value=None)) == ()
    assert differences(architecture("ViT-B-32"), {**architecture("ViT-B-32"), "preprocess_cfg": {}}) == ()


def test_the_most_telling_difference_comes_first() -> None:
    found = differences(
        changed("vision_cfg", layers=24, image_size=336), changed("model_cfg", quick_gelu=True)
    )
    assert [item.partition(":")[0] for item in found] == ["activation", "image size", "vision_cfg.layers"]


def test_a_careless_config_still_has_settings() -> None:
    odd = {"quick_gelu": None, "vision_cfg": {"image_size": None, "act_kwargs": "x"}, "text_cfg": {}}
    config = {"model_cfg": odd, "preprocess_cfg": {}}
    assert (activation(config), effective(config)["vision_cfg.image_size"]) == ("GELU", 224)
