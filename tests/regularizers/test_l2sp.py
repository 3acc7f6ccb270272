"""L2SP: the squared distance of the image tower, no half, no pull to zero."""

import pytest
import torch

from forgetcheck.clip.model.forward_pass import ForwardPass
from forgetcheck.clip.model.heads import Head
from forgetcheck.regularizers.l2sp import L2SP


def test_penalty_by_hand(vit, images):
    tuned = vit.twin()
    with torch.no_grad():
        tuned.weights["visual.proj"][0, 0] += 3
        tuned.weights["visual.conv1.weight"][0, 0, 0, 0] -= 4
        tuned.weights["token_embedding.weight"][0, 0] += 100  # text: not counted
    head = Head(torch.ones(2, 16))
    pair = (ForwardPass(tuned, images, (), head, False), ForwardPass(vit, images, (), head, True))
    assert L2SP(strength=0.5).penalty(*pair).item() == pytest.approx(0.5 * 25, rel=1e-5)


def test_the_tower_is_not_decayed_to_zero():
    assert L2SP().weight_decay(0.1) == 0
