"""Dumbbell plots, base to tuned, task by task: what is drawn where. Pure geometry in pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

from forgetcheck.exporters.page.axis import Axis, axis_over
from forgetcheck.exporters.page.text import clipped, drop, drop_ends, listed, named, share, tuned, width
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import Report
from forgetcheck.retention.verdict import Finding, Verdict

PANELS = 6  # checkpoints in one figure; all are in its table
TASKS = 30  # in a panel, worst first; all are in its table
TOP = 30.0
PITCH = 25.0
BOTTOM = 34.0
FONT = 12.5


@dataclass(frozen=True)
class Layout:
    """Where the columns of a panel stand; panels that share a line of the page are narrower."""

    width: float
    labels: float  # right edge of the task names
    start: float  # of the plot
    end: float
    drops: float  # right edge of the drops
    verdicts: float | None  # left edge of the verdicts; None: colour, shape and legend tell them
    ticks: int


ALONE = Layout(900, 188, 204, 716, 776, 790, 10)
PAIR = Layout(560, 122, 136, 408, 458, 470, 6)
THREE = Layout(376, 112, 126, 320, 372, None, 5)


@dataclass(frozen=True)
class Row:
    """One task of a panel."""

    label: str
    told: str  # the whole row as a sentence
    verdict: Verdict
    drop: str
    y: float
    base: float
    tuned: float
    low: float  # of the interval round the tuned dot
    high: float
    limit: float


@dataclass(frozen=True)
class Panel:
    """What one checkpoint did to the tasks, by one probe."""

    checkpoint: str
    probe: str
    axis: Axis
    rows: tuple[Row, ...]
    layout: Layout
    top: float = TOP
    pitch: float = PITCH

    @property
    def height(self) -> float:
        return self.floor + BOTTOM

    @property
    def floor(self) -> float:
        return TOP + PITCH * len(self.rows)

    @property
    def described(self) -> str:
        found = {
            verdict: [row.label for row in self.rows if row.verdict is verdict]
            for verdict in Verdict
            if any(row.verdict is verdict for row in self.rows)
        }
        said = "; ".join(f"{verdict}: {listed(names)}" for verdict, names in found.items())
        return f"One row per task, the largest drop first. {said}. The table below holds the same numbers."


@dataclass(frozen=True)
class Figure:
    """All panels of one probe, and every finding of it for the table."""

    probe: str
    panels: tuple[Panel, ...]
    findings: tuple[Finding, ...]
    tasks: int
    checkpoints: int

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Return the verdicts that occur in the picture, for its legend."""
        found = {row.verdict for panel in self.panels for row in panel.rows}
        return tuple(verdict for verdict in Verdict if verdict in found)

    @property
    def tasks_left_out(self) -> int:
        return max(self.tasks - TASKS, 0)

    @property
    def panels_left_out(self) -> int:
        return max(self.checkpoints - PANELS, 0)


def figures(report: Report) -> list[Figure]:
    """Return a figure per probe, zero-shot first."""
    return [figure(report, probe) for probe in sorted(report.probes, key=lambda probe: probe != "zero-shot")]


def figure(report: Report, probe: str) -> Figure:
    findings = report.tasks(probe=probe)
    order = tasks_by_drop(findings)
    checkpoints = [name for name in report.checkpoints if report.tasks(name, probe)]
    drawn = {name: in_order(report.tasks(name, probe), order[:TASKS]) for name in checkpoints[:PANELS]}
    layout = {1: ALONE, 2: PAIR}.get(len(drawn), THREE)
    shown = [value for rows in drawn.values() for f in rows for value in reach(f, report.policy)]
    axis = axis_over(shown, layout.start, layout.end, layout.ticks, (0.0, 1.0))
    panels = tuple(panel(name, probe, rows, axis, layout, report.policy) for name, rows in drawn.items())
    return Figure(probe, panels, tuple(in_order(findings, order)), len(order), len(checkpoints))


def tasks_by_drop(findings: Sequence[Finding]) -> list[str]:
    """Return the tasks, those first that any checkpoint lost most of: one order for all panels."""
    worst: dict[str, float] = {}
    for finding in findings:
        row = finding.retention
        worst[row.task] = max(row.drop, worst.get(row.task, row.drop))
    return sorted(worst, key=lambda task: -worst[task])


def in_order(findings: Sequence[Finding], tasks: Sequence[str]) -> list[Finding]:
    """Return the findings on these tasks, in their order."""
    place = {task: number for number, task in enumerate(tasks)}
    kept = [finding for finding in findings if finding.retention.task in place]
    return sorted(kept, key=lambda finding: place[finding.retention.task])


def panel(
    checkpoint: str, probe: str, findings: Sequence[Finding], axis: Axis, layout: Layout, policy: Policy
) -> Panel:
    rows = (
        row(finding, axis, layout.labels, policy, TOP + PITCH * (number + 0.5))
        for number, finding in enumerate(findings)
    )
    return Panel(checkpoint, probe, axis, tuple(rows), layout)


def row(finding: Finding, axis: Axis, room: float, policy: Policy, y: float) -> Row:
    low, high = interval_of_tuned(finding, policy)
    facts = finding.retention
    note = " (target)" if facts.target else ""
    name = clipped(facts.task, room / FONT - width(note)) + note
    return Row(
        label=name,
        told=f"{named(facts.task)}: base {share(facts.base)} %, tuned {tuned(finding)} %, "
        f"drop {drop(finding)} points {drop_ends(finding)}, n = {facts.n}: {finding.verdict}",
        verdict=finding.verdict,
        drop=drop(finding),
        y=y,
        base=axis.at(facts.base),
        tuned=axis.at(facts.tuned),
        low=axis.at(low),
        high=axis.at(high),
        limit=axis.at(limit_of_tuned(finding)),
    )


def reach(finding: Finding, policy: Policy) -> tuple[float, ...]:
    """Return every accuracy that a row shows."""
    row = finding.retention
    return (row.base, row.tuned, *interval_of_tuned(finding, policy), limit_of_tuned(finding))


def interval_of_tuned(finding: Finding, policy: Policy) -> tuple[float, float]:
    """Return the interval that decides, as accuracies of the tuned model: mostly that of the drop."""
    row = finding.retention
    if finding.must_forget:
        return row.tuned_interval(policy.confidence)
    return row.base - row.high, row.base - row.low


def limit_of_tuned(finding: Finding) -> float:
    """Return the tuned accuracy at which the limit is reached."""
    return finding.limit if finding.must_forget else finding.retention.base - finding.limit
