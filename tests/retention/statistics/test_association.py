"""Knowing and guessing: against scipy's exact tests, bases that guess, and clusters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from forgetcheck.retention.statistics.association import association_p, knowledge_p

pytestmark = pytest.mark.slow


def asked(labels, answers, classes=None, groups=None):
    labels, answers = np.asarray(labels, np.int32), np.asarray(answers, np.int32)
    named = answers if answers.ndim == 2 else answers[:, None]
    return knowledge_p(labels, named, classes or int(max(labels.max(), named.max())) + 1, groups)


@given(st.integers(1, 300), st.data())
def test_the_association_of_a_class_is_fishers_exact_test(n, data):
    are, said = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    hits = data.draw(st.integers(max(0, are + said - n), min(are, said)))
    expected = hypergeom.sf(hits - 1, n, are, said)
    assert association_p(hits, said, are, n)[0] == pytest.approx(expected, rel=1e-9, abs=1e-14)


def test_many_classes_at_once_equal_one_at_a_time():
    table = np.array([[3, 7, 6, 300], [290, 293, 294, 300], [0, 5, 5, 40], [5, 5, 5, 40]])
    together = association_p(*table.T)
    assert together.tolist() == [association_p(*row)[0] for row in table]


def test_a_base_that_tells_a_rare_class_from_a_common_one_knows_both():
    """Right for 290 of 294 and 3 of 6: Fisher's exact test says p = .00015."""
    labels = np.repeat([0, 1], [294, 6])
    answers = np.repeat([0, 1, 1, 0], [290, 4, 3, 3])
    assert asked(labels, answers) == pytest.approx([hypergeom.sf(2, 300, 6, 7)] * 3)
    perfect = np.repeat([0, 1], [40, 2])
    assert (asked(perfect, perfect) < 0.002).all()


@pytest.mark.parametrize("answers", [[0] * 60, [0] * 30 + [1] * 30])
def test_one_answer_to_everything_or_the_same_mix_is_no_knowledge(answers):
    """The mix: one half of each class is called a cat, the other a dog."""
    labels = np.tile(np.repeat([0, 1], 15), 2)
    assert (asked(labels, answers, 2) > 0.4).all()


def test_a_class_without_samples_is_not_known():
    assert asked([0, 0, 1, 1], [0, 0, 1, 1], 3)[3] == 1.0


@pytest.mark.parametrize(
    ("share", "said"),
    [
        ((0.1,) * 10, (0.1,) * 10),
        ((0.1,) * 10, (0.82, *(0.02,) * 9)),
        ((0.98, 0.02), (0.97, 0.03)),
        ((0.49, 0.49, 0.02), (0.49, 0.49, 0.02)),
        ((0.96, 0.02, 0.02), (0.95, 0.02, 0.03)),
    ],
)
@pytest.mark.parametrize("size", [1, 4])
def test_a_base_that_guesses_is_taken_for_one_that_knows_in_one_case_of_twenty(share, said, size):
    """Whatever its habits, and however the samples come in clusters; of 800 bases at most 5 % + 2 errors."""
    rng, known = np.random.default_rng(3), np.zeros(2)
    for _ in range(800):
        labels = np.repeat(rng.choice(len(share), 240 // size, p=share), size)
        answers = np.repeat(rng.choice(len(said), 240 // size, p=said), size)
        groups = None if size == 1 else np.repeat(np.arange(240 // size), size).astype(np.int32)
        known += asked(labels, answers, len(share), groups)[[0, -1]] <= 0.05
    assert (known / 800 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 800)).all()


def test_a_little_knowledge_of_many_classes_is_found():
    """One answer in ten is seen, the others are guessed: no single class shows it, together they do."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 100, 2000)
    answers = np.where(rng.random(2000) < 0.1, labels, rng.integers(0, 100, 2000))
    assert asked(labels, answers, 100)[0] < 1e-9


def test_copies_add_no_knowledge():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 4, 60)
    answers = np.where(rng.random(60) < 0.4, labels, rng.integers(0, 4, 60))
    alone = asked(labels, answers, 4)
    groups = np.repeat(np.arange(60), 3).astype(np.int32)
    assert asked(np.repeat(labels, 3), np.repeat(answers, 3), 4, groups) == pytest.approx(alone, rel=1e-6)


def test_the_order_of_the_samples_changes_nothing():
    rng = np.random.default_rng(4)
    labels, groups = rng.integers(0, 5, 200), rng.integers(0, 40, 200).astype(np.int32)
    answers = np.where(rng.random(200) < 0.3, labels, rng.integers(0, 5, 200))
    order = rng.permutation(200)
    first = asked(labels, answers, 5, groups)
    assert asked(labels[order], answers[order], 5, groups[order]).tolist() == first.tolist()


def test_an_answer_that_names_five_classes_is_right_by_luck_more_often():
    """Five of a hundred without looking are right in 5 %, which is no knowledge; a quarter seen is."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 100, 1000)
    named = np.stack([rng.permutation(100)[:5] for _ in labels])
    assert asked(labels, named, 100)[0] > 0.05
    seen = rng.random(1000) < 0.25
    named[seen, 0] = labels[seen]
    assert asked(labels, named, 100)[0] < 1e-9
