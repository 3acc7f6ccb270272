"""JUnit XML: what CI servers read of it, and that it is red exactly where the policy is not met."""

import functools
import os
import subprocess
import sys
import tarfile
from collections import Counter
from xml.etree import ElementTree as ET

import pytest
import xmlschema
from hostile import HOSTILE, renamed
from hypothesis import given, settings
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Skipped
from planted import FULL_POLICY, full_audit, full_report, make_answers, make_judged

from forgetcheck import catalog
from forgetcheck.retention.gate import Check, Outcome, tally
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import Report, make_report

pytestmark = pytest.mark.slow

full = functools.cache(full_report)
SDIST, SCHEMA = "pytest==8.4.2", "pytest-8.4.2/testing/example_scripts/junit-10.xsd"
LOSING = make_answers({"a": (50, 50, 0, 0), "b": (90, 10, 0, 0)}, "losing")
KEEPING = make_answers({"a": (990, 0, 0, 10), "b": (990, 0, 0, 10)}, "keeping")
GUESSING = make_answers({"a": (10, 10, 10, 10), "b": (10, 10, 10, 10)}, "guessing")
DOUBTFUL = make_answers({"a": (48, 2, 0, 0), "b": (48, 2, 0, 0)}, "doubtful")
AUDITS = {
    "kept": [KEEPING],
    "lost": [LOSING],
    "kept and lost": [KEEPING, LOSING],
    "never known": [GUESSING],
    "unsure": [DOUBTFUL],
    "kept, unsure and never known": [KEEPING, DOUBTFUL, GUESSING],
}
POLICIES = (
    {},
    {"when_unsure": "fail"},
    {"max_drop": 0.5},
    {"max_mean_drop": 0.0, "max_drop": 0.5},
    {"min_target_accuracy": 0.5},
    {"min_target_accuracy": 0.99, "target": "shape"},
    {"concepts": [{"match": "*", "ignore": True}]},
    {"concepts": [{"match": "typo", "max_drop": 0.1}]},
    {"concepts": [{"match": "*", "must_forget": True, "max_accuracy": 0.6}]},
)


def render(report):
    return catalog.build("exporters", "junit").render(report)


def parsed(report):
    return ET.fromstring(render(report))


def red(report):
    root = parsed(report)
    return root.find(".//failure") is not None or root.find(".//error") is not None


@pytest.fixture(scope="session")
def schema(tmp_path_factory):
    """Return the schema that Jenkins' xunit plugin holds results against, from pytest's own tests."""
    folder = tmp_path_factory.mktemp("schema")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "pytest", SDIST]
    done = subprocess.run([*command, "-d", folder, "-q"], capture_output=True, text=True)
    if done.returncode != 0:
        why = f"the package index can't be reached: {done.stderr[-500:]}"
        if os.environ.get("FORGETCHECK_NO_SKIPS"):
            pytest.fail(why)
        pytest.skip(why)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        return xmlschema.XMLSchema(archive.extractfile(SCHEMA).read().decode())


def test_it_is_what_ci_servers_take(schema):
    documents = [render(full()), *(render(renamed(full(), name)) for name in HOSTILE)]
    documents += [render(Report((), (), (), Policy(), {}))]
    for document in documents:
        schema.validate(document)
    assert not schema.is_valid(documents[0].replace("<testcase classname", "<testcase classnam"))


def test_a_reader_counts_what_the_report_counts():
    report = full()
    suites = JUnitXml.fromstring(render(report).encode())
    cases = [case for suite in suites for case in suite]
    kinds = Counter(type(result) for case in cases for result in case.result)
    counts = tally(report.checks)
    assert len(cases) == suites.tests == len(report.checks)
    assert kinds[Failure] + kinds[Error] == counts[Outcome.FAILED]
    assert (kinds[Failure], kinds[Error]) == (suites.failures, suites.errors) == (4, 1)
    assert kinds[Skipped] == counts[Outcome.NEVER_KNEW] == sum(suite.skipped for suite in suites)
    for suite in suites:
        results = [result for case in suite for result in case.result]
        assert suite.tests == len(list(suite))
        assert suite.failures == sum(isinstance(result, Failure) for result in results)
        assert suite.errors == sum(isinstance(result, Error) for result in results)
    assert [suite.name for suite in suites] == ["naive", "ldifs"]


def test_a_test_says_what_was_demanded_and_found():
    case = parsed(full()).find(".//testcase[@name='max_drop: shape / circle']")
    assert case.get("classname") == "naive.zero-shot"
    (failure,) = case
    assert failure.get("type") == "max_drop"
    assert failure.get("message").startswith("shape / circle (naive, zero-shot): drop 50.0 points [")
    first, *evidence = failure.text.split("\n")
    assert first == f"failed: {failure.get('message')}"
    assert evidence[0] == "n = 100"
    assert evidence[1].startswith("smallest drop found 4 times in 5: ")
    assert evidence[2] == "reason: the logo is a circle"


def test_what_could_not_be_asked_is_an_error():
    (error,) = parsed(full()).iter("error")
    assert error.get("message").endswith("could not be asked: class 'lines' has no train images")


def test_what_is_unsure_passes_or_fails_as_the_policy_says():
    report = make_judged(DOUBTFUL)
    case = parsed(report).find(".//testcase")
    assert [part.tag for part in case] == ["system-out"]
    assert case[0].text.startswith("unsure: shape (doubtful, zero-shot): drop 4.0 points")
    (failure,) = parsed(make_judged(DOUBTFUL, when_unsure="fail")).find(".//testcase")
    assert (failure.tag, failure.get("type")) == ("failure", "unsure")
    assert failure.get("message").startswith("unsure: shape")


def test_warnings_are_told_once_per_suite():
    found = {suite.get("name"): suite.findtext("system-out") for suite in parsed(full())}
    assert found["naive"].count("\n") == 3
    assert "warning: the tuned probe stopped early: shape (linear); shape / circle (linear)" in found["naive"]
    assert found["ldifs"] == "warning: only 20 samples: no small drop can be shown: shape / disc (zero-shot)"


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("audit", AUDITS)
def test_it_is_red_exactly_when_the_policy_is_not_met(audit, policy):
    report = make_judged(*AUDITS[audit], **policy)
    assert red(report) is not report.passed


@pytest.mark.parametrize("policy", [FULL_POLICY, *POLICIES], ids=str)
def test_the_full_audit_is_red_exactly_when_the_policy_is_not_met(policy):
    report = make_report(full_audit(), Policy(**policy))
    assert red(report) is not report.passed


CHECKS = st.one_of(
    st.builds(
        Check,
        demand=st.sampled_from(["max_drop", "max_mean_drop", "min_target_accuracy", "must_forget"]),
        checkpoint=st.sampled_from(["naive", "other", ""]),
        subject=st.text(max_size=5),
        probe=st.just("linear"),
        outcome=st.sampled_from(Outcome),
        value=st.floats(-1, 1),
        low=st.floats(-1, 1),
        high=st.floats(-1, 1),
        limit=st.floats(0, 1),
    ),
    st.builds(
        Check,
        demand=st.just("asked"),
        checkpoint=st.just("any checkpoint"),
        subject=st.just("typo/*"),
        probe=st.just("*"),
        outcome=st.just(Outcome.FAILED),
    ),
)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(CHECKS, max_size=4), st.sampled_from(["warn", "fail"]))
def test_no_outcomes_are_green_that_do_not_pass(checks, when_unsure):
    report = Report((), (), tuple(checks), Policy(when_unsure=when_unsure), {})
    assert red(report) is not report.passed


def test_a_report_that_measured_nothing_says_so():
    root = parsed(make_judged(GUESSING))
    (error,) = root.iter("error")
    assert error.get("message").startswith("NOT passed: nothing was measured")
    assert (root.get("tests"), root.get("errors"), root.get("failures")) == ("3", "1", "0")


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_is_kept_and_none_is_markup(name):
    root = parsed(renamed(full(), name))
    plain = parsed(renamed(full(), "plain"))
    assert [part.tag for part in root.iter()] == [part.tag for part in plain.iter()]
    assert [part.keys() for part in root.iter()] == [part.keys() for part in plain.iter()]
    written = "".join(mark if legal(mark) else ascii(mark)[1:-1] for mark in name)
    assert {suite.get("name") for suite in root} == {written}
    assert f"max_drop: {written}" in {case.get("name") for case in root.iter("testcase")}


def legal(mark):
    """Whether XML 1.0 allows a character, and it can be seen or is a gap between such."""
    allowed = " " <= mark <= "\ud7ff" or "\ue000" <= mark <= "\ufffd" or mark > "\uffff"
    hidden = "\x7f" <= mark <= "\x9f" or mark in "\u200b\u2028\u202e"
    return mark in "\t\n" or (allowed and not hidden)
