"""LDIFS: both distances by their formula, depths, and independence of batch and tokens."""

import math
from types import SimpleNamespace

import pytest
import torch

from forgetcheck import catalog
from forgetcheck.clip.model.view import Pair
from forgetcheck.regularizers.base import NEW
from forgetcheck.regularizers.ldifs import LDIFS, published_distance, token_distance


class Tower:
    def __init__(self, blocks):
        self.blocks = blocks


class Pass:
    def __init__(self, layers, embedding):
        self.layers, self.embedding = dict(enumerate(layers)), embedding
        self.learner = SimpleNamespace(encoder=Tower(len(layers) - 1))


def penalty(method, tuned, base):
    return method.penalty({NEW: Pair(tuned, base)}, {})


@pytest.mark.parametrize(
    ("blocks", "slices", "depths"),
    [
        (12, 5, (0, 3, 6, 9, 12)),
        (24, 5, (0, 6, 12, 18, 24)),
        (4, 5, (0, 1, 2, 3, 4)),
        (2, 5, (0, 1, 2)),
        (12, 2, (0, 12)),
        (12, 1, (0,)),
    ],
)
def test_depths_cover_the_whole_tower(blocks, slices, depths):
    assert LDIFS(slices=slices).depths(Tower(blocks)) == depths


def test_token_distance_by_hand():
    """Two tokens: one turned by 90 degrees (distance 2), one only longer (distance 0); mean 1."""
    base = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    tuned = torch.tensor([[[0.0, 3.0], [0.0, 9.0]]])
    assert token_distance(tuned, base).item() == pytest.approx(1.0)


def test_token_distance_does_not_depend_on_the_number_of_tokens():
    generator = torch.Generator().manual_seed(0)
    tuned, base = torch.randn(2, 4, 5, 8, generator=generator)
    many = token_distance(tuned.repeat(1, 10, 1), base.repeat(1, 10, 1))
    torch.testing.assert_close(many, token_distance(tuned, base))


def test_published_distance_by_hand():
    """Each channel's profile over tokens gets unit norm; then the mean square over all t * d."""
    base = torch.tensor([[[3.0, 0.0], [4.0, 5.0]]])
    tuned = torch.tensor([[[4.0, 5.0], [3.0, 0.0]]])
    expected = (2 * (0.8 - 0.6) ** 2 + 2 * 1.0) / 4
    assert published_distance(tuned, base).item() == pytest.approx(expected)


def test_published_distance_shrinks_with_the_number_of_tokens():
    generator = torch.Generator().manual_seed(0)
    tuned, base = torch.randn(2, 4, 5, 8, generator=generator)
    many = published_distance(tuned.repeat(1, 10, 1), base.repeat(1, 10, 1))
    torch.testing.assert_close(many * 10, published_distance(tuned, base))


def test_the_default_includes_the_embedding_and_the_published_one_does_not():
    layers = (torch.ones(2, 3, 4),)
    turned = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    away = torch.tensor([[-1.0, 0.0], [-1.0, 0.0]])
    default = penalty(LDIFS(strength=1.0), Pass(layers, away), Pass(layers, turned))
    published = penalty(
        LDIFS(strength=1.0, distance="as-published"), Pass(layers, away), Pass(layers, turned)
    )
    assert default.item() == pytest.approx(4 / 2)  # the embedding is one of two parts
    assert published.item() == 0


def test_strength_is_a_factor(vit, images):
    pair = Pass((torch.randn(2, 3, 4),), torch.randn(2, 4)), Pass((torch.randn(2, 3, 4),), torch.randn(2, 4))
    one, seven = (penalty(LDIFS(strength=s), *pair).item() for s in (1.0, 7.0))
    assert math.isclose(seven, 7 * one, rel_tol=1e-5)


def test_options_by_name():
    assert catalog.build("regularizers", "ldifs:strength=2,slices=3") == LDIFS(2.0, "per-token", 3)
