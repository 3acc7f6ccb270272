"""Linear heads: prompts ensembled as published, logistic regression against scikit-learn."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from forgetcheck.clip import heads
from forgetcheck.clip.heads import GRADIENT_TOLERANCE, class_embeddings, fit_logistic, prompt_head


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(240) % 5
    centres = torch.randn(5, 12, generator=generator)
    noise = torch.randn(240, 12, generator=generator)
    return F.normalize(centres[labels] + noise, dim=1), labels


def test_class_embeddings_are_normalised_means_of_prompts(vit):
    found = class_embeddings(vit, ["cat", "dog"], ["a {}", "the {}"])
    with torch.no_grad():
        one = F.normalize(vit.read(["a dog", "the dog"]).mean(0), dim=0)
    torch.testing.assert_close(found[1], one)
    assert found.shape == (2, 16)


def test_a_prompt_head_gives_zero_shot_logits(vit, images):
    head = prompt_head(vit, ["cat", "dog"], ["a {}"])
    with torch.no_grad():
        seen = vit.see(images)
        expected = vit.scale * seen @ class_embeddings(vit, ["cat", "dog"], ["a {}"]).T
        torch.testing.assert_close(head(seen), expected)


def test_a_class_name_with_braces_is_only_a_name(vit):
    assert class_embeddings(vit, ["{0} {x}"], ["a {}"]).shape == (1, 16)


@pytest.mark.parametrize("strength", [1e-1, 1e-3, 1e-5])
def test_logistic_regression_agrees_with_scikit_learn(features, strength):
    rows, labels = features
    fit = fit_logistic(rows, labels, 5, strength)
    oracle = LogisticRegression(C=1 / (len(rows) * strength), tol=1e-10, max_iter=100_000)
    oracle.fit(rows.double().numpy(), labels.numpy())
    expected = oracle.predict_proba(rows.double().numpy())
    found = fit.logits(rows).softmax(dim=1).numpy()
    assert np.abs(found - expected).max() < 5e-3
    assert (found.argmax(1) == expected.argmax(1)).all()


def test_logistic_regression_reaches_its_tolerance_without_chance(features):
    rows, labels = features
    torch.manual_seed(1)
    first = fit_logistic(rows, labels, 5, 1e-4)
    torch.manual_seed(2)
    second = fit_logistic(rows, labels, 5, 1e-4)
    assert first.converged
    assert first.gradient <= GRADIENT_TOLERANCE
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)


def test_logistic_regression_in_blocks_is_that_of_the_whole(features, monkeypatch):
    whole = fit_logistic(*features, classes=5, strength=1e-3)
    monkeypatch.setattr(heads, "TABLE", 5 * 97)  # images at a time, not a divisor of 240
    blocks = fit_logistic(*features, classes=5, strength=1e-3)
    torch.testing.assert_close(blocks.weight, whole.weight, rtol=0, atol=1e-6)
    assert blocks.converged
