"""A report as tables that fit 80 columns."""

import sys
from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from forgetcheck.batteries.names import some
from forgetcheck.cli.console import show
from forgetcheck.retention.gate import Mean, Outcome
from forgetcheck.retention.report import Report
from forgetcheck.retention.text.wording import advised, demand, opened
from forgetcheck.retention.verdict import Finding, Verdict
from forgetcheck.text import percent, points, printable

_STYLES = {
    Verdict.FORGOT: "bold red",
    Verdict.STILL_KNOWN: "bold red",
    Verdict.UNSURE: "yellow",
    Verdict.RETAINED: "green",
    Verdict.GAINED: "green",
    Verdict.UNLEARNED: "green",
    Verdict.NEVER_KNEW: "dim",
}
_BAR = 6  # cells of a bar; the largest drop or gain of the report fills it
_SMALLEST = 0.0005
_WIDER = 1.05  # times as wide: less isn't worth a line
_NARROW = 14  # columns for a probe, such as caption-choice
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def show_report(report: Report, top: int) -> None:
    """Print per checkpoint a table of its tasks for each probe, its worst concepts, and what failed."""
    scale = max((abs(finding.retention.drop) for finding in report.tasks()), default=0.0)
    for checkpoint in report.checkpoints:
        for mean in report.means_of(checkpoint):
            findings = report.tasks(checkpoint, mean.probe)
            show(_task_table(f"{checkpoint} · {mean.probe}", findings, report.policy.confidence, scale))
            for line in captions(findings, mean):
                show(Text(f"  {line}", style="dim"))
            show("")
        concepts = report.worst_concepts(checkpoint, top)
        if concepts:
            title = f"{checkpoint} · concepts that dropped most, of {tried(report, checkpoint)}"
            show(_concept_table(title, concepts, report.policy.confidence, scale))
            show("")
        for warning in dict.fromkeys(w for f in report.tasks(checkpoint) for w in f.retention.warnings):
            show(printable(f"warning: {warning}"))
    for line in _unmet(report, top):
        show(printable(line))
    for item in report.unasked:
        if item.role == "optional":
            show(
                printable(
                    f"optional, and not asked: {item.task} ({item.checkpoint}, {item.probe}): {item.why}"
                )
            )
    if report.folders:
        show(Text(printable(f"read from: {some(report.folders)}"), style="dim"))
    if report.sanity:
        show(Text(printable(f"{report.sanity}."), style="dim"))
    for remark in report.remarks:
        show(Text(printable(f"!! {opened(remark)}"), style="bold red"))


def tried(report: Report, checkpoint: str) -> int:
    rows = [finding.retention for finding in report.findings]
    return sum(row.concept is not None and row.checkpoint == checkpoint for row in rows)


def _unmet(report: Report, top: int) -> Iterator[str]:
    """Name the demands that failed, worst first, and those that are neither shown nor refuted."""
    for outcome in (Outcome.FAILED, Outcome.UNSURE):
        checks = report.failures(outcome)
        for check in checks[:top]:
            advice = advised(check)
            yield f"{outcome.value}: {demand(check)}{advice and f'; {advice}'}"
        if len(checks) > top > 0:
            yield f"{outcome.value}: and {len(checks) - top} more; --top {len(checks)} shows them"


def captions(findings: Sequence[Finding], mean: Mean) -> Iterator[str]:
    ends = f"[{points(mean.low)}, {points(mean.high)}]"
    worst = f"worst {points(mean.worst.drop)} ({mean.worst.task})"
    yield printable(f"{mean.subject}: drop {points(mean.drop)} {ends}, {worst}")
    if mean.unknown:
        yield f"with the {mean.unknown} the base never knew: drop {points(mean.every_drop)}"
    tried = sorted({finding.tried for finding in findings})
    if tried:
        yield f"p: of the limit being kept, adjusted among {' or '.join(f'{n:,}' for n in tried)}"
    spread = [f.retention.by_template for f in findings if f.retention.by_template is not None]
    if spread:
        widest = max(high - low for low, high in spread)
        yield f"single prompt templates: drops up to {100 * widest:.1f} points apart on a task"
    wider = [f.retention.widened for f in findings if f.retention.widened > _WIDER]
    if wider:
        wide = f"{min(wider):.1f} to {max(wider):.1f}" if len(wider) > 1 else f"{wider[0]:.1f}"
        yield f"intervals count the probe's training images: {wide} times as wide"
    limits = sorted({finding.limit for finding in findings if finding.gated})
    found = [finding.detectable for finding in findings if finding.gated]
    able = [drop for drop in found if drop is not None]
    if limits:
        said = " or ".join(f"{100 * limit:g}" for limit in limits)
        yield f"limit {said}; found 4 times in 5: {_detectable(able, len(found))}"
    rows = [f.retention for f in findings if f.retention.calibration is not None]
    errors = [row.calibration for row in rows if row.calibration is not None]
    if errors:
        base, tuned = (sum(error[side] for error in errors) / len(errors) for side in (0, 1))
        yield f"calibration error (ECE): {percent(base)} before, {percent(tuned)} after"


def _detectable(drops: Sequence[float], asked: int) -> str:
    """Say how large a drop must be to be found, over the questions of a table."""
    if not drops:
        return "no drop, there are too few samples"
    low, high = (f"{100 * end:.1f}" for end in (min(drops), max(drops)))
    blind = f", none in {asked - len(drops)}" if len(drops) < asked else ""
    return f"a drop of {low if low == high else f'{low} to {high}'} points{blind}"


def _task_table(title: str, findings: Sequence[Finding], level: float, scale: float) -> Table:
    table = _empty_table(title, "task", level, probe=False)
    for finding in findings:
        table.add_row(Text(printable(finding.retention.task)), *_cells(finding, scale))
    return table


def _concept_table(title: str, findings: Sequence[Finding], level: float, scale: float) -> Table:
    table = _empty_table(title, "concept", level, probe=True)
    for finding in findings:
        row = finding.retention
        names = (Text(printable(row.subject)), Text(_broken(printable(row.probe))))
        table.add_row(*names, *_cells(finding, scale))
    return table


def _broken(probe: str) -> str:
    """Write a probe in narrow lines, its options on lines of their own."""
    if len(probe) <= _NARROW:
        return probe
    lines = probe.replace(":", ":\n", 1).split("\n")
    return "\n".join(
        line[start : start + _NARROW] for line in lines for start in range(0, len(line), _NARROW)
    )


def titled(title: str) -> Table:
    """Return a table of columns beside each other, without lines."""
    return Table(
        title=Text(printable(title), style="bold"),
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def _empty_table(title: str, first: str, level: float, probe: bool) -> Table:
    table = titled(title)
    table.add_column(first, overflow="fold", min_width=8)
    if probe:
        table.add_column("probe", no_wrap=True)
    for name in ("base", "tuned", "drop"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, width=_BAR)
    table.add_column(f"{100 * level:g} % interval", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    return table


def _cells(finding: Finding, scale: float) -> list[Text]:
    row = finding.retention
    style = _STYLES[finding.verdict]
    return [
        Text(f"{100 * row.base:.1f}"),
        Text(f"{100 * row.tuned:.1f}"),
        Text(points(row.drop)),
        Text(bar(row.drop, scale), style=style),
        Text(f"[{points(row.low)}, {points(row.high)}]"),
        Text(str(row.n)),
        Text(_probability(finding.p_adjusted)),
        Text(finding.verdict.value, style=style),
    ]


def _probability(p: float) -> str:
    """Write a p-value in five characters; what is small is said to be."""
    if p < _SMALLEST:
        return "<.001"
    return f"{p:.3f}".removeprefix("0") if p < 0.9995 else "1"


def bar(drop: float, scale: float) -> str:
    """Draw a drop as a solid bar and a gain as a shaded one; in ASCII where there is nothing else."""
    length = min(abs(drop) / scale, 1.0) * _BAR if scale > 0 else 0.0
    if "utf" not in (sys.stdout.encoding or "").lower():
        return ("#" if drop > 0 else "+") * round(length)
    if drop < 0:
        return "░" * round(length)
    whole, rest = divmod(round(8 * length), 8)
    return "█" * whole + _EIGHTHS[rest].strip()
