"""Every exporter: a fixed report against its golden file, and names that try to break the format."""

import csv
import functools
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hostile import HOSTILE, renamed
from planted import full_report, make_answers, make_judged

from forgetcheck import catalog
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import Report
from forgetcheck.retention.verdict import Verdict

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parent / "golden"
EXPORTERS = catalog.names("exporters")
CHECK_KEYS = {
    *("demand", "checkpoint", "subject", "probe", "outcome", "value", "low", "high", "limit"),
    *("p_adjusted", "tried", "n", "detectable", "reason", "advice", "guessed"),
}
FINDING_KEYS = {
    *("checkpoint", "task", "concept", "probe", "n", "clusters", "design_effect"),
    *("base", "tuned", "drop", "low", "high"),
    *("p", "p_adjusted", "tried", "limit", "detectable", "verdict", "gated", "must_forget", "target"),
    *("lost", "gained", "lost_share", "chance_p", "widened", "lowest_template", "highest_template"),
    *("base_ece", "tuned_ece", "ece_change", "ece_error", "confused", "reason", "warnings"),
}
FEW, STOPPED = "only 20 samples: no small drop can be shown", "the tuned probe stopped early"


def render(exporter, report):
    return catalog.build("exporters", exporter).render(report)


@pytest.fixture(scope="module")
def report():
    return full_report()


@functools.cache
def report_of(name):
    """Return the report in which everything has this name."""
    return renamed(full_report(), name)


def to_six_digits(document):
    """Round the long numbers: in their last digits, machines differ."""
    return re.sub(r"\d+\.\d{6,}(e-?\d+)?", lambda number: f"{float(number.group()):.6g}", document)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_golden(exporter, report):
    """To accept a change, write render(...) to the file and read the diff."""
    files = list(GOLDEN.glob(f"{exporter}.*"))
    assert len(files) == 1, f"write the golden file golden/{exporter}.<ext>"
    assert to_six_digits(render(exporter, report)) == to_six_digits(files[0].read_text(encoding="utf-8"))


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_rendering_is_deterministic_text_ending_in_one_newline(exporter, report):
    document = render(exporter, report)
    assert document == render(exporter, full_report())
    assert document.endswith("\n")
    assert not document.endswith("\n\n")
    assert "\r" not in document


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_can_be_rendered_and_written_down(exporter, name):
    document = render(exporter, report_of(name))
    assert document.endswith("\n")
    assert "\r" not in document
    document.encode("utf-8", "backslashreplace")


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_intervals_n_and_warnings_are_in_every_export(exporter, report):
    """The executive summary has no room for warnings; a paper's tables have none for concepts."""
    document = render(exporter, report)
    assert exporter == "summary" or STOPPED in document
    assert exporter in ("summary", "latex") or FEW in document
    assert re.search(r"\b220\b|[0-9] test images", document)
    assert re.search(r"0\.28908|28\.9|21\.1\b", document)  # the upper end for shape, or for the mean


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_what_clustered_samples_are_worth_is_in_every_export(exporter):
    item = make_answers({"cat": (450, 30, 0, 20), "dog": (450, 30, 0, 20)})
    document = render(
        exporter, make_judged(replace(item, groups=np.repeat(np.arange(500), 2).astype(np.int32)))
    )
    said = r"1,000 samples in 500 clusters count as about (\d+) independent ones \(design effect (\d\.\d)\)"
    worth = re.search(said, re.sub(r"\s+", " ", document))
    if exporter == "summary":
        assert worth is None
        return
    assert (int(worth[1]), float(worth[2])) == (500, 2.0)
    if exporter == "json":
        row = json.loads(document)["findings"][0]
        assert (row["n"], row["clusters"], row["design_effect"]) == (1000, 500, 2.0)
    if exporter == "csv":
        frame = pd.read_csv(io.StringIO(document))
        assert frame[["n", "clusters", "design_effect"]].iloc[0].tolist() == [1000, 500, 2.0]


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_options_all_have_defaults(exporter, report):
    entry = next(entry for entry in catalog.entries("exporters") if entry.name == exporter)
    assert all(option.default != "required" for option in entry.options)
    assert render(exporter, report) == render(f"{exporter}:", report)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_report_of_nothing_can_be_rendered(exporter):
    assert render(exporter, Report((), (), (), Policy(), {})).endswith("\n")


def test_json_has_the_keys_of_its_schema(report):
    document = json.loads(render("json", report))
    assert document["schema"] == "forgetcheck/report@1"
    assert document["passed"] is False
    assert document["provenance"] == report.provenance
    keys = {
        "schema",
        "passed",
        "gated",
        "remarks",
        "sanity",
        "policy",
        "checks",
        "findings",
        "summary",
        "unasked",
    } | {"provenance"}
    assert set(document) == keys
    assert len(document["findings"]) == len(report.findings)
    assert len(document["checks"]) == len(report.checks)
    assert all(set(finding) == FINDING_KEYS for finding in document["findings"])
    assert all(set(check) == CHECK_KEYS for check in document["checks"])
    keys = {"tasks", "never_knew", "mean_drop", "mean_drop_of_all", "low", "high", "delta"}
    keys |= {"worst_drop", "worst_task"}
    assert {name: set(probes) for name, probes in document["summary"].items()} == {
        "naive": {"zero-shot", "linear", "head"},
        "ldifs": {"zero-shot", "head"},
    }
    assert all(set(facts) == keys for probes in document["summary"].values() for facts in probes.values())


def test_json_numbers_are_fractions_and_exact(report):
    for record, finding in zip(json.loads(render("json", report))["findings"], report.findings, strict=True):
        row = finding.retention
        assert (record["drop"], record["low"], record["high"]) == (row.drop, row.low, row.high)
        assert (record["p"], record["p_adjusted"], record["tried"]) == (
            finding.p,
            finding.p_adjusted,
            finding.tried,
        )
        assert record["verdict"] == finding.verdict.value


def test_json_says_null_of_what_was_not_measured(report):
    asked = [check for check in json.loads(render("json", report))["checks"] if check["demand"] == "asked"]
    assert [(check["value"], check["limit"], check["reason"]) for check in asked] == [
        (None, None, "class 'lines' has no train images.")
    ]


def test_json_refuses_what_is_not_a_number(report):
    with pytest.raises(ValueError, match="JSON"):
        render("json", replace(report, provenance={"loss": float("nan")}))


@pytest.mark.parametrize("name", HOSTILE)
def test_json_keeps_any_name(name):
    document = json.loads(render("json", report_of(name)))
    assert {finding["checkpoint"] for finding in document["findings"]} == {name}
    assert {finding["concept"] for finding in document["findings"]} == {None, name}
    assert {finding["reason"] for finding in document["findings"]} == {name}
    assert {check["subject"] for check in document["checks"]} == {name}
    assert {item["why"] for item in document["unasked"]} == {name}
    assert {said for finding in document["findings"] for said, _ in finding["confused"]} == {name}
    assert document["provenance"]["base"]["name"] == name


def read_csv(document):
    return pd.read_csv(io.StringIO(document), keep_default_na=False)


def test_csv_is_points_with_the_papers_delta(report):
    frame = read_csv(render("csv", report))
    assert len(frame) == len(report.findings)
    assert (frame["delta"] - (frame["tuned"] - frame["base"])).abs().max() < 2e-4
    assert frame["drop"].tolist() == (-frame["delta"]).tolist()
    assert frame["delta"].tolist()[:4] == [-22.7273, -50.0, 2.0, -10.0]
    assert frame["limit"].tolist()[:2] == [2.0, 10.0]
    assert "-0.0," not in render("csv", report)


def test_csv_has_the_keys_of_the_record_and_leaves_the_unmeasured_empty(report):
    frame = read_csv(render("csv", report))
    assert set(frame.columns) == FINDING_KEYS | {"level", "delta"}
    first, circle = frame.iloc[0], frame.iloc[1]
    assert float(first["base_ece"]) == pytest.approx(14.3636)
    assert (circle["base_ece"], circle["tuned_ece"]) == ("", "")
    finding = report.findings[0]
    assert float(first["detectable"]) == pytest.approx(100 * finding.detectable, abs=1e-4)
    assert float(first["p_adjusted"]) == pytest.approx(finding.p_adjusted, rel=1e-5)
    assert first["tried"] == finding.tried
    assert (circle["confused"], circle["reason"]) == ("50 star", "the logo is a circle")
    assert frame[frame["level"] == "concept"]["detectable"].tolist()[1:3] == ["", ""]


def test_csv_says_which_limits_are_of_the_accuracy(report):
    frame = read_csv(render("csv", report))
    forget = frame[frame["must_forget"]]
    assert forget["concept"].tolist() == ["ann", "bob"]
    assert forget["limit"].tolist() == [60.0, 60.0]
    assert forget["verdict"].tolist() == [Verdict.STILL_KNOWN, Verdict.UNLEARNED]


def test_csv_tells_a_task_from_a_concept_without_a_name(report):
    frame = read_csv(render("csv", report_of("")))
    wanted = ["task" if f.retention.concept is None else "concept" for f in report.findings]
    assert frame["level"].tolist() == wanted
    assert set(frame["concept"]) == {""}


def test_csv_rounds_as_asked(report):
    first = next(iter(report.findings))
    third = replace(first, retention=replace(first.retention, n=300, base=1 / 3))
    frame = read_csv(render("csv:decimals=1", replace(report, findings=(third,))))
    assert (frame["base"][0], frame["drop"][0], frame["delta"][0]) == (33.3, 16.7, -16.7)


@pytest.mark.parametrize("name", HOSTILE)
def test_csv_keeps_any_name_and_runs_none(name):
    document = render("csv", report_of(name))
    header, *rows = csv.reader(io.StringIO(document, newline=""))
    assert len(rows) == len(report_of(name).findings)
    assert all(len(row) == len(header) for row in rows)
    for column in ("checkpoint", "task", "probe", "warnings", "reason"):
        for cell in (row[header.index(column)] for row in rows):
            assert cell.removeprefix("'") == name.replace("\r", " ").removeprefix("'")
    for cell in (cell for row in rows for column, cell in zip(header, row, strict=True) if cell):
        assert not cell.startswith(("=", "@", "\t", "\r", "\n", "＝", "＋", "＠"))
        assert not cell.startswith(("+", "-")) or float(cell) <= 0


@pytest.mark.parametrize("exporter", [name for name in EXPORTERS if name != "csv"])
def test_a_comparison_that_may_not_be_meant_is_said_in_every_export(exporter):
    """Of rows alone, as in CSV, there is no place for it."""
    better = {"cat": (380, 5, 110, 5), "dog": (390, 5, 105, 0)}
    document = render(exporter, make_judged(make_answers(better), make_answers(better, task="colour")))
    assert "are base and tuned swapped?" in re.sub(r"\s+", " ", document)
    same = make_answers({"cat": (40, 0, 0, 5), "dog": (45, 0, 0, 2)}, identical=True)
    document = render(exporter, make_judged(same))
    assert "the base itself" in re.sub(r"\s+", " ", document)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_what_a_row_allows_for_is_in_every_export(exporter):
    """An adjusted p-value, and among how many questions: the interval beside it doesn't tell."""
    lost = make_answers({"fox": (190, 9, 0, 0), "cat": (190, 0, 0, 0)}, task="lost")
    others = [make_answers({"a": (90, 1, 1, 0), "b": (90, 0, 0, 0)}, task=f"t {k}") for k in range(60)]
    document = render(exporter, make_judged(lost, *others, max_drop=0.005))
    if exporter == "summary":
        assert "does not suffice" in document
    else:
        assert re.search(r"\b61\b", document)
        assert re.search(r"0\.6[78]", document)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_what_was_lost_but_may_have_been_guessed_is_said_in_every_export(exporter):
    guess = make_answers({"cat": (0, 95, 0, 0), "dog": (0, 0, 5, 0)}, task="guessed")
    kept = make_answers({"cat": (480, 10, 10, 0), "dog": (490, 5, 5, 0)})
    document = re.sub(r"\s+", " ", render(exporter, make_judged(kept, guess)))
    assert re.search(r"guess", document)
    assert "stands against a release" not in document
