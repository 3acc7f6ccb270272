"""Verdicts on planted losses, and reading a policy that a person wrote."""

import pytest

from forgetcheck.errors import CannotAsk
from forgetcheck.retention.policy import Policy, Verdict, passed, read_policy


def concepts(report, verdict):
    return {f.retention.concept for f in report.findings if f.verdict is verdict and f.retention.concept}


def verdicts(report):
    return [finding.verdict for finding in report.findings]


@pytest.mark.parametrize("limit", [0, 0.02])
def test_a_model_against_itself_forgets_nothing(answers, judged, limit):
    report = judged(answers({"cat": (20, 0, 0, 5), "dog": (3, 0, 0, 2)}, identical=True), max_drop=limit)
    assert set(verdicts(report)) == {Verdict.RETAINED}
    assert {finding.p for finding in report.findings} == {1.0}
    assert report.passed


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


def test_single_concepts_inform_and_do_not_gate(answers, judged):
    kept = {str(number): (50, 0, 0, 0) for number in range(50)}
    report = judged(answers({**kept, "fox": (0, 50, 0, 0)}), max_drop=0.05)
    assert concepts(report, Verdict.FORGOT) == {"fox"}
    assert [finding.gated for finding in report.findings[:2]] == [True, False]
    assert report.passed


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


def test_nothing_measured_never_passes(answers, judged):
    assert not passed([])
    assert not judged(answers({"cat": (10, 0, 0, 10), "dog": (10, 0, 0, 10)})).passed
    only_concepts = judged(answers({"cat": (50, 0, 0, 0), "dog": (50, 0, 0, 0)})).findings[1:]
    assert not passed(only_concepts)


def test_one_of_many_concepts_must_be_surer(answers, judged):
    suspect, quiet = {"fox": (90, 10, 0, 0)}, {str(number): (100, 0, 0, 0) for number in range(60)}
    assert concepts(judged(answers({**suspect, "cat": (100, 0, 0, 0)})), Verdict.FORGOT) == {"fox"}
    assert concepts(judged(answers({**suspect, **quiet})), Verdict.FORGOT) == set()


def test_concepts_are_many_within_a_checkpoint_and_probe_only(answers, judged):
    suspect = answers({"fox": (90, 10, 0, 0), "cat": (100, 0, 0, 0)})
    quiet = {str(number): (100, 0, 0, 0) for number in range(60)}
    apart = [answers(quiet, probe="linear"), answers(quiet, checkpoint="other")]
    assert concepts(judged(suspect, *apart), Verdict.FORGOT) == {"fox"}
    assert concepts(judged(suspect, answers(quiet, task="colour")), Verdict.FORGOT) == set()


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


def written(tmp_path, text, name="policy.toml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(path, *words):
    with pytest.raises(CannotAsk) as caught:
        read_policy(path)
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in (str(path), *words)), text


def test_a_policy_file(tmp_path):
    path = written(tmp_path, "[policy]\nmax_drop = 0.05\nconfidence = 0.9\n")
    assert read_policy(path) == Policy(max_drop=0.05, confidence=0.9)


def test_what_is_left_out_has_a_default(tmp_path):
    assert read_policy(written(tmp_path, "[policy]\n")) == Policy()
    assert read_policy(written(tmp_path, "[policy]\nmax_drop = 0\n")).max_drop == 0


def test_a_policy_in_pyproject(tmp_path):
    text = '[project]\nname = "mine"\n[tool.forgetcheck.policy]\nmax_drop = 0.01\n'
    assert read_policy(written(tmp_path, text, "pyproject.toml")) == Policy(max_drop=0.01)


@pytest.mark.parametrize("text", ['[project]\nname = "mine"\n', "tool = 3\n", "[tool]\nforgetcheck = 3\n"])
def test_a_pyproject_without_a_policy_says_which_table_to_write(tmp_path, text):
    refused(written(tmp_path, text, "pyproject.toml"), "[tool.forgetcheck.policy]", "found nothing")


def test_an_unknown_key_is_named_with_the_nearest_known_one(tmp_path):
    refused(written(tmp_path, "[policy]\nmax_dorp = 0.1\n"), "policy.max_dorp", "did you mean 'max_drop'?")
    refused(written(tmp_path, "[policy]\nzzz = 1\n"), "policy.zzz", "known: max_drop, confidence")


def test_all_problems_of_a_file_are_told_at_once(tmp_path):
    text = '[policy]\nmax_dorp = 0.1\nmax_drop = "much"\nconfidence = 2\n'
    refused(
        written(tmp_path, text),
        "policy.max_dorp",
        "policy.max_drop",
        "'much'",
        "policy.confidence",
        "found 2",
    )


@pytest.mark.parametrize(
    "line",
    [
        *("max_drop = -0.1", "max_drop = 2", "max_drop = nan", "max_drop = true", "max_drop = [0.1]"),
        *("confidence = 0.5", "confidence = 1", "confidence = inf"),
    ],
)
def test_a_value_that_means_nothing_is_refused(tmp_path, line):
    refused(written(tmp_path, f"[policy]\n{line}\n"), f"policy.{line.split()[0]}")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "found nothing"),
        ("max_drop = 0.1\n", "found max_drop"),
        ("[policy]\n[polcy]\n", "found polcy"),
        ("policy = 3\n", "found 3"),
        ("[policy\n", "cannot read"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path, text, word):
    refused(written(tmp_path, text), word)


def test_unreadable_files_are_refused(tmp_path):
    refused(tmp_path / "absent.toml", "no policy file")
    refused(tmp_path, "no policy file")
    path = tmp_path / "latin.toml"
    path.write_bytes(b"[policy] # caf\xe9\n")
    refused(path, "cannot read")
