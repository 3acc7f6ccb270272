"""GitHub annotations, read as the runner reads workflow commands; the page of a job is in test_markdown."""

import functools
import re
from dataclasses import replace

import pytest
from hostile import HOSTILE, renamed, shown
from planted import full_report, make_answers, make_judged

from forgetcheck import catalog
from forgetcheck.errors import InputError
from forgetcheck.retention.gate import Outcome
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import Report

full = functools.cache(full_report)
SHOWN = 10
UNSURE = make_answers({"a": (48, 2, 0, 0), "b": (48, 2, 0, 0)})
GUESSING = make_answers({"a": (10, 10, 10, 10), "b": (10, 10, 10, 10)})


def render(report, spec="github"):
    return catalog.build("exporters", spec).render(report)


def commands(document):
    """Read workflow commands as documented: kind, properties and message of every line."""
    found = []
    for line in document.splitlines():
        kind, _, properties, message = re.fullmatch(r"\s*::([\w-]+)( (.*?))?::(.*)", line).groups()
        pairs = [pair.partition("=")[::2] for pair in (properties or "").split(",")]
        found.append((kind, {key: unescaped(value, ":,") for key, value in pairs}, unescaped(message)))
    return found


def unescaped(text, more=""):
    for mark in f"\r\n{more}%":  # the percent sign last
        text = text.replace(f"%{ord(mark):02X}", mark)
    return text


def without_gaps(text):
    return "".join(text.split())


def of_kind(report, kind):
    return [message for found, _, message in commands(render(report)) if found == kind]


def test_failed_demands_are_errors_and_doubts_are_warnings():
    report = full()
    assert len(of_kind(report, "error")) == 5
    unsure, *warned = of_kind(report, "warning")
    assert unsure.startswith("unsure: animal (naive, zero-shot): drop 5.0 points [−0.2, 11.6], limit 2\nn = ")
    assert warned == [
        "only 20 samples: no small drop can be shown: shape / disc (naive, zero-shot); "
        "shape / disc (naive, linear); shape / disc (ldifs, zero-shot)",
        "the tuned probe stopped early: shape (naive, linear); shape / circle (naive, linear); "
        "shape / star (naive, linear); shape / disc (naive, linear)",
        "its interval is too narrow: it leaves out the choice of the probe's training images: "
        "shape (naive, linear); shape / circle (naive, linear); shape / star (naive, linear); "
        "shape / disc (naive, linear)",
        "its own interval lies beyond the limit, but among 8 questions one would by luck (adjusted p 1): "
        "animal / cat (naive, zero-shot)",
    ]
    assert of_kind(report, "notice") == []


def test_percent_signs_and_titles_survive_the_way():
    found = commands(render(full()))
    assert "face / ann (naive, zero-shot): accuracy 90.0 % [82.4, 95.1], demanded at most 60 %\nn = 100" in [
        message for _, _, message in found
    ]
    assert found[0][1] == {"title": "forgetcheck: max_drop (naive)"}


def test_a_passed_report_gives_notice_and_no_error():
    report = make_judged(make_answers({"a": (990, 1, 0, 9), "b": (990, 0, 0, 10)}))
    assert [(kind, message) for kind, _, message in commands(render(report))] == [
        ("notice", "passed: 2 of 2 demands met.")
    ]


def test_what_is_unsure_is_an_error_where_it_fails_the_policy():
    assert of_kind(make_judged(UNSURE), "error") == []
    (error,) = of_kind(make_judged(UNSURE, when_unsure="fail"), "error")
    assert error.startswith("unsure: shape (tuned, zero-shot): drop 4.0 points")
    assert of_kind(make_judged(UNSURE, when_unsure="fail"), "warning") == []


@pytest.mark.parametrize("report", [make_judged(GUESSING), Report((), (), (), Policy(), {})])
def test_nothing_measured_is_an_error(report):
    (error,) = of_kind(report, "error")
    assert error.startswith("NOT passed: nothing was measured")


def test_of_many_the_last_says_how_many_more():
    report = full()
    many = replace(report, checks=report.checks * 5)
    errors = of_kind(many, "error")
    assert len(errors) == SHOWN
    assert errors[-1] == "and 16 more like these: see the whole report"
    assert len(many.failures()) == 9 + 16
    exact = replace(report, checks=tuple(report.failures(Outcome.FAILED)[:5] * 2))
    assert len(of_kind(exact, "error")) == SHOWN
    assert "more like these" not in render(exact)


def test_a_warning_about_many_questions_names_some():
    tasks = [make_answers({"a": (3, 0, 0, 0), "b": (3, 0, 0, 0)}, task=f"t{number}") for number in range(4)]
    warnings = of_kind(make_judged(*tasks), "warning")
    assert any(message.endswith("; t2 / a (tuned, zero-shot); and 3 more") for message in warnings)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_starts_a_command_or_changes_one(name):
    found = commands(render(renamed(full(), name)))
    plain = commands(render(renamed(full(), "plain")))
    assert [kind for kind, _, _ in found] == [kind for kind, _, _ in plain]
    assert {tuple(properties) for _, properties, _ in found} == {("title",)}
    name = shown(name).replace(" ", "")
    assert without_gaps(found[0][2]).startswith(f"{name}({name},{name}):drop50.0points")
    assert without_gaps(found[0][1]["title"]) == f"forgetcheck:max_drop({name})"


def test_a_message_stays_within_reason():
    assert max(map(len, render(renamed(full(), "x" * 100_000)).splitlines())) < 10_000


def test_the_parts_are_two():
    assert render(full(), "github:part=annotations") == render(full())
    assert render(full(), "github:part=summary").startswith("## forgetcheck\n")
    with pytest.raises(InputError, match="part=else"):
        render(full(), "github:part=else")
