"""Logistic regression: scikit-learn's optimum, also where data are few or separable; deterministic."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from forgetcheck.probes import logistic
from forgetcheck.probes.logistic import (
    GRADIENT_TOLERANCE,
    Step,
    accuracy,
    curvature_ratio,
    fit_logistic,
    fit_path,
    line_search,
    prepare,
)

STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def embed(labels, dims, spread=1.0, seed=0):
    """Make embeddings as CLIP's are: of length one, around a common direction, in classes that overlap."""
    generator = torch.Generator().manual_seed(seed)
    centres = spread * torch.randn(int(labels.max()) + 1, dims, generator=generator)
    noise = torch.randn(len(labels), dims, generator=generator)
    return F.normalize(1.5 * dims**0.5 * torch.eye(dims)[0] + centres[labels] + noise, dim=1)


def deal(counts):
    return torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])


SETS = {
    "as many": (deal([48] * 5), 12),
    "fewer images than dimensions": (deal([8] * 5), 96),
    "many more images than dimensions": (deal([1500] * 4), 6),
    "one sample of a class": (deal([60, 40, 1]), 12),
    "skewed": (deal([400, 20, 5]), 24),
}


@pytest.fixture(params=SETS)
def made(request):
    labels, dims = SETS[request.param]
    return embed(labels, dims), labels


def oracle(rows, labels, strength):
    fit = LogisticRegression(C=1 / (len(rows) * strength), tol=1e-10, max_iter=100_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the last digits can be out of its reach
        return fit.fit(rows.double().numpy(), labels.numpy())


def objective(rows, labels, weight, bias, strength):
    loss = F.cross_entropy(rows.double() @ weight.T + bias, labels)
    return loss + strength / 2 * weight.square().sum()


@pytest.mark.parametrize("strength", [1e-1, 1e-3, 1e-5])
def test_it_agrees_with_scikit_learn(made, strength):
    rows, labels = made
    fit = fit_logistic(prepare(rows, labels, int(labels.max()) + 1), strength)
    expected = oracle(rows, labels, strength).predict_proba(rows.double().numpy())
    assert fit.converged
    assert np.abs(fit.logits(rows).softmax(dim=1).numpy() - expected).max() < 5e-3


@pytest.mark.parametrize("strength", [1e-1, 1e-2, 1e-3])
def test_its_weights_are_as_near_to_the_optimum_as_the_gradient_promises(made, strength):
    """The objective is `strength`-convex in the weights: their distance is at most |gradient| / strength."""
    rows, labels = made
    fit = fit_logistic(prepare(rows, labels, int(labels.max()) + 1), strength)
    best = torch.from_numpy(oracle(rows, labels, strength).coef_)
    entries = fit.weight.numel() + fit.bias.numel()
    assert (fit.weight - best).norm() <= 1.01 * entries**0.5 * fit.gradient / strength


@pytest.mark.parametrize("strength", [1e-2, 1e-4, 1e-6])
def test_its_gradient_is_that_of_the_objective_in_float64(made, strength):
    rows, labels = made
    fit = fit_logistic(prepare(rows, labels, int(labels.max()) + 1), strength)
    weight, bias = fit.weight.clone().requires_grad_(), fit.bias.clone().requires_grad_()
    objective(rows, labels, weight, bias, strength).backward()
    largest = max(weight.grad.abs().max().item(), bias.grad.abs().max().item())
    assert fit.gradient == pytest.approx(largest, rel=1e-6)
    assert largest <= GRADIENT_TOLERANCE


def test_a_path_ends_near_enough_to_every_optimum(made):
    rows, labels = made
    for strength, table in zip(
        STRENGTHS, fit_path(prepare(rows, labels, int(labels.max()) + 1), STRENGTHS), strict=True
    ):
        best = oracle(rows, labels, strength)
        weight, bias = torch.from_numpy(best.coef_), torch.from_numpy(best.intercept_)
        least = objective(rows, labels, weight, bias, strength)
        found = objective(rows, labels, table[:, :-1].double(), table[:, -1].double(), strength)
        assert found - least < 5e-4  # nats; the gradient tolerance alone leaves 2e-4 at the weakest


def test_a_start_changes_the_way_and_not_the_answer():
    labels = deal([60] * 4)
    data = prepare(embed(labels, 12), labels, 4)
    cold = fit_logistic(data, 1e-3)
    warm = fit_logistic(data, 1e-3, fit_path(data, STRENGTHS)[2])
    assert warm.iterations < cold.iterations
    torch.testing.assert_close(warm.weight, cold.weight, atol=0.05, rtol=0)


def test_it_comes_out_the_same_to_the_bit_without_chance(made):
    rows, labels = made
    fits = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        data = prepare(rows.clone(), labels, int(labels.max()) + 1)
        fits.append(fit_logistic(data, 1e-4, fit_path(data, STRENGTHS)[3]))
    assert torch.equal(fits[0].weight, fits[1].weight)
    assert torch.equal(fits[0].bias, fits[1].bias)
    assert not torch.equal(fits[0].weight, fit_logistic(data, 1e-3).weight)


def test_separable_classes_converge_at_every_strength():
    labels = deal([20] * 3)
    data = prepare(embed(labels, 32, spread=20), labels, 3)
    for strength in STRENGTHS:
        fit = fit_logistic(data, strength)
        assert fit.converged
        assert (fit.logits(data.rows[:, :-1]).argmax(dim=1) == labels).all()


def test_a_class_that_no_row_has_gets_no_row():
    labels = deal([30, 0, 30, 30, 0])
    data = prepare(embed(labels, 12), labels, 5)
    fit = fit_logistic(data, 1e-3)
    assert fit.converged
    assert fit.logits(data.rows[:, :-1]).softmax(dim=1)[:, [1, 4]].max() < 1e-3


def test_float64_ends_what_float32_cannot():
    """Far from zero, what tells these embeddings apart is in digits that float32 doesn't have."""
    labels = deal([60] * 4)
    rows = embed(labels, 12).double() + 300
    fit = fit_logistic(prepare(rows, labels, 4), 1e-2)
    near = fit_logistic(prepare(rows - 300, labels, 4), 1e-2)
    assert fit.converged
    torch.testing.assert_close(fit.weight, near.weight, atol=2e-2, rtol=0)


def test_few_passes_do_where_the_embeddings_share_a_direction(monkeypatch):
    """scikit-learn's L-BFGS takes 217 steps for the six, each a pass over the rows and more."""
    passes = []
    probabilities = logistic.probabilities
    monkeypatch.setattr(logistic, "probabilities", lambda *given: passes.append(1) or probabilities(*given))
    labels = torch.arange(1000) % 10
    data = prepare(embed(labels, 128, spread=0.4), labels, 10)
    fit_path(data, STRENGTHS)
    assert len(passes) < 70


def test_blocks_bound_the_memory_and_change_rounding_only(monkeypatch):
    labels = torch.arange(300) % 5
    data = prepare(embed(labels, 24, spread=0.4), labels, 5)
    whole, path = fit_logistic(data, 1e-3), fit_path(data, STRENGTHS)
    monkeypatch.setattr(logistic, "BLOCK", 5 * 64)
    held = []
    probabilities = logistic.probabilities
    monkeypatch.setattr(
        logistic, "probabilities", lambda *given: held.append(given[0].shape[0]) or probabilities(*given)
    )
    monkeypatch.setattr(logistic, "SAMPLED", 1)
    pieces = fit_logistic(data, 1e-3)
    assert max(held) == 64
    torch.testing.assert_close(pieces.weight, whole.weight, atol=2e-2, rtol=0)
    assert pieces.converged
    assert accuracy(data, path[2]) == pytest.approx(
        float((probabilities(data.rows, path[2]).argmax(0) == labels).float().mean())
    )


def test_accuracy_is_the_share_of_rows_that_are_right():
    labels = deal([10, 10])
    data = prepare(F.one_hot(labels, 2).float(), labels, 2)
    right = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    assert accuracy(data, right) == 1
    assert accuracy(data, right.flip(0)) == 0
    assert accuracy(data.part(labels == 1), torch.tensor([[0.0, 0, 0], [0, 0, 1]])) == 1


@pytest.mark.parametrize("length", [0.01, 1.0, 8.0, 1000.0])
def test_a_walk_ends_where_it_is_flatter_whether_it_started_long_or_short(length):
    """Of half the square: its gradient is the place itself."""
    place, gradient = line_search(lambda place: place, torch.ones(1, 1), -length * torch.ones(1, 1), -length)
    assert torch.equal(place, gradient)
    assert -0.5 <= place.item() <= 0.9


def test_a_walk_along_which_nothing_changes_is_given_up():
    assert line_search(lambda place: torch.ones(1, 1), torch.zeros(1, 1), -torch.ones(1, 1), -1.0) is None


def test_a_step_says_how_many_times_as_curved_it_was():
    moved = torch.tensor([[1.0, 2.0]])
    assert curvature_ratio(Step(moved, 3 * moved), lambda given: given) == pytest.approx(3)
    assert curvature_ratio(Step(moved, moved / 3), lambda given: given) == 1
