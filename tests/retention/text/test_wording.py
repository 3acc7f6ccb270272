"""Numbers and verdicts as words."""

from dataclasses import replace

import pytest
from planted import full_report, make_answers, make_judged

from forgetcheck.retention.gate import Outcome
from forgetcheck.retention.text.wording import demand, sentence
from forgetcheck.text import beside, counted, percent, points

GOOD = {"cat": (499, 1, 0, 0), "dog": (500, 0, 0, 0)}
THIN = {"cat": (40, 1, 0, 0), "dog": (40, 0, 0, 0)}
UNKNOWN = {"cat": (10, 0, 0, 10), "dog": (10, 0, 0, 10)}


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.123, "+12.3"), (-0.123, "−12.3"), (0, "0.0"), (-0.0001, "0.0"), (0.0004, "0.0"), (1, "+100.0")],
)
def test_points_are_signed_but_for_zero(fraction, text):
    assert points(fraction) == text


def test_one_of_a_thing_is_no_plural():
    assert [counted(number, "task") for number in (0, 1, 2000)] == ["0 tasks", "1 task", "2,000 tasks"]
    assert [counted(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]


@pytest.mark.parametrize(
    ("value", "limit", "text"),
    [
        (0.05, 0.02, "5.0"),
        (0.0204, 0.02, "2.04"),
        (0.02000001, 0.02, "2.000001"),
        (0.02, 0.02, "2.0"),
        (0.8996, 0.9, "89.96"),
        (-0.01, 0.02, "−1.0"),
        (-0.0002, 0.02, "0.0"),
        (0.0, -0.0001, "0.0"),
    ],
)
def test_a_value_is_never_rounded_onto_its_limit(value, limit, text):
    assert beside(value, limit) == text


def test_percent():
    assert percent(0.98765) == "98.8 %"


def test_the_sentence_says_what_failed_first():
    said = sentence(full_report())
    assert said.startswith(
        "NOT passed: 5 of 23 demands failed; first: shape / circle (naive, zero-shot): drop 50.0 points ["
    )
    assert "\n" not in said


def test_the_sentence_of_a_pass_owns_up_to_doubt():
    assert sentence(make_judged(make_answers(GOOD))) == "passed: 2 of 2 demands met."
    thin = make_judged(make_answers(GOOD), make_answers(THIN, task="few"), make_answers(UNKNOWN, task="fog"))
    assert sentence(thin) == (
        "passed: 2 of 4 demands met, 1 unsure (more images would tell), 1 never known to the base."
    )
    strict = make_judged(make_answers(GOOD), make_answers(THIN, task="few"), when_unsure="fail")
    assert sentence(strict) == "NOT passed: 1 of 3 demands unsure, and the policy fails those."


def test_the_ends_of_an_interval_are_not_rounded_onto_the_limit_either():
    """All of a sentence has as many digits as it takes."""
    check = replace(full_report().checks[0], value=0.0604, low=0.020004, high=0.1)
    assert "drop 6.0400 points [2.0004, 10.0000], limit 2" in demand(check)


def test_the_sentence_of_nothing():
    assert "nothing was measured" in sentence(make_judged(make_answers(UNKNOWN)))
    assert "nothing was measured" in sentence(replace(make_judged(make_answers(GOOD)), checks=()))


def test_every_demand_is_said_with_its_limit_and_interval():
    said = {check.demand: demand(check) for check in full_report().checks if check.outcome is not Outcome.MET}
    assert said["must_forget"] == (
        "face / ann (naive, zero-shot): accuracy 90.0 % [82.4, 95.1], demanded at most 60 %"
    )
    assert said["max_mean_drop"].startswith("mean of 2 tasks (naive, zero-shot): drop 16.8 points [")
    assert said["asked"] == "texture (naive, linear) could not be asked: class 'lines' has no train images"
    target = next(check for check in full_report().checks if check.demand == "min_target_accuracy")
    assert demand(target).endswith("demanded at least 90 %")
