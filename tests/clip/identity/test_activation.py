"""Twins with the same shapes are told apart by what is recorded, else by what works, else not at all."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from forgetcheck.clip.identity import activation as deciding
from forgetcheck.clip.identity.activation import (
    BY_FUNCTION,
    BY_SHAPES,
    BY_US,
    Trial,
    by_function,
    by_habit,
    clearly_lower,
    decide,
    differ_in,
    doubt_activation,
    sampled,
    usual_preprocessing,
)
from forgetcheck.clip.identity.architecture import matching
from forgetcheck.clip.identity.architecture_index import index
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.checkpoint import Checkpoint, architecture
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.tasks.drawn import Drawn

pytestmark = pytest.mark.slow

TWINS = ("ViT-B-32", "ViT-B-32-quickgelu")
TASKS = [Drawn("shape"), Drawn("relation")]
ACTIVATIONS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": torch.nn.functional.gelu,
    "quickgelu": lambda x: x * torch.sigmoid(1.702 * x),
}


def test_one_candidate_is_decided_by_its_shapes() -> None:
    assert decide(["ViT-B-16-SigLIP"]).by == BY_SHAPES
    assert decide(["ViT-B-16-SigLIP"]).name == "ViT-B-16-SigLIP"


def test_no_candidate_is_no_decision() -> None:
    assert decide([]).name is None


def test_one_config_under_two_names_needs_no_decision() -> None:
    assert decide(["MobileCLIP-B", "MobileCLIP2-B"]).name == "MobileCLIP-B"
    assert differ_in(["MobileCLIP-B", "MobileCLIP2-B"]) == ()


def test_twins_are_undecided_and_it_is_said_in_what() -> None:
    assert decide(TWINS).name is None
    assert "quick_gelu" in decide(TWINS).by
    assert differ_in(["convnext_base_w", "convnext_base_w_320"]) == ("vision_cfg.image_size",)


def test_what_shapes_decide_is_right_and_most() -> None:
    names = list(index().fits)
    decided = {name: decide(matching(index().layouts[index().fits[name]])).name for name in names}
    assert all(found is None or not differ_in([found, name]) for name, found in decided.items())
    assert 0.6 < sum(found is not None for found in decided.values()) / len(names) < 0.9


def config_with(quick: bool) -> dict[str, Any]:
    config = find_checkpoint("forgetcheck:tiny").config
    return {**config, "model_cfg": {**config["model_cfg"], "quick_gelu": quick}}


def load_as(activation: str, weights: Mapping[str, torch.Tensor] | None = None) -> Encoder:
    tiny = find_checkpoint("forgetcheck:tiny")
    encoder = load_encoder(replace(tiny, config=config_with(activation == "quickgelu")), "cpu")
    if weights is not None:
        encoder.model.load_state_dict(dict(weights))
    return encoder


def exported_under(activation: str, strength: float = 200.0) -> dict[str, torch.Tensor]:
    """Return the embedded model with one hidden unit that only this activation leaves without effect.

    The unit's output is constant, as in the massive activations of large CLIPs; its bias takes back
    what it adds. Under the other activation 1 % of it remains.
    """
    encoder = load_as(activation)
    mlp = encoder.model.visual.transformer.resblocks[1].mlp
    direction = torch.randn(mlp.c_proj.bias.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mlp.c_fc.weight[0] = 0
        mlp.c_fc.bias[0] = 2.0
        mlp.c_proj.weight[:, 0] = strength * direction
        mlp.c_proj.bias -= strength * direction * ACTIVATIONS[activation](torch.tensor(2.0))
    return encoder.model.state_dict()


@pytest.mark.parametrize("right", list(ACTIVATIONS))
def test_the_right_activation_is_the_one_that_works(right: str) -> None:
    weights = exported_under(right)
    found = by_function({name: lambda n=name: load_as(n, weights) for name in ACTIVATIONS}, TASKS)
    assert (found.name, found.by) == (right, BY_FUNCTION)
    assert found.candidates == tuple(ACTIVATIONS)


def test_an_activation_without_consequence_is_undecided() -> None:
    """The embedded model itself is shallow and sure: both activations predict the same."""
    found = by_function({name: lambda n=name: load_as(n) for name in ACTIVATIONS}, TASKS)
    assert found.name is None
    assert "equally well" in found.by


def test_a_model_that_knows_nothing_is_undecided(vit: Encoder) -> None:
    def build(quick: bool) -> Encoder:
        config = {**vit.config, "model_cfg": {**vit.config["model_cfg"], "quick_gelu": quick}}
        encoder = load_encoder(Checkpoint("random", config, None), "cpu")
        encoder.model.load_state_dict(vit.model.state_dict())
        return encoder

    found = by_function({"gelu": lambda: build(False), "quickgelu": lambda: build(True)}, TASKS[:1])
    assert found.name is None
    assert "chance" in found.by


def trial(losses: torch.Tensor) -> Trial:
    return Trial(losses, torch.ones(len(losses), dtype=torch.bool), torch.full((len(losses),), 0.1))


def test_clearly_needs_significance_and_size() -> None:
    noise = torch.rand(500, generator=torch.Generator().manual_seed(0)).double()
    assert clearly_lower(trial(noise), trial(noise + 0.1))
    assert not clearly_lower(trial(noise), trial(noise + 0.001))  # certain, but nothing
    assert not clearly_lower(trial(noise), trial(noise))
    assert not clearly_lower(trial(noise + 0.1), trial(noise))
    shuffled = noise[torch.randperm(500, generator=torch.Generator().manual_seed(1))]
    assert not clearly_lower(trial(noise), trial(shuffled + 0.03))  # large, but chance


def test_preprocessing_is_that_of_the_published_weights() -> None:
    found = usual_preprocessing(["ViT-B-16-SigLIP"])
    assert (found.config["mean"], found.config["resize_mode"]) == ([0.5, 0.5, 0.5], "squash")
    assert "published weights of ViT-B-16-SigLIP" in found.why
    assert not found.guessed


def test_preprocessing_that_published_weights_disagree_on_is_a_guess() -> None:
    found = usual_preprocessing(["ViT-L-14"])
    assert found.config["mean"] == list(architecture("ViT-L-14")["preprocess_cfg"]["mean"])
    assert "differ in mean, std" in found.why
    assert found.guessed
    assert usual_preprocessing(["ViT-S-32-alt"]).guessed  # nobody published any
    assert usual_preprocessing(["forgetcheck:tiny"]).why == BY_US


def test_a_functional_test_looks_at_some_images_only() -> None:
    some = sampled(TASKS, 300)
    assert [len(part.split("test")) for part in some] == [150, 150]
    labels = some[0].split("test").labels
    assert set(labels) == set(range(len(some[0].class_names)))  # every class in proportion


def test_weights_that_know_nothing_are_not_doubted(vit: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much lower the loss under the other activation is: both are at chance."""
    monkeypatch.setattr(deciding, "clearly_lower", lambda *_: True)
    assert doubt_activation(Checkpoint("random", vit.config, None), vit, TASKS[:1]) == ""


def test_who_calls_everything_by_the_commonest_name_knows_nothing():
    labels = torch.tensor([0] * 294 + [1] * 6)
    constant = torch.zeros(300, dtype=torch.int64)
    chance = torch.full((300,), by_habit(constant, labels, 2), dtype=torch.float64)
    assert not Trial(torch.zeros(300), constant == labels, chance).beats_chance
    knows = labels.clone()
    knows[:3] = 1
    assert by_habit(knows, labels, 2) == pytest.approx((291 * 294 + 9 * 6) / 300**2)
    even = torch.arange(300) % 3
    chance = torch.full((300,), by_habit(even, even, 3), dtype=torch.float64)
    assert Trial(torch.zeros(300), torch.ones(300, dtype=torch.bool), chance).beats_chance
