"""Adjusted p-values against their textbook definitions, brute force and simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetcheck.retention.statistics.multiplicity import false_discovery, holm, step_down
from forgetcheck.retention.statistics.paired import mcnemar


def naive_holm(values):
    ranked, adjusted, largest = sorted(range(len(values)), key=values.__getitem__), {}, 0.0
    for rank, index in enumerate(ranked):
        largest = max(largest, (len(values) - rank) * values[index])
        adjusted[index] = min(largest, 1.0)
    return [adjusted[index] for index in range(len(values))]


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_is_the_textbook_step_down(values):
    assert holm(values).tolist() == pytest.approx(naive_holm(values))


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]).tolist() == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.2]).tolist() == [0.2]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_false_discovery_is_the_textbook_step_up(values):
    ranked = sorted(values)
    expected = [
        min(ranked[k] * len(ranked) / (k + 1) for k in range(len(ranked)) if ranked[k] >= value)
        for value in values
    ]
    assert false_discovery(values).tolist() == pytest.approx(np.minimum(expected, 1).tolist())


def exact(lost, changed, blocks=None):
    p = mcnemar(lost, np.asarray(changed) - lost)
    return p, step_down(p, changed, np.ones(len(p), bool), blocks or [""] * len(p))


def brute_force(lost, changed):
    """Enumerate every outcome of the coin flips of all questions at once (few changed answers only)."""
    p = mcnemar(lost, np.asarray(changed) - lost)
    order, adjusted, largest = np.argsort(p, kind="stable"), np.empty(len(p)), 0.0
    for step, index in enumerate(order):
        left = order[step:]
        hit = total = 0
        for flips in itertools.product(*(range(2 ** changed[i]) for i in left)):
            ones = [bin(flip).count("1") for flip in flips]
            smallest = min(mcnemar(one, changed[i] - one) for one, i in zip(ones, left, strict=True))
            hit, total = hit + (smallest <= p[index] * (1 + 1e-12)), total + 1
        largest = max(largest, hit / total)
        adjusted[index] = largest
    return adjusted


@pytest.mark.parametrize(
    ("lost", "changed"), [([3, 2], [3, 4]), ([4, 0, 1], [4, 2, 1]), ([2, 2, 2], [2, 2, 3]), ([0, 0], [0, 3])]
)
def test_it_is_exactly_the_chance_of_the_smallest_p_value(lost, changed):
    _, adjusted = exact(lost, changed)
    np.testing.assert_allclose(adjusted, brute_force(lost, changed), rtol=1e-9)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=12))
def test_it_lies_between_the_raw_and_holms_p_value(counts):
    lost, gained = (np.array(column) for column in zip(*counts, strict=True))
    p, adjusted = exact(lost, lost + gained)
    assert (adjusted >= p - 1e-15).all()
    assert (adjusted <= holm(p) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


def test_concepts_with_few_changes_do_not_get_in_the_way():
    """Three changed answers can never be significant: a hundred such concepts cost nothing."""
    p, adjusted = exact([12, *[2] * 100], [12, *[3] * 100])
    assert adjusted[0] == pytest.approx(p[0])
    assert holm(p)[0] == pytest.approx(101 * p[0])


@pytest.mark.parametrize("off", [-1e-13, 1e-13])
def test_a_p_value_that_is_off_in_its_last_digits_is_the_same(off):
    p = (1 + off) / 64
    adjusted = step_down([p, 1.0], [6, 6], [True, True], ["", ""])
    assert adjusted[0] == pytest.approx(1 - (1 - 1 / 64) ** 2)


def test_blocks_are_summed_because_they_may_depend_on_each_other():
    _, together = exact([6, 6], [6, 6])
    _, apart = exact([6, 6], [6, 6], ["a", "b"])
    assert together[0] == pytest.approx(1 - (1 - 1 / 64) ** 2)
    assert apart[0] == pytest.approx(2 / 64)


def test_inexact_questions_beside_exact_ones_count_in_full():
    p = [0.001, 1 / 64]
    adjusted = step_down(p, [0, 6], [False, True], ["", ""])
    assert adjusted.tolist() == pytest.approx([0.001, 1 / 64])  # six coins cannot be as rare as 0.001
    adjusted = step_down([0.02, 1 / 64], [0, 6], [False, True], ["", ""])
    assert adjusted.tolist() == pytest.approx([2 / 64, 2 / 64])


def test_what_a_question_could_never_come_to_is_not_added():
    """Beside one p of 0.02, questions that reach 0.1 at best cost nothing, and those that reach 0.01 do."""
    p, inexact = [0.02, 0.5, 0.6], np.zeros(3, dtype=bool)
    for least, first in (([0.0, 0.0, 0.0], 0.06), ([0.01, 0.1, 0.1], 0.02), ([0.01, 0.01, 0.1], 0.04)):
        adjusted = step_down(p, np.zeros(3), inexact, np.zeros(3), least)
        assert adjusted[0] == pytest.approx(first)
        assert adjusted[2] == pytest.approx(1.0)  # at that p all are within reach
    assert step_down(p, np.zeros(3), inexact, np.zeros(3)).tolist() == holm(p).tolist()


def test_when_nothing_changes_a_false_claim_is_as_rare_as_promised():
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(1000):
        changed = rng.binomial(100, 0.06, size=20)
        lost = rng.binomial(changed, 0.5)
        alarms += exact(lost, changed)[1].min() < 0.05
    assert 0.005 < alarms / 1000 < 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5


def test_of_nothing_there_is_nothing():
    assert step_down([], [], [], []).tolist() == []
    assert false_discovery([]).tolist() == []
