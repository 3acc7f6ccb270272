"""The report as Markdown: verdict first, then a table per checkpoint."""

from collections.abc import Iterator
from dataclasses import dataclass

from forgetcheck.catalog import Count
from forgetcheck.exporters.base import Exporter
from forgetcheck.retention.compare import Retention
from forgetcheck.retention.report import Report, summarise
from forgetcheck.retention.verdict import Finding

SPECIAL = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>|#~&"} | {"\n": " ", "\r": " "})


@dataclass(frozen=True)
class Markdown(Exporter):
    """Fits a pull request comment; names are data and cannot inject markup."""

    top: Count = 10  # worst concepts per checkpoint

    def render(self, report: Report) -> str:
        return "\n".join(self.lines(report)) + "\n"

    def lines(self, report: Report) -> Iterator[str]:
        limit = f"{100 * report.policy.max_drop:g}"
        yield f"# forgetcheck: {'passed' if report.passed else 'NOT passed'}"
        yield ""
        yield f"Limit: a drop of {limit} points on any task. drop = base − tuned, in percentage points;"
        yield f"brackets are the {100 * report.policy.confidence:g} % interval of the paired difference."
        summary = summarise(report)
        for checkpoint in report.checkpoints:
            yield from ["", f"## {escaped(checkpoint)}", ""]
            for probe, facts in summary[checkpoint].items():
                yield (
                    f"- {escaped(probe)}: mean drop **{points(facts['mean_drop'])}**, "
                    f"worst {points(facts['worst_drop'])} on {escaped(facts['worst_task'])}"
                )
            yield from ["", *table(report.tasks(checkpoint)), *doubts(report.tasks(checkpoint))]
            worst = report.worst_concepts(checkpoint, self.top)
            if worst:
                yield from ["", "<details><summary>Concepts that dropped most</summary>", ""]
                yield from [*table(worst), *doubts(worst), "", "</details>"]


def table(findings: list[Finding]) -> Iterator[str]:
    yield "| task | probe | base % | tuned % | drop | interval | n | verdict |"
    yield "|---|---|---:|---:|---:|---|---:|---|"
    for finding in findings:
        row = finding.retention
        yield (
            f"| {escaped(question(row))} | {escaped(row.probe)} "
            f"| {100 * row.base:.1f} | {100 * row.tuned:.1f} | {points(row.drop)} "
            f"| [{points(row.low)}, {points(row.high)}] | {row.n} | {finding.verdict} |"
        )


def doubts(findings: list[Finding]) -> Iterator[str]:
    """List the warnings of a table's rows below it."""
    rows = [finding.retention for finding in findings if finding.retention.warnings]
    for number, row in enumerate(rows):
        if number == 0:
            yield ""
        said = "; ".join(row.warnings)
        yield f"- {escaped(question(row))}, {escaped(row.probe)}: {escaped(said)}"


def question(row: Retention) -> str:
    return row.task if row.concept is None else f"{row.task} / {row.concept}"


def points(fraction: float) -> str:
    """Print a signed difference in percentage points, with a real minus and no negative zero."""
    return f"{100 * fraction + 0.0:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0").replace("-", "−")


def escaped(text: str) -> str:
    return text.translate(SPECIAL)
