"""L2SP: the squared distance of the image tower, no half, no pull to zero."""

import pytest
import torch

from forgetcheck.clip.model.heads import Head
from forgetcheck.clip.model.view import Batch, Learner, Pair, View
from forgetcheck.regularizers.base import NEW
from forgetcheck.regularizers.l2sp import L2SP


def test_penalty_by_hand(vit, images):
    tuned = vit.twin()
    with torch.no_grad():
        tuned.weights["visual.proj"][0, 0] += 3
        tuned.weights["visual.conv1.weight"][0, 0, 0, 0] -= 4
        tuned.weights["token_embedding.weight"][0, 0] += 100  # text: not counted
    head = Head(torch.ones(2, 16))
    batch = Batch(images, torch.zeros(len(images)))
    pair = Pair(View(Learner(tuned, head), batch), View(Learner(vit, head), batch, frozen=True))
    assert L2SP(strength=0.5).penalty({NEW: pair}, {}).item() == pytest.approx(0.5 * 25, rel=1e-5)


def test_the_tower_is_not_decayed_to_zero():
    assert L2SP().decays("visual.proj") is False
    assert L2SP().decays("head") is None
