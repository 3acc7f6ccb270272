"""The contract of every regularizer, found by itself: nothing at the base, something away from it."""

import pytest
import torch

from forgetcheck import catalog
from forgetcheck.clip.model.encoder import stem_of
from forgetcheck.clip.model.heads import Head, prompt_head
from forgetcheck.clip.model.view import Batch, Learner, Pair, View
from forgetcheck.regularizers.base import NEW
from forgetcheck.tasks.drawn import Drawn
from forgetcheck.tuning.schedule import Schedule
from forgetcheck.tuning.tune import make_optimizer, task_loss, trained

SPECS = [*catalog.names("regularizers"), "ldifs:distance=as-published"]


def pairs(method, base, tuned, images):
    depths, batch = method.depths(base), Batch(images, torch.arange(len(images)) % 7)
    head = Head(torch.randn(7, 16, generator=torch.Generator().manual_seed(3)))
    return {
        NEW: Pair(
            View(Learner(tuned, head), batch, depths),
            View(Learner(base, head), batch, depths, frozen=True),
        )
    }


def moving(method, encoder):
    learner = Learner(encoder, Head(torch.zeros(7, 16)))
    make_optimizer(learner, method, Schedule())
    return [weight for name, weight in trained(learner).items() if name != "head"]


@pytest.mark.parametrize("spec", SPECS)
def test_penalty_and_gradient_are_zero_at_the_base(spec, tower, images):
    method = catalog.build("regularizers", spec)
    tuned = tower.twin()
    weights = moving(method, tuned)
    penalty = method.penalty(pairs(method, tower, tuned, images), {})
    # not a round 0: torch's attention takes another kernel where no gradient is kept
    assert abs(penalty.item()) < 1e-10
    if penalty.requires_grad:
        gradients = torch.autograd.grad(penalty, weights, allow_unused=True)
        assert max(g.abs().max().item() for g in gradients if g is not None) < 1e-6


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec != "cross-entropy"])
def test_penalty_grows_away_from_the_base_and_pulls_back(spec, tower, images):
    method = catalog.build("regularizers", spec)
    tuned = tower.twin()
    weights = moving(method, tuned)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in weights:
            weight += 0.02 * torch.randn(weight.shape, generator=generator)
    now = method.penalty(pairs(method, tower, tuned, images), {})
    assert now > 0
    gradients = torch.autograd.grad(now, weights, allow_unused=True)
    with torch.no_grad():
        size = sum(g.square().sum() for g in gradients if g is not None)
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                weight -= 0.02 * now * gradient / size
    assert method.penalty(pairs(method, tower, tuned, images), {}) < now


@pytest.mark.parametrize("spec", SPECS)
def test_one_forward_of_the_tuned_model_and_at_most_one_of_the_base(spec, tower, images):
    """LDIFS costs one frozen forward per step and no second tuned forward."""
    method = catalog.build("regularizers", spec)
    tuned = tower.twin()
    counts = {"base": 0, "tuned": 0}
    encoders = {"base": tower, "tuned": tuned}
    hooks = [
        stem_of(encoder.model.visual).register_forward_hook(
            lambda *_args, who=who: counts.__setitem__(who, counts[who] + 1)
        )
        for who, encoder in encoders.items()
    ]
    on = pairs(method, tower, tuned, images)
    (task_loss(method, on[NEW].tuned) + method.penalty(on, {})).backward()
    for hook in hooks:
        hook.remove()
    assert counts == {"tuned": 1, "base": 1 if spec.startswith("ldifs") else 0}
    assert all(weight.grad is None for weight in tower.model.parameters())


@pytest.mark.parametrize("spec", SPECS)
def test_the_text_tower_stays_and_the_head_starts_at_the_prompts(spec, vit):
    method = catalog.build("regularizers", spec)
    base = Learner(vit.twin(), prompt_head(vit, Drawn().class_names, Drawn().templates))
    learner = method.prepare(base.twin(), Drawn())
    make_optimizer(learner, method, Schedule())
    assert {name for name in trained(learner) if not name.startswith("visual.")} == {"head"}
    assert torch.equal(learner.head.weight, base.head.weight)
    assert method.finish(base.weights(), learner.weights()).keys() == base.weights().keys()
