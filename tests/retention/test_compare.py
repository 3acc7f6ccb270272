"""From paired answers to rows: counts, drops, intervals, chance."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import fisher_exact

from forgetcheck.errors import InputError
from forgetcheck.retention.answers import Predictions
from forgetcheck.retention.compare import compare


def test_the_task_comes_first_then_its_concepts(answers):
    rows = list(compare([answers({"cat": (20, 5, 2, 3), "dog": (9, 0, 1, 0)})], 0.95))
    assert [(row.concept, row.n, row.lost, row.gained) for row in rows] == [
        (None, 40, 5, 3),
        ("cat", 30, 5, 2),
        ("dog", 10, 0, 1),
    ]
    assert [row.base for row in rows] == [34 / 40, 25 / 30, 9 / 10]
    assert [row.tuned for row in rows] == [32 / 40, 22 / 30, 10 / 10]
    assert [row.drop for row in rows] == [2 / 40, 3 / 30, -1 / 10]


def test_drop_is_base_minus_tuned_and_inside_its_interval(answers):
    for row in compare([answers({"cat": (20, 5, 2, 3), "dog": (9, 0, 1, 0), "owl": (0, 7, 0, 0)})], 0.95):
        assert row.drop == pytest.approx(row.base - row.tuned)
        assert row.low <= row.drop <= row.high


def test_the_same_answers_are_a_drop_of_exactly_zero(answers):
    for row in compare([answers({"cat": (40, 0, 0, 5), "dog": (31, 0, 0, 2)})], 0.95):
        assert row.drop == 0.0
        assert -row.low == pytest.approx(row.high) != 0  # the sample could have missed a change


def test_the_same_weights_leave_no_doubt(answers):
    for row in compare([answers({"cat": (40, 0, 0, 5), "dog": (31, 0, 0, 2)}, identical=True)], 0.95):
        assert (row.drop, row.low, row.high) == (0.0, 0.0, 0.0)


def test_a_concept_without_samples_is_left_out(answers):
    rows = list(compare([answers({"cat": (40, 1, 0, 0), "yeti": (0, 0, 0, 0), "dog": (30, 0, 0, 1)})], 0.95))
    assert [row.concept for row in rows] == [None, "cat", "dog"]


def test_a_task_without_samples_is_refused(answers):
    nothing, reply = np.empty(0, np.int32), Predictions(np.empty(0, np.int32), np.empty(0, np.float32))
    empty = replace(answers({"cat": (1, 0, 0, 0)}), labels=nothing, base=reply, tuned=reply)
    with pytest.raises(InputError, match="'shape' has no test samples"):
        compare([empty], 0.95)


def test_the_order_of_samples_does_not_matter(answers):
    item = answers({"cat": (20, 5, 2, 3), "dog": (9, 0, 1, 0), "owl": (3, 3, 3, 3)})
    order = np.random.default_rng(0).permutation(len(item.labels))
    shuffled = replace(
        item, labels=item.labels[order], base=taken(item.base, order), tuned=taken(item.tuned, order)
    )
    assert list(compare([shuffled], 0.95)) == list(compare([item], 0.95))


def taken(said, order):
    return Predictions(said.label[order], said.confidence[order], said.notes)


def test_naming_the_commonest_class_is_chance(answers):
    row = next(iter(compare([answers({"cat": (90, 0, 0, 0), "dog": (0, 0, 0, 10)})], 0.95)))
    assert row.base == 0.9
    assert row.chance_p > 0.4


def test_answering_dog_to_everything_is_not_knowing_dogs(answers):
    """The base is right for every dog and named 'dog' for every cat too."""
    _, cat, dog = compare([answers({"cat": (0, 0, 0, 50), "dog": (50, 0, 0, 0)})], 0.95)
    assert cat.chance_p == 1.0
    assert dog.chance_p == 1.0


def test_a_class_that_is_named_seldom_but_where_it_is_is_known(answers):
    """The base says 'dog' of three of 110 samples, and all are dogs: that is Fisher's exact test."""
    task, cat, dog = compare([answers({"cat": (100, 0, 0, 0), "dog": (3, 0, 0, 7)})], 0.95)
    expected = fisher_exact([[3, 0], [7, 100]], alternative="greater").pvalue
    assert (task.chance_p, cat.chance_p, dog.chance_p) == pytest.approx((expected,) * 3)


def test_a_good_base_is_better_than_chance(answers):
    assert all(
        row.chance_p < 1e-9 for row in compare([answers({"cat": (40, 1, 0, 1), "dog": (45, 0, 0, 1)})], 0.95)
    )


@pytest.mark.parametrize(
    ("n", "expected"), [(29, ("only 29 samples: no small drop can be shown",)), (30, ())]
)
def test_few_samples_show_no_small_drop(answers, n, expected):
    _, cat, _ = compare([answers({"cat": (n, 0, 0, 0), "dog": (40, 0, 0, 0)})], 0.95)
    assert cat.warnings == expected


def test_the_question_stays_with_its_rows(answers):
    item = answers({"cat": (3, 0, 0, 0), "dog": (40, 0, 0, 0)}, "run-7", "pets", "linear", target=True)
    for row in compare([replace(item, warnings=("did not converge",))], 0.95):
        assert (row.checkpoint, row.task, row.probe, row.target) == ("run-7", "pets", "linear", True)
        assert row.warnings[0] == "did not converge"


def test_many_questions_at_once_equal_one_at_a_time(answers):
    items = [
        answers({"cat": (20, 5, 2, 3), "dog": (9, 0, 1, 0)}),
        answers({"owl": (5, 1, 0, 2)}, task="bird"),
    ]
    assert compare(items, 0.9) == [row for item in items for row in compare([item], 0.9)]
    assert compare([], 0.9) == []


def test_confusions_are_the_new_wrong_answers_most_first(answers):
    item = answers({"cat": (5, 5, 0, 3), "dog": (9, 0, 1, 0), "owl": (9, 2, 0, 0)})
    item.tuned.label[5] = 2  # one of the lost cats is an owl now
    task, cat, dog, owl = compare([item], 0.95)
    assert cat.confused == (("dog", 4), ("owl", 1))  # not the three that were wrong before
    assert (dog.confused, owl.confused, task.confused) == ((), (("cat", 2),), ())


def test_calibration_is_of_whole_tasks(answers):
    """Right answers are given with 0.9, wrong ones with 0.4."""
    task, cat, dog = compare([answers({"cat": (60, 10, 0, 0), "dog": (30, 0, 0, 0)})], 0.95)
    assert task.calibration[:2] == pytest.approx((0.1, (90 * 0.1 + 10 * 0.4) / 100))
    assert cat.calibration is None
    assert dog.calibration is None
