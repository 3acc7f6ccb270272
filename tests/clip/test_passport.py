"""The passport says what a checkpoint is, what its tensors hold, and where two configs differ."""

import json
from typing import Any

import pytest
import torch

from forgetcheck.clip.architecture_index import index
from forgetcheck.clip.checkpoint import architecture
from forgetcheck.clip.encoder import Encoder
from forgetcheck.clip.passport import (
    CHUNK,
    activation,
    differences,
    issue,
    kinds,
    preprocessing,
    take_census,
    tokenizer,
)


def test_the_passport_of_the_embedded_model(tiny: Encoder) -> None:
    passport = issue(
        "tiny",
        tiny.config,
        tiny.weights,
        architectures=("forgetcheck:tiny",),
        inferred={"architecture": "the names and shapes of its weights"},
        family="open_clip state dict",
        notes=("stripped 'module.'",),
    )
    assert passport.activation == "GELU"
    assert passport.image_size == 32
    assert passport.preprocessing["mean"] == [0.5, 0.5, 0.5]
    assert passport.preprocessing["interpolation"] == "bicubic"
    assert passport.preprocessing["resize_mode"] == "shortest"
    assert passport.tokenizer == "CLIP's byte pairs (49408)"
    assert passport.context_length == 16
    assert passport.digests == tiny.digests
    assert sum(part.parameters for part in passport.census.values()) == sum(
        parameter.numel() for parameter in tiny.model.parameters()
    )
    assert all(part.finite for part in passport.census.values())
    assert passport.census["text"].zeros > 0  # rows of tokens that no caption uses
    assert passport.census["visual"].precisions == {"float32": passport.census["visual"].parameters}


def test_the_record_survives_json(tiny: Encoder) -> None:
    record = issue("tiny", tiny.config, tiny.weights, notes=("one",)).as_record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["notes"] == ["one"]
    assert record["census"]["visual"]["not_finite"] == []


def test_digests_are_the_same_in_every_precision_that_holds_the_values(tiny: Encoder) -> None:
    half = {name: value.detach().half() for name, value in tiny.weights.items()}  # shipped as float16
    assert issue("half", tiny.config, half).digests == tiny.digests
    precisions = issue("half", tiny.config, half).census["visual"].precisions
    assert list(precisions) == ["float16"]


def test_the_census_counts_each_kind_and_names_the_first_offenders() -> None:
    bad = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1.0, 1e-40])
    census = take_census(
        {
            "visual.fine": torch.ones(3),
            **{f"visual.bad{number}": bad for number in range(5)},
            "visual.bn1.running_mean": torch.zeros(4),
            "visual.bn1.num_batches_tracked": torch.tensor(3),
            "visual.small": torch.tensor([1e-6], dtype=torch.float16),
        }
    )
    assert (census.nan, census.infinite, census.denormal, census.zeros) == (5, 10, 6, 14)
    assert census.not_finite == ("visual.bad0", "visual.bad1", "visual.bad2")
    assert census.denormal_in == census.not_finite
    assert census.parameters == 3 + 35 + 1
    assert census.precisions == {"float32": 38, "float16": 1}
    assert not census.finite


def test_a_tensor_of_several_pieces_is_counted_whole() -> None:
    value = torch.zeros(CHUNK + 3)
    value[-1] = float("nan")
    assert kinds(value) == {"zeros": CHUNK + 2, "nan": 1, "infinite": 0, "denormal": 0}
    assert kinds(torch.ones(4, 6).T[::2]) == {"zeros": 0, "nan": 0, "infinite": 0, "denormal": 0}


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_denormal_means_so_in_the_stored_precision(precision: torch.dtype) -> None:
    smallest = torch.finfo(precision).smallest_normal
    assert kinds(torch.tensor([smallest, -smallest / 2, 0], dtype=precision))["denormal"] == 1


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


def test_every_architecture_has_a_passport() -> None:
    for name in index().configs:
        passport = issue(name, architecture(name), {})
        assert passport.activation
        assert passport.context_length > 0


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


def test_a_careless_config_still_has_a_passport() -> None:
    odd = {"quick_gelu": None, "vision_cfg": {"image_size": None, "act_kwargs": "x"}, "text_cfg": {}}
    passport = issue("odd", {"model_cfg": odd, "preprocess_cfg": {}}, {})
    assert (passport.activation, passport.image_size, passport.context_length) == ("GELU", 224, 77)
