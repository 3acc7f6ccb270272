"""The executive summary as a document: the lines of executive_summary(), and never more than twelve."""

from dataclasses import replace

import pytest
from hostile import HOSTILE, renamed
from planted import full_report

from forgetcheck import catalog
from forgetcheck.errors import InputError
from forgetcheck.retention.text.summary import executive_summary

pytestmark = pytest.mark.slow


def render(report, spec="summary"):
    return catalog.build("exporters", spec).render(report)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_it_says_what_the_executive_summary_says(language):
    report = full_report()
    document = render(report, f"summary:language={language}")
    assert document.splitlines() == executive_summary(report, language)


def test_japanese_is_asked_for_by_name():
    assert "結果：基準を満たしていません" in render(full_report(), "summary:language=ja")
    with pytest.raises(InputError, match="language=de"):
        render(full_report(), "summary:language=de")


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_makes_a_thirteenth_line(name, language):
    document = render(renamed(full_report(), name), f"summary:language={language}")
    lines = document.split("\n")
    assert lines.pop() == ""
    assert 3 <= len(lines) <= 12
    assert all(mark.isprintable() or "\ud800" <= mark <= "\udfff" for mark in "".join(lines))


def test_many_checkpoints_take_no_more_lines():
    report = full_report()
    rows = tuple(
        replace(finding, retention=replace(finding.retention, checkpoint=f"run-{number}"))
        for number in range(40)
        for finding in report.findings[:1]
    )
    lines = render(replace(report, findings=report.findings + rows)).splitlines()
    assert len(lines) <= 12
    assert any("Further checkpoints" in line for line in lines)
