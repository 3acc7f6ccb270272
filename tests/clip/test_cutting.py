"""Leaving padding out of texts: the same embeddings where a tower allows it, a reason where it doesn't."""

from copy import deepcopy

import pytest
import torch
from conftest import VIT, make_config
from torch import nn

from forgetcheck.clip.model.checkpoint import Checkpoint
from forgetcheck.clip.model.encoder import CutText, why_uncut
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.errors import InputError

TEXTS = ["a cat", "two small dogs!", "hello!", "a photo of one more red square"]


def with_text(custom=False, **options):
    torch.manual_seed(0)
    config = deepcopy(make_config(VIT))
    config["model_cfg"]["text_cfg"] |= options
    config["model_cfg"]["custom_text"] = custom
    return load_encoder(Checkpoint("random", config, weights=None), "cpu")


@pytest.mark.parametrize("custom", [False, True], ids=["flat", "custom text"])
@pytest.mark.parametrize("pool", [{}, {"pool_type": "eos", "eos_id": 49407}], ids=["argmax", "eos"])
def test_a_causal_tower_reads_the_same_without_padding(custom, pool):
    encoder = with_text(custom, **pool)
    with torch.no_grad():
        torch.testing.assert_close(encoder.read_cut(TEXTS), encoder.read(TEXTS), atol=1e-6, rtol=0)
        assert encoder.read(TEXTS).shape == (4, 16)


def test_fewer_places_are_read_and_the_weights_stay(vit):
    lengths = []
    before = {name: value.clone() for name, value in vit.weights.items()}
    hook = vit.model.transformer.register_forward_pre_hook(lambda _m, i: lengths.append(i[0].shape[1]))
    with torch.no_grad():
        vit.read_cut(TEXTS)
        vit.read(TEXTS)
    hook.remove()
    assert lengths == [9, 16]
    assert vit.places(TEXTS) == (9, 16)
    assert all(torch.equal(value, before[name]) for name, value in vit.weights.items())


def test_an_exclamation_mark_is_no_padding(vit):
    """CLIP's token for `!` is 0, and so is its padding: only what follows the end may go."""
    assert vit.places(["~!~"]) == (5, 16)
    assert vit.places([""]) == (2, 16)


def test_a_text_that_fills_every_place_is_read_whole(vit):
    long = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    assert vit.places([long]) == (16, 16)
    with torch.no_grad():
        assert torch.equal(vit.read_cut([long]), vit.read([long]))


def test_a_tower_that_attends_to_padding_reads_something_else():
    encoder = with_text(custom=True, no_causal_mask=True)
    with torch.no_grad():
        assert (encoder.read_cut(TEXTS) - encoder.read(TEXTS)).abs().max() > 1e-4


@pytest.mark.parametrize("custom", [False, True], ids=["flat", "custom text"])
def test_a_tower_like_siglips_cannot_be_cut(custom):
    encoder = with_text(custom, pool_type="last", no_causal_mask=True)
    with pytest.raises(InputError, match=r"'random' cannot be cut: .* the last place, which is padding"):
        encoder.read_cut(TEXTS)


def test_a_class_token_after_the_padding_and_a_tower_from_elsewhere_cannot_be_cut(vit):
    assert "class token" in why_uncut(with_text(custom=True, embed_cls=True).model)
    elsewhere = nn.Module()
    elsewhere.text = nn.Linear(2, 2)
    assert "a model of its own (Linear)" in why_uncut(elsewhere)
    assert why_uncut(vit.model) == ""


def test_the_cut_model_shares_its_weights(vit):
    assert CutText(vit.model, 0).model is vit.model
