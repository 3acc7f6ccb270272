"""JUnit XML, which CI servers read as test results: a suite per checkpoint, a test per demand."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from forgetcheck.exporters.base import Exporter
from forgetcheck.exporters.markup import basis, warned
from forgetcheck.retention.gate import ASKED, Check, Outcome
from forgetcheck.retention.report import Report
from forgetcheck.retention.text.wording import advised, demand, opened, sentence
from forgetcheck.text import JOINERS

_GAPS = f"\t\n{JOINERS}"  # \r is read as \n
_COUNTED = {"failures": "failure", "errors": "error", "skipped": "skipped"}


@dataclass(frozen=True)
class Junit(Exporter):
    """Red exactly where the policy is not met: never all green for a report that did not pass."""

    def render(self, report: Report) -> str:
        suites = ET.Element("testsuites", name="forgetcheck")
        names = [*report.checkpoints, *(check.checkpoint for check in report.checks)]
        suites.extend(_suite_of(name, report) for name in dict.fromkeys(names))
        red = suites.find(".//failure") is not None or suites.find(".//error") is not None
        if not (report.passed or red):
            suites.append(_suite("forgetcheck", [_nothing_measured(report)]))
        for total in ("tests", "failures", "errors"):  # these only, by the schema
            suites.set(total, str(sum(int(part.get(total, "0")) for part in suites)))
        ET.indent(suites)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _suite_of(checkpoint: str, report: Report) -> ET.Element:
    cases = [case(check, report) for check in report.checks if check.checkpoint == checkpoint]
    found = _suite(checkpoint, cases)
    warnings = list(_warnings_of(checkpoint, report))
    if warnings:
        ET.SubElement(found, "system-out").text = "\n".join(map(_legal, warnings))
    return found


def _suite(name: str, cases: Sequence[ET.Element]) -> ET.Element:
    """Gather tests under a name, counted as the schema demands."""
    found = _element("testsuite", name=name, tests=str(len(cases)))
    for total, kind in _COUNTED.items():
        found.set(total, str(sum(case.find(kind) is not None for case in cases)))
    found.extend(cases)
    return found


def case(check: Check, report: Report) -> ET.Element:
    """Write a demand as a test, with its evidence as the text of whatever came of it."""
    classname = f"{check.checkpoint}.{check.probe}"
    found = _element("testcase", classname=classname, name=f"{check.demand}: {check.subject}")
    told = _result(check, report)
    told.text = "\n".join(map(_legal, [f"{check.outcome.value}: {demand(check)}", *basis(check)]))
    found.append(told)
    return found


def _result(check: Check, report: Report) -> ET.Element:
    """What is not met fails; what the evidence doesn't tell fails only where the policy says so."""
    said = demand(check)
    if check.demand == ASKED:
        return _element("error", message=said, type="could not be asked")
    if check.outcome is Outcome.UNSURE and check.guessed and report.policy.when_unsure == "warn":
        return _element("system-out")
    if check.outcome is Outcome.FAILED:
        return _element("failure", message=said, type=check.demand)
    if check.outcome is Outcome.UNSURE and report.policy.when_unsure == "fail":
        return _element("failure", message=f"unsure: {said}", type="unsure")
    if check.outcome is Outcome.NEVER_KNEW:
        return _element("skipped", message="the base is not shown to do more than guess: nothing to forget")
    return _element("system-out")


def _nothing_measured(report: Report) -> ET.Element:
    """Make a test that is red: a report did not pass though nothing failed, for nothing was measured."""
    found = _element("testcase", classname="forgetcheck", name="something was measured")
    found.append(_element("error", message=sentence(report), type="nothing measured"))
    return found


def _warnings_of(checkpoint: str, report: Report) -> Iterator[str]:
    yield from (f"doubt: {opened(remark)}" for remark in report.remarks)
    yield from (
        f"unsure: {demand(c)}: {advised(c)}"
        for c in report.checks
        if c.guessed and c.checkpoint == checkpoint
    )
    for warning, about in warned(report).items():
        names = [f"{row.subject} ({row.probe})" for row in about if row.checkpoint == checkpoint]
        if names:
            yield f"warning: {warning}: {'; '.join(names)}"


def _element(kind: str, **attributes: str) -> ET.Element:
    return ET.Element(kind, {key: _legal(text) for key, text in attributes.items()})


def _legal(text: str) -> str:
    """Escape what XML can't hold or nobody can see the way Python does; two names that differ stay so."""
    if text.isprintable():
        return text
    return "".join(mark if _stays(mark) else ascii(mark)[1:-1] for mark in text)


def _stays(mark: str) -> bool:
    """Whether a character is seen, or a gap, as it is; none that XML 1.0 forbids is printable."""
    return mark.isprintable() or mark in _GAPS or unicodedata.category(mark) == "Zs"
