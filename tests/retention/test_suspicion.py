"""Is it the comparison that was meant: the same weights twice, base and tuned swapped."""

import pytest
from planted import make_answers

from forgetcheck.retention.answers import Audit
from forgetcheck.retention.gate import IDENTICAL, Outcome
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import make_report
from forgetcheck.retention.text.wording import sentence

KEPT = {"cat": (480, 10, 10, 0), "dog": (490, 5, 5, 0)}
BETTER = {"cat": (380, 5, 110, 5), "dog": (390, 5, 105, 0)}
TWO = {"visual": "ab", "text": "cd"}


def report(*answers, base=None, tuned=None, policy=None, gated=True):
    facts = {"base": base or {}, "tuned": {"tuned": tuned or {}}}
    return make_report(Audit(answers, facts), policy or Policy(), gated)


def twice(**fields):
    return [
        make_answers({"cat": (40, 0, 0, 5), "dog": (45, 0, 0, 2)}, task=name, identical=True, **fields)
        for name in ("shape", "colour")
    ]


def test_the_base_itself_fails_a_policy_and_is_said_first():
    found = report(*twice(), base={"digest": TWO}, tuned={"digest": TWO})
    assert not found.passed
    assert [(check.demand, check.outcome) for check in found.failures()] == [(IDENTICAL, Outcome.FAILED)]
    assert sentence(found).startswith("tuned is the base itself: all its weights are the same")
    assert "allow_identical = true" in sentence(found)


def test_a_policy_may_allow_the_base_itself_and_it_is_still_said():
    found = report(*twice(), policy=Policy(allow_identical=True))
    assert found.passed
    assert sentence(found).startswith("tuned is the base itself")


def test_without_a_policy_it_is_said_and_gates_nothing():
    assert sentence(report(*twice(), gated=False)).startswith("tuned is the base itself")


def test_one_tower_that_is_the_base_s_is_not_the_base():
    """An audit that asked the image tower only, of a checkpoint whose text tower was tuned."""
    found = report(*twice(probe="linear"), base={"digest": TWO}, tuned={"digest": {**TWO, "text": "ef"}})
    assert found.passed
    assert "is the base itself" not in sentence(found)
    assert "every single answer of the base" in sentence(found)


def test_a_head_on_the_towers_of_the_base_is_not_the_base():
    own = make_answers(BETTER, task="digits", probe="head", target=True)
    found = report(*twice(), own, base={"digest": TWO}, tuned={"digest": TWO})
    assert found.passed
    assert "is the base itself" not in sentence(found)


def test_the_same_answers_from_other_weights_are_said():
    found = report(make_answers({"cat": (400, 0, 0, 20), "dog": (450, 0, 0, 9)}))
    assert "tuned gives every single answer of the base" in sentence(found)
    assert found.passed
    assert "every single answer" not in sentence(report(make_answers(KEPT)))


def test_where_everything_rises_somebody_asks():
    found = report(make_answers(BETTER), make_answers(BETTER, task="colour"))
    assert "Every task is answered better than by the base: are base and tuned swapped?" in sentence(found)
    mixed = report(make_answers(BETTER), make_answers(KEPT, task="colour"))
    assert "swapped" not in sentence(mixed)
    target = report(make_answers(BETTER, target=True), make_answers(KEPT, task="colour"))
    assert "swapped" not in sentence(target)


@pytest.mark.parametrize(
    ("base", "tuned", "said"),
    [
        ({"run": {"regularizer": {"spec": "ldifs"}}}, {}, "records a fine-tuning and the other none"),
        ({"lineage": {"base": {"digest": TWO}}}, {"digest": TWO}, "was tuned from the other"),
        ({"epoch": 12}, {"epoch": 0}, "records epoch 12, the other 0"),
        ({"global_step": 5000}, {"epoch": 1, "global_step": 20}, "records global step 5,000, the other 20"),
    ],
)
def test_what_the_files_record_of_their_history_is_believed(base, tuned, said):
    found = report(make_answers(KEPT), base=base, tuned=tuned)
    assert said in sentence(found)
    assert sentence(found).count("are base and tuned swapped?") == 1
    assert "swapped" not in sentence(report(make_answers(KEPT), base=tuned, tuned=base))


def test_a_fine_tuning_that_counts_anew_is_no_swap():
    """A base of 32 epochs, fine-tuned for 3: it forgets, so it is in order."""
    lost = make_answers({"cat": (300, 150, 0, 20), "dog": (300, 150, 0, 9)})
    found = report(lost, base={"epoch": 32}, tuned={"epoch": 3})
    assert "swapped" not in sentence(found)


@pytest.mark.parametrize("facts", [None, 3, "x", {"run": 5, "lineage": [1], "epoch": "late", "digest": 7}])
def test_any_provenance_is_survived(facts):
    audit = Audit((make_answers(KEPT),), {"base": facts, "tuned": facts})
    assert "swapped" not in sentence(make_report(audit, Policy()))
