"""The linear probe: at or above scikit-learn at its best C, and the same for the same embeddings."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from forgetcheck.clip.features.encoded_task import EncodedSplit, EncodedTask
from forgetcheck.probes.linear import PATIENCE, STRENGTHS, Linear
from forgetcheck.probes.logistic import accuracy, fit_logistic, fit_path, prepare
from forgetcheck.probes.resampling import rounds_left_out
from forgetcheck.tasks.drawn import Drawn

pytestmark = pytest.mark.slow

CLASSES = len(Drawn("size").class_names)


def make(train, test, dims, spread, seed=0, shared=1.5):
    """Make a task of embeddings of length one around a common direction, in classes that overlap."""
    generator = torch.Generator().manual_seed(seed)
    common = shared * dims**0.5 * torch.eye(dims)[0]
    centres = spread * torch.randn(CLASSES, dims, generator=generator)

    def draw(size):
        labels = torch.arange(size) % CLASSES
        rows = common + centres[labels] + torch.randn(size, dims, generator=generator)
        return EncodedSplit(F.normalize(rows, dim=1), labels)

    return EncodedTask(Drawn("size"), None, {"train": draw(train), "test": draw(test)})


def sweep(task):
    """Choose C as the probe does, but with scikit-learn's own fits, of which none stops early."""
    rows, labels = task.splits["train"].embeddings.double().numpy(), task.splits["train"].labels.numpy()
    folds = rounds_left_out(task)[0]

    def fit(rows, labels, strength):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the last digits can be out of its reach
            found = LogisticRegression(C=1 / (len(rows) * strength), tol=1e-8, max_iter=20_000)
            return found.fit(rows, labels)

    scores = [
        sum(held.sum() * fit(rows[~held], labels[~held], s).score(rows[held], labels[held]) for held in folds)
        for s in STRENGTHS
    ]
    best = fit(rows, labels, STRENGTHS[int(np.argmax(scores))])
    return best.score(task.splits["test"].embeddings.double().numpy(), task.splits["test"].labels.numpy())


@pytest.mark.parametrize(
    ("train", "dims", "spread"),
    [(120, 160, 0.25), (200, 32, 0.5), (200, 32, 0.25), (1500, 12, 0.4)],
    ids=["fewer images than dimensions", "as CLIP's", "hard", "many more images than dimensions"],
)
def test_it_answers_as_well_as_scikit_learn_at_its_best_c(train, dims, spread):
    tasks = [make(train, 2000, dims, spread, seed) for seed in range(3)]
    ours = [float(np.mean(Linear().answer(t, t).label == t.splits["test"].labels.numpy())) for t in tasks]
    theirs = [sweep(task) for task in tasks]
    assert 1.5 / CLASSES < np.mean(theirs) < 0.99  # neither guessing nor given
    assert np.mean(ours) > np.mean(theirs) - 0.002


def test_equal_embeddings_get_equal_answers_to_the_bit():
    model, same = make(200, 300, 32, 0.5), make(200, 300, 32, 0.5)
    first = Linear().answer(model, model)
    Linear().answer(make(100, 10, 16, 0.5), model)  # nothing is remembered
    second = Linear().answer(same, model)
    assert np.array_equal(first.label, second.label)
    assert np.array_equal(first.confidence, second.confidence)
    assert first.notes == second.notes


def test_it_says_how_it_was_reached():
    model = make(200, 300, 32, 0.5)
    notes = Linear().answer(model, model).notes
    assert notes["converged"] is True
    assert notes["strength"] in STRENGTHS
    tried = list(notes["held_out_accuracy"])
    assert tried == [f"{strength:g}" for strength in STRENGTHS[: len(tried)]]
    assert max(notes["held_out_accuracy"].values()) == notes["held_out_accuracy"][f"{notes['strength']:g}"]
    left = len(tried) - 1 - tried.index(f"{notes['strength']:g}")
    assert left == PATIENCE or len(tried) == len(STRENGTHS)  # weaker ones were no better


def test_cross_validation_is_steadier_than_one_held_out_fifth():
    """Two models that see the same with other noise: what the choice of the strength alone makes of it."""
    folds, fifths = [], []
    for seed in range(12):
        pair = [make(150, 1500, 48, 0.35, seed=100 * seed + k) for k in range(2)]
        folds.append(np.diff([right(Linear().answer(t, t), t) for t in pair])[0])
        fifths.append(np.diff([by_one_fifth(t) for t in pair])[0])
    assert np.std(folds) < np.std(fifths)


def right(said, task):
    return float(np.mean(said.label == task.splits["test"].labels.numpy()))


def by_one_fifth(task):
    """Answer as if the first fold alone had chosen the strength."""
    train, test = task.splits["train"], task.splits["test"]
    data = prepare(train.embeddings, train.labels, CLASSES)
    held = torch.from_numpy(rounds_left_out(task)[0][0])
    tables = fit_path(data.part(~held), STRENGTHS)
    scores = [accuracy(data.part(held), table) for table in tables]
    fit = fit_logistic(data, STRENGTHS[int(np.argmax(scores))])
    return float((fit.logits(test.embeddings).argmax(dim=1) == test.labels).double().mean())


def test_what_other_training_images_would_answer_is_kept():
    model = make(200, 300, 32, 0.5)
    said = Linear().answer(model, model)
    variants = said.variants
    assert (variants.of, variants.left_out) == ("train", pytest.approx(0.2))
    assert variants.bits.shape == (20, 38)
    assert variants.chosen.shape == (100,)
    assert variants.chosen.max() < len(variants.settings)
    own = said.label == model.splits["test"].labels.numpy()
    agree = (variants.right(300) == own).mean()
    assert 0.85 < agree < 1  # near, and not the same
    chosen = list(said.notes["held_out_accuracy"]).index(f"{said.notes['strength']:g}")
    assert (variants.right_by_setting(300)[chosen] == own).mean() > 0.99
    again = Linear().answer(model, model).variants
    assert np.array_equal(again.bits, variants.bits)
    assert np.array_equal(again.chosen, variants.chosen)


def test_one_image_of_each_class_can_not_be_left_out():
    task = make(CLASSES, 100, 64, 0.6, shared=8)
    assert Linear().answer(task, task).variants is None


@pytest.mark.parametrize("shots", [1, 2, 4])
def test_a_few_images_of_each_class_teach_it_too(shots):
    task = make(shots * CLASSES, 2000, 64, 0.6, shared=8)
    said = Linear().answer(task, task)
    rows, labels = (part.numpy() for part in (task.splits["train"].embeddings, task.splits["train"].labels))
    test = task.splits["test"]
    best = max(
        LogisticRegression(C=1 / (len(rows) * strength), max_iter=1000)
        .fit(rows, labels)
        .score(test.embeddings, test.labels)
        for strength in STRENGTHS
    )
    assert np.mean(said.label == test.labels.numpy()) > best - 0.05
    assert all(np.isfinite(score) for score in said.notes["held_out_accuracy"].values())
