"""Every exporter: a fixed report against its golden file, and names that try to break the format."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from forgetcheck import catalog
from forgetcheck.retention.compare import Retention
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import Report
from forgetcheck.retention.verdict import Finding, Verdict

GOLDEN = Path(__file__).parent / "golden"
EXPORTERS = catalog.names("exporters")
FINDING_KEYS = {
    *("checkpoint", "task", "concept", "probe", "n", "base", "tuned", "drop", "low", "high"),
    *("p", "limit", "verdict", "warnings"),
}
FEW = "only 20 samples: an anecdote, not evidence"
HOSTILE = (
    "=cmd|' /C calc'!A1",
    "+1+1",
    "-2",
    "@SUM(A1)",
    "a|b",
    "<script>alert(1)</script>",
    "</details>",
    "two\nlines",
    "\n=1+1",
    "carriage\rreturn",
    "tab\there",
    'quo"te',
    "semi;colon,comma",
    "![x](y) **bold** `code` ~~gone~~ $x$",
    "&lt;b&gt; \\| \\",
    "# heading",
    "🦊 straße ﷽",
    "caf\udce9",  # a file name that is not UTF-8
    "NA",
    "",
)


def row(concept, n, lost, gained, ends, base, **fields):
    low, high = ends
    facts = {"checkpoint": "naive", "task": "shape", "probe": "zero-shot", "chance_p": 0.0}
    same = {"identical": False, "target": False, "warnings": ()}
    values = {**facts, **same, **fields}
    tuned = (round(base * n) - lost + gained) / n
    return Retention(
        concept=concept, n=n, base=base, tuned=tuned, lost=lost, gained=gained, low=low, high=high, **values
    )


def fixed_report():
    """Every verdict once, two checkpoints, two probes, a warning; all numbers chosen by hand."""
    rows = [
        (row(None, 200, 52, 2, (0.19, 0.315), 0.85), 0.0, Verdict.FORGOT),
        (row("circle", 100, 50, 0, (0.4, 0.6), 1.0), 0.0, Verdict.FORGOT),
        (row("star", 80, 0, 2, (-0.085, 0.025), 0.75), 0.9, Verdict.UNSURE),
        (row("disc", 20, 2, 0, (-0.075, 0.305), 0.5, warnings=(FEW,)), 0.25, Verdict.NEVER_KNEW),
        (row(None, 200, 1, 3, (-0.04, 0.015), 0.95, probe="linear"), 0.96, Verdict.RETAINED),
        (row(None, 400, 4, 200, (-0.55, -0.43), 0.25, task="digits", target=True), 1.0, Verdict.GAINED),
        (row(None, 200, 0, 0, (0.0, 0.0), 0.9, checkpoint="ldifs", identical=True), 1.0, Verdict.RETAINED),
    ]
    findings = tuple(Finding(r, 0.02, p, p, verdict, r.concept is None) for r, p, verdict in rows)
    return Report(findings, Policy(), {"base": {"name": "forgetcheck:tiny"}, "device": "cpu"})


def renamed(report, name):
    """Put a name wherever a report holds one; a whole task stays one."""
    findings = []
    for finding in report.findings:
        old = finding.retention
        concept = None if old.concept is None else name
        new = replace(old, checkpoint=name, task=name, concept=concept, probe=name, warnings=(name,))
        findings.append(replace(finding, retention=new))
    return replace(report, findings=tuple(findings), provenance={"base": {"name": name}})


def render(exporter, report):
    return catalog.build("exporters", exporter).render(report)


@pytest.fixture
def report():
    return fixed_report()


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_golden(exporter, report):
    """To accept a change, write render(...) to the file and read the diff."""
    files = list(GOLDEN.glob(f"{exporter}.*"))
    assert len(files) == 1, f"write the golden file golden/{exporter}.<ext>"
    assert render(exporter, report) == files[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_rendering_is_deterministic_text_ending_in_one_newline(exporter, report):
    document = render(exporter, report)
    assert document == render(exporter, fixed_report())
    assert document.endswith("\n")
    assert not document.endswith("\n\n")
    assert "\r" not in document


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_can_be_rendered(exporter, report, name):
    assert render(exporter, renamed(report, name)).endswith("\n")


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_intervals_n_and_warnings_are_in_every_export(exporter, report):
    document = render(exporter, report)
    assert FEW in document
    assert "200" in document
    assert re.search("0.315|31.5", document)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_options_all_have_defaults(exporter, report):
    entry = next(entry for entry in catalog.entries("exporters") if entry.name == exporter)
    assert all(option.default != "required" for option in entry.options)
    assert render(exporter, report) == render(f"{exporter}:", report)


def test_json_has_the_keys_of_its_schema(report):
    document = json.loads(render("json", report))
    assert document["schema"] == "forgetcheck/report@1"
    assert document["passed"] is False
    assert document["provenance"] == report.provenance
    assert set(document) >= {"schema", "passed", "findings", "summary", "provenance"}
    assert len(document["findings"]) == len(report.findings)
    assert all(set(finding) >= FINDING_KEYS for finding in document["findings"])
    keys = {"mean_drop", "worst_drop", "worst_task"}
    assert {name: set(probes) for name, probes in document["summary"].items()} == {
        "naive": {"zero-shot", "linear"},
        "ldifs": {"zero-shot"},
    }
    assert all(set(facts) == keys for probes in document["summary"].values() for facts in probes.values())


def test_json_numbers_are_fractions_and_exact(report):
    for record, finding in zip(json.loads(render("json", report))["findings"], report.findings, strict=True):
        row = finding.retention
        assert (record["drop"], record["low"], record["high"]) == (row.drop, row.low, row.high)
        assert record["verdict"] == finding.verdict.value


def test_json_refuses_what_is_not_a_number(report):
    with pytest.raises(ValueError, match="JSON"):
        render("json", replace(report, provenance={"loss": float("nan")}))


@pytest.mark.parametrize("name", HOSTILE)
def test_json_keeps_any_name(report, name):
    document = json.loads(render("json", renamed(report, name)))
    assert {finding["checkpoint"] for finding in document["findings"]} == {name}
    assert {finding["concept"] for finding in document["findings"]} == {None, name}


def read_csv(document):
    return pd.read_csv(io.StringIO(document), keep_default_na=False)


def test_csv_is_points_with_the_papers_delta(report):
    frame = read_csv(render("csv", report))
    assert len(frame) == len(report.findings)
    assert (frame["delta"] - (frame["tuned"] - frame["base"])).abs().max() < 2e-4
    assert frame["delta"].tolist() == [-25.0, -50.0, 2.5, -10.0, 1.0, 49.0, 0.0]
    assert frame["drop"].tolist() == (-frame["delta"]).tolist()
    assert frame["limit"].tolist() == [2.0] * 7
    assert frame["concept"].tolist() == ["", "circle", "star", "disc", "", "", ""]
    assert "-0.0," not in render("csv", report)


def test_csv_rounds_as_asked(report):
    first = next(iter(report.findings))
    third = replace(first, retention=replace(first.retention, n=300, base=1 / 3))
    frame = read_csv(render("csv:decimals=1", replace(report, findings=(third,))))
    assert (frame["base"][0], frame["drop"][0], frame["delta"][0]) == (33.3, 16.7, -16.7)


@pytest.mark.parametrize("name", HOSTILE)
def test_csv_keeps_any_name_and_runs_none(report, name):
    document = render("csv", renamed(report, name))
    header, *rows = csv.reader(io.StringIO(document, newline=""))
    assert len(rows) == len(report.findings)
    assert all(len(row) == len(header) for row in rows)
    for column in ("checkpoint", "task", "probe", "warnings"):
        for cell in (row[header.index(column)] for row in rows):
            assert cell.removeprefix("'") == name.replace("\r", " ")
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def inline(document):
    """What a reader sees: the tokens of every paragraph, heading and table cell."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(document)
    return tokens, [token for token in tokens if token.type == "inline"]


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_any_name_and_obeys_none(report, name):
    tokens, lines = inline(render("markdown", renamed(report, name)))
    plain, _ = inline(render("markdown", renamed(report, "plain")))
    assert [token.type for token in tokens] == [token.type for token in plain]
    kinds = {child.type for line in lines for child in line.children}
    assert kinds <= {"text", "text_special", "softbreak", "strong_open", "strong_close"}
    shown = " ".join(name.split())
    cells = [" ".join("".join(child.content for child in line.children).split()) for line in lines]
    assert shown in cells
    assert " / ".join([shown, shown]).strip() in [cell.strip() for cell in cells]


def test_markdown_lists_only_as_many_concepts_as_asked(report):
    assert "circle" in render("markdown", report)
    assert "<details>" not in render("markdown:top=0", report)
