"""What a report says of an audit: summary, worst concepts, and the record exporters write."""

import json
from dataclasses import replace

import pytest
from planted import full_report

from forgetcheck.retention.gate import Outcome
from forgetcheck.retention.report import SCHEMA, as_record, summarise

GOOD = {"cat": (50, 0, 0, 0), "dog": (50, 0, 0, 0)}
WORSE = {"cat": (40, 10, 0, 0), "dog": (50, 0, 0, 0)}  # a drop of 0.1
WORST = {"cat": (20, 30, 0, 0), "dog": (50, 0, 0, 0)}  # a drop of 0.3


def test_summary_is_the_mean_and_the_worst_task_of_each_probe(answers, judged):
    report = judged(
        answers(GOOD, task="shape"),
        answers(WORST, task="colour"),
        answers(WORSE, task="colour", probe="linear"),
        answers(GOOD, checkpoint="other"),
    )
    summary = summarise(report)
    assert {name: list(probes) for name, probes in summary.items()} == {
        "tuned": ["zero-shot", "linear"],
        "other": ["zero-shot"],
    }
    facts = summary["tuned"]["zero-shot"]
    assert (facts["tasks"], facts["worst_drop"], facts["worst_task"]) == (2, 0.3, "colour")
    assert facts["mean_drop"] == pytest.approx(0.15)
    assert facts["delta"] == -facts["mean_drop"]
    assert facts["low"] < 0.15 < facts["high"]
    assert summary["tuned"]["linear"]["mean_drop"] == pytest.approx(0.1)
    assert str(summary["other"]["zero-shot"]["delta"]) == "0.0"


def test_the_task_tuned_on_is_not_in_the_summary(answers, judged):
    report = judged(answers(WORST, task="digits", target=True), answers(WORSE, task="shape"))
    facts = summarise(report)["tuned"]["zero-shot"]
    assert (facts["tasks"], facts["worst_drop"], facts["worst_task"]) == (1, 0.1, "shape")
    assert facts["mean_drop"] == pytest.approx(0.1)


def test_a_probe_put_to_nothing_else_is(answers, judged):
    report = judged(answers(WORST, task="digits", probe="head", target=True), answers(GOOD))
    assert summarise(report)["tuned"]["head"]["worst_task"] == "digits"


def test_worst_concepts_are_the_surest_drops_of_one_checkpoint(answers, judged):
    counts = {"few": (1, 3, 0, 0), "many": (50, 50, 0, 0), "some": (80, 20, 0, 0), "fine": (90, 0, 5, 5)}
    report = judged(answers(counts), answers(WORST, checkpoint="other"))
    named = [finding.retention.concept for finding in report.worst_concepts("tuned", 10)]
    assert named == ["many", "some", "few"]
    assert len(report.worst_concepts("tuned", 2)) == 2
    assert report.worst_concepts("absent", 10) == []


def test_tasks_and_checkpoints_keep_their_order(answers, judged):
    report = judged(
        answers(GOOD, checkpoint="b"), answers(GOOD, checkpoint="a"), answers(GOOD, "b", "colour")
    )
    assert report.checkpoints == ("b", "a")
    assert [finding.retention.task for finding in report.tasks("b")] == ["shape", "colour"]
    assert len(report.tasks()) == 3


def test_an_audit_is_passed_as_a_whole(answers, judged):
    assert judged(answers(GOOD)).passed
    assert not judged(answers(GOOD), answers(WORST, checkpoint="other")).passed


def test_the_record_is_plain_json_with_what_was_measured(answers, judged):
    record = as_record(judged(answers(WORSE), max_drop=0.05))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["schema"] == SCHEMA == "forgetcheck/report@1"
    assert record["policy"]["max_drop"] == 0.05
    assert record["policy"]["concepts"] == []
    assert record["provenance"] == {"made": "by hand"}
    task, cat, dog = record["findings"]
    assert (task["concept"], task["n"], task["base"], task["tuned"], task["drop"]) == (
        None,
        100,
        1.0,
        0.9,
        0.1,
    )
    assert (cat["concept"], cat["lost"], cat["gained"], cat["gated"]) == ("cat", 10, 0, True)
    assert (dog["drop"], dog["verdict"], dog["warnings"]) == (0.0, "unsure", [])


def test_the_record_of_everything_is_plain_json():
    report = full_report()
    record = as_record(report)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert [check["demand"] for check in record["checks"]] == [check.demand for check in report.checks]
    asked = record["checks"][-1]
    assert (asked["demand"], asked["value"], asked["outcome"]) == ("asked", None, "failed")
    assert record["unasked"][0]["why"] == "class 'lines' has no train images."


def test_a_policy_can_name_the_target_that_a_checkpoint_does_not_record(answers, judged):
    report = judged(answers(GOOD, task="digits"), answers(WORSE), target="digits")
    assert [finding.retention.target for finding in report.tasks()] == [True, False]
    assert report.target("tuned").retention.task == "digits"
    assert judged(answers(GOOD)).target("tuned") is None


def test_the_target_is_told_by_its_own_head():
    assert full_report().target("naive").retention.probe == "head"


def test_failures_come_worst_first_and_unmet_is_what_the_policy_fails():
    report = full_report()
    distances = [abs(check.value - check.limit) for check in report.failures() if check.demand != "asked"]
    assert distances == sorted(distances, reverse=True)
    assert report.failures()[-1].demand == "asked"
    assert report.unmet() == report.failures()
    strict = replace(report, policy=report.policy.model_copy(update={"when_unsure": "fail"}))
    assert strict.unmet() == [*report.failures(), *report.failures(Outcome.UNSURE)]
