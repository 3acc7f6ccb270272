"""What a battery can show: which questions are too thin, against the same arithmetic as an audit's."""

import math

import pytest

from forgetcheck.retention.planning import CHURN, enough, few_images, smallest_drop, thin_questions
from forgetcheck.retention.policy import Policy, Rule
from forgetcheck.retention.statistics.power import detectable, provable

NAMES = ("cat", "dog", "emu")


def thin(counts, **policy):
    return thin_questions("pets", NAMES, counts, Policy(**policy))


def test_enough_images_are_not_thin():
    assert thin([500, 500, 500]) == []


def test_too_few_for_the_task():
    (question,) = thin([100, 100, 100])
    assert (question.concept, question.n, question.limit) == (None, 300, 0.02)
    assert question.provable == pytest.approx(float(provable(300, CHURN, 0.95)))
    assert question.detectable == pytest.approx(float(detectable(300, CHURN, 0.02, 0.025)[0]))
    assert question.enough == enough(0.02, 0.95) == 1300


def test_concepts_count_where_a_rule_gates_them():
    rules = [Rule(match="pets/d*", max_drop=0.1), Rule(match="pets/emu", weight=2.0)]
    (question,) = thin([2000, 20, 20], concepts=rules)
    assert (question.concept, question.n, question.limit) == ("dog", 20, 0.1)
    assert thin([2000, 100, 20], concepts=rules) == []


def test_the_tightest_probe_decides():
    rules = [Rule(match="pets", max_drop=0.3), Rule(match="pets", probe="linear", max_drop=0.05)]
    (question,) = thin([20, 20, 20], concepts=rules)
    assert question.limit == 0.05


@pytest.mark.parametrize(
    "rule",
    [Rule(match="pets", ignore=True), Rule(match="pets", must_forget=True, max_accuracy=0.1)],
)
def test_what_is_not_held_to_a_drop_is_never_thin(rule):
    assert thin([5, 5, 5], concepts=[rule]) == []


def test_a_concept_without_images_is_left_to_others():
    assert thin([2000, 0, 2000], concepts=[Rule(match="pets/dog", max_drop=0.1)]) == []


def test_how_many_would_do():
    number = enough(0.05, 0.95)
    assert provable(number, CHURN, 0.95) <= 0.05 < provable(number / 1.3, CHURN, 0.95)
    assert enough(0.0, 0.95) is None


def test_no_drop_is_found_in_a_handful():
    assert math.isnan(smallest_drop(3, 0.0, Policy()))
    assert smallest_drop(2000, 0.0, Policy()) < 0.02


def test_the_fewest_come_first_and_none_at_all_is_not_few():
    assert list(few_images(NAMES, [12, 0, 3], 30)) == [("emu", 3), ("cat", 12)]
    assert list(few_images(NAMES, [30, 31, 99], 30)) == []
