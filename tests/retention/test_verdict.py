"""Verdicts on planted losses: one question at a time, and among many."""

from dataclasses import replace

import numpy as np
import pytest

from forgetcheck.retention.compare import compare
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.verdict import Verdict, never_knew


def concepts(report, verdict):
    return {f.retention.concept for f in report.findings if f.verdict is verdict and f.retention.concept}


def verdicts(report):
    return [finding.verdict for finding in report.findings]


@pytest.mark.parametrize("limit", [0, 0.02])
def test_a_model_against_itself_forgets_nothing(answers, judged, limit):
    report = judged(answers({"cat": (20, 0, 0, 5), "dog": (3, 0, 0, 2)}, identical=True), max_drop=limit)
    assert set(verdicts(report)) == {Verdict.RETAINED}
    assert {finding.p for finding in report.findings} == {1.0}
    assert not report.passed  # nothing was compared: that is for a policy to allow
    assert judged(answers({"cat": (20, 0, 0, 5)}, identical=True), allow_identical=True).passed


def test_the_same_answers_of_enough_samples_are_retained(answers, judged):
    report = judged(answers({"cat": (300, 0, 0, 5), "dog": (300, 0, 0, 2)}))
    assert set(verdicts(report)) == {Verdict.RETAINED}


def test_one_lost_concept_is_named_and_no_other(answers, judged):
    kept = dict.fromkeys(("cat", "dog", "owl", "elk"), (60, 0, 0, 0))
    report = judged(answers({**kept, "fox": (0, 60, 0, 0)}), max_drop=0.1)
    assert concepts(report, Verdict.FORGOT) == {"fox"}
    assert concepts(report, Verdict.RETAINED) == set(kept)
    assert report.findings[0].verdict is Verdict.FORGOT  # 20 of 100 on the whole task
    assert not report.passed


def test_a_concept_that_is_shown_to_be_lost_fails_the_policy(answers, judged):
    kept = {str(number): (50, 0, 0, 0) for number in range(50)}
    item = answers({**kept, "fox": (0, 50, 0, 0)})
    report = judged(item, max_drop=0.05)
    assert concepts(report, Verdict.FORGOT) == {"fox"}
    assert [(f.gated, f.watched) for f in report.findings[:2]] == [(True, False), (False, True)]
    assert not report.passed
    assert judged(item, max_drop=0.05, gate_concepts=False).passed


def test_losses_that_cancel_fail_the_policy(answers, judged):
    """One class lost 15 points, the other gained as much: the task itself is retained."""
    item = answers({"a": (850, 150, 0, 0), "b": (850, 0, 150, 0)})
    report = judged(item, max_drop=0.03)
    assert [f.verdict for f in report.findings] == [Verdict.RETAINED, Verdict.FORGOT, Verdict.GAINED]
    assert [check.subject for check in report.failures()] == ["shape / a"]
    assert not report.passed


def test_concepts_of_a_task_with_a_limit_of_its_own_are_held_to_that(answers, judged):
    item = answers({"a": (850, 150, 0, 0), "b": (850, 0, 150, 0)})
    assert judged(item, concepts=[{"match": "shape", "max_drop": 0.2}]).passed
    assert judged(
        answers({"a": (850, 150, 0, 0), "b": (850, 0, 150, 0)}, target=True), max_target_drop=0.2
    ).passed


@pytest.mark.parametrize(
    "counts",
    [
        {"ok": (6, 284, 0, 4), "defect": (3, 0, 3, 0)},  # says "defect" to everything now
        {"ok": (0, 40, 0, 0), "defect": (2, 0, 0, 0)},
    ],
)
@pytest.mark.parametrize("unsure", ["warn", "fail"])
def test_a_collapse_of_what_the_base_knew_is_forgotten(answers, judged, counts, unsure):
    """A rare class makes chance high, but a base that tells it from the common one knows both."""
    report = judged(answers(counts), when_unsure=unsure)
    assert report.findings[0].verdict is Verdict.FORGOT
    assert not report.passed


def test_what_the_base_may_have_guessed_is_lost_but_not_in_silence(answers, judged):
    """The base says 'cat' to everything, the tuned model 'dog'."""
    report = judged(answers({"cat": (0, 95, 0, 0), "dog": (0, 0, 5, 0)}))
    task, cat, _ = report.findings
    assert (task.verdict, task.guessed, cat.verdict) == (Verdict.UNSURE, True, Verdict.UNSURE)
    assert [check.subject for check in report.checks if check.guessed] == ["shape", "shape / cat"]
    assert "may only have guessed" in task.retention.warnings[-1]
    assert not judged(answers({"cat": (0, 95, 0, 0), "dog": (0, 0, 5, 0)}), when_unsure="fail").passed


def test_an_unchanged_pair_gains_nothing_by_luck(answers, judged):
    rng, gained = np.random.default_rng(11), 0
    for _ in range(30):
        rows = rng.multinomial(50, [0.03, 0.03, 0.94], size=100)
        item = answers({str(k): (int(r[2]), int(r[0]), int(r[1]), 0) for k, r in enumerate(rows)})
        gained += len(concepts(judged(item), Verdict.GAINED))
    assert gained == 0  # 2.3 an audit, were each concept alone


def test_a_verdict_does_not_change_with_what_could_never_show_anything(answers, judged):
    """88 classes of three test images each join: too few to be tested among many."""
    item = answers({"fox": (180, 20, 1, 0), "cat": (150, 1, 1, 0)})
    small = answers({str(k): (3, 0, 0, 0) for k in range(88)}, task="small")
    alone, among = judged(item), judged(item, small)
    assert [f.p_adjusted for f in alone.findings[1:3]] == [f.p_adjusted for f in among.findings[1:3]]
    assert alone.findings[1].verdict is Verdict.FORGOT


def test_an_interval_beyond_the_limit_that_is_unsure_is_explained(answers, judged):
    item = answers({"fox": (190, 9, 0, 0), "cat": (190, 0, 0, 0)}, task="lost")
    others = [answers({"a": (90, 1, 1, 0), "b": (90, 0, 0, 0)}, task=f"t {k}") for k in range(60)]
    finding = judged(item, *others, max_drop=0.005).findings[0]
    assert finding.verdict is Verdict.UNSURE
    assert finding.retention.low > 0.005
    assert f"among {finding.tried} questions" in finding.retention.warnings[-1]
    assert finding.tried == 61


def test_what_the_base_never_knew_cannot_be_forgotten(answers, judged):
    report = judged(answers({"cat": (10, 10, 10, 10), "dog": (10, 10, 10, 10)}))
    assert set(verdicts(report)) == {Verdict.NEVER_KNEW}


def test_better_than_the_base_is_gained_even_from_chance(answers, judged):
    report = judged(answers({"cat": (20, 0, 20, 0), "dog": (20, 0, 20, 0)}))
    assert set(verdicts(report)) == {Verdict.GAINED}
    assert report.passed


def test_little_data_is_unsure_not_retained(answers, judged):
    report = judged(answers({"cat": (10, 1, 0, 0), "dog": (10, 0, 0, 0)}))
    assert set(verdicts(report)) == {Verdict.UNSURE}
    assert report.passed  # not shown to have forgotten


def test_one_of_many_concepts_must_be_surer(answers, judged):
    suspect, quiet = {"fox": (86, 14, 0, 0)}, {str(number): (100, 0, 0, 0) for number in range(60)}
    assert concepts(judged(answers({**suspect, "cat": (100, 0, 0, 0)})), Verdict.FORGOT) == {"fox"}
    assert concepts(judged(answers({**suspect, **quiet})), Verdict.FORGOT) == set()


def test_concepts_are_many_within_a_pair_of_checkpoints_only(answers, judged):
    suspect = answers({"fox": (86, 14, 0, 0), "cat": (100, 0, 0, 0)})
    quiet = {str(number): (100, 0, 0, 0) for number in range(60)}
    assert concepts(judged(suspect, answers(quiet, checkpoint="other")), Verdict.FORGOT) == {"fox"}
    for beside in (answers(quiet, task="colour"), answers(quiet, probe="zero-shot:text=base")):
        assert concepts(judged(suspect, beside), Verdict.FORGOT) == set()


def test_a_concept_says_how_many_were_tried_and_costs_a_fifth_of_the_level(answers, judged):
    quiet = {str(number): (100, 0, 0, 0) for number in range(60)}
    report = judged(answers({"fox": (60, 40, 0, 0), **quiet}))
    task, fox = report.findings[:2]
    assert (fox.tried, fox.gated, fox.watched, fox.detectable) == (61, False, True, None)
    assert fox.p_adjusted == pytest.approx(61 * fox.p / 0.2)
    assert task.p_adjusted == pytest.approx(min(task.p / 0.8, 1))
    assert max(finding.p_adjusted for finding in report.findings[1:]) <= 1


def test_a_table_of_what_nothing_gates_controls_false_discoveries(answers, judged):
    """Of 61 concepts the smallest p-value counts 61-fold, the largest once."""
    quiet = {str(number): (100, 0, 0, 0) for number in range(60)}
    report = judged(answers({"fox": (60, 40, 0, 0), **quiet}), gate_concepts=False)
    fox = report.findings[1]
    assert (fox.tried, fox.gated, fox.watched) == (61, False, False)
    assert fox.p_adjusted == pytest.approx(61 * fox.p)
    assert report.findings[0].p_adjusted == report.findings[0].p


def test_a_limit_of_zero_is_tested_exactly(answers, judged):
    report = judged(answers({"cat": (100, 6, 0, 0), "dog": (100, 0, 0, 0)}), max_drop=0)
    assert [finding.p for finding in report.findings] == pytest.approx([1 / 64, 1 / 64, 1.0])
    assert report.findings[0].verdict is Verdict.FORGOT


@pytest.mark.parametrize(
    ("lost", "confidence", "expected"),
    [(5, 0.95, "unsure"), (6, 0.95, "forgot"), (5, 0.9, "forgot"), (6, 0.99, "unsure")],
)
def test_forgetting_is_claimed_at_half_the_doubt_of_the_interval(answers, judged, lost, confidence, expected):
    """1/32 is more than the 0.025 that a 95 % interval leaves on one side, 1/64 is less."""
    report = judged(
        answers({"cat": (50, lost, 0, 0), "dog": (50, 0, 0, 0)}), max_drop=0, confidence=confidence
    )
    assert report.findings[0].verdict == expected


def test_findings_keep_the_order_and_the_limit(answers, judged):
    report = judged(answers({"b": (40, 0, 0, 0), "a": (40, 0, 0, 0)}), max_drop=0.07)
    assert [finding.retention.concept for finding in report.findings] == [None, "b", "a"]
    assert {finding.limit for finding in report.findings} == {0.07}


def test_what_must_be_forgotten_is_judged_by_what_is_left(answers, judged):
    rule = {"match": "*/*", "must_forget": True, "max_accuracy": 0.2}
    counts = {"gone": (2, 90, 0, 8), "kept": (90, 2, 0, 8), "half": (25, 60, 0, 15), "never": (0, 0, 0, 100)}
    report = judged(answers(counts), concepts=[rule])
    found = {finding.retention.concept: finding.verdict for finding in report.findings}
    assert found["gone"] == found["never"] == Verdict.UNLEARNED
    assert found["kept"] == Verdict.STILL_KNOWN
    assert found["half"] == Verdict.UNSURE
    assert all(finding.gated and finding.limit == 0.2 for finding in report.findings[1:])
    assert all(finding.detectable is None for finding in report.findings[1:])


def test_gated_concepts_are_one_family_and_the_exact_test_spares_power(answers, judged):
    """Twelve losses among sixty concepts that hardly changed: minP finds it, Holm would not."""
    quiet = {str(number): (98, 1, 1, 0) for number in range(60)}
    rule = {"match": "*/*", "max_drop": 0.0}
    report = judged(answers({"fox": (91, 9, 0, 0), **quiet}), max_drop=0.5, concepts=[rule])
    fox = report.findings[1]
    assert fox.verdict is Verdict.FORGOT
    assert fox.tried == 62  # the concepts and the whole task
    assert 62 * fox.p > 0.025 > fox.p_adjusted


def test_the_family_is_that_of_one_pair_of_checkpoints(answers, judged):
    """Auditing another checkpoint beside it changes no verdict."""
    item = answers({"cat": (90, 10, 1, 0), "dog": (100, 0, 0, 0)})
    others = [answers({"cat": (50, 50, 0, 0)}, checkpoint=f"other {k}") for k in range(20)]
    alone, among = judged(item), judged(item, *others)
    assert alone.findings == among.findings[: len(alone.findings)]


def test_whole_tasks_and_their_concepts_share_images_and_are_summed(answers, judged):
    """Six lost of six, seen twice: as the task and as its only changed concept."""
    rule = {"match": "*/*", "max_drop": 0.0}
    report = judged(answers({"fox": (94, 6, 0, 0), "cat": (90, 0, 0, 0)}), max_drop=0, concepts=[rule])
    task, fox, _ = report.findings
    assert task.p_adjusted == pytest.approx(2 / 64)
    assert fox.p_adjusted == pytest.approx(2 / 64)


def test_what_must_be_forgotten_counts_in_full_beside_exact_tests(answers, judged):
    """Its p-value is no coin flip's: that none of its answers changed spares the others nothing."""
    rule = {"match": "face", "must_forget": True, "max_accuracy": 0.5}
    lost = answers({"fox": (94, 6, 0, 0), "cat": (90, 0, 0, 0)})
    face = answers({"ann": (0, 0, 0, 50), "bob": (0, 0, 0, 50)}, task="face")
    report = judged(lost, face, max_drop=0, concepts=[rule], gate_concepts=False)
    assert report.tasks()[0].p_adjusted == pytest.approx(2 / 64)


def test_a_base_that_is_just_better_than_chance_knew(answers):
    policy = Policy(confidence=0.9)
    (row, *_) = compare([answers({"a": (45, 1, 1, 3), "b": (40, 0, 0, 0)})], policy.confidence)
    edge = 1 - policy.confidence
    assert not never_knew(replace(row, chance_p=edge), policy)
    assert never_knew(replace(row, chance_p=np.nextafter(edge, 1)), policy)


def test_a_p_value_at_the_level_is_no_evidence_yet(answers, judged):
    """Five losses of five are 1/32, which is the level to the last digit; six are less."""
    found = [
        judged(answers({"a": (50, lost, 0, 0), "b": (50, 0, 0, 0)}), max_drop=0, confidence=1 - 2 / 32)
        for lost in (5, 6)
    ]
    assert [report.findings[0].verdict for report in found] == [Verdict.UNSURE, Verdict.FORGOT]


def test_probes_see_the_same_images_and_are_summed(answers, judged):
    items = [answers({"fox": (94, 6, 0, 0), "cat": (90, 0, 0, 0)}, probe=name) for name in ("a", "b")]
    assert judged(*items, max_drop=0, gate_concepts=False).findings[0].p_adjusted == pytest.approx(2 / 64)


def test_the_mean_and_the_target_are_of_the_family(answers, judged):
    lost = answers({"fox": (94, 6, 0, 0), "cat": (90, 0, 0, 0)})
    target = answers({"a": (90, 0, 0, 10), "b": (90, 0, 0, 10)}, task="digits", probe="head", target=True)
    report = judged(lost, target, max_drop=0, max_mean_drop=0.5, min_target_accuracy=0.5)
    assert {check.tried for check in report.checks} == {4}
    assert {finding.tried for finding in report.tasks()} == {4}


def test_what_would_be_found_allows_for_the_other_demands(answers, judged):
    item = answers({"fox": (600, 10, 10, 0), "cat": (380, 0, 0, 0)})
    others = [answers({"a": (90, 1, 1, 0), "b": (9, 0, 0, 0)}, task=f"task {k}") for k in range(20)]
    assert judged(item, *others).tasks()[0].detectable > judged(item).tasks()[0].detectable


def test_every_limit_comes_with_the_drop_it_would_find(answers, judged):
    small, large = answers({"a": (45, 1, 1, 3)}), answers({"a": (4500, 100, 100, 300)}, task="large")
    few, many = judged(small, large).tasks()
    assert few.detectable > many.detectable > many.limit
    tiny = judged(answers({"a": (2, 0, 0, 0), "b": (1, 0, 0, 0)}), max_drop=0).tasks()[0]
    assert tiny.detectable is None  # three losses of three are one in eight


def test_reasons_travel_to_the_finding(answers, judged):
    rule = {"match": "shape", "max_drop": 0.05, "reason": "agreed with the shop"}
    assert judged(answers({"a": (45, 1, 1, 3)}), concepts=[rule]).findings[0].reason == "agreed with the shop"
