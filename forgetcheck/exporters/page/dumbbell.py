"""Dumbbell plots, base to tuned, task by task: what is drawn where. Pure geometry in pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

from forgetcheck.exporters.page.axis import Axis, axis_over
from forgetcheck.exporters.page.text import clipped, drop, drop_ends, listed, named, share, tuned, width
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import Report
from forgetcheck.retention.verdict import Finding, Verdict

_PANELS = 6  # checkpoints in one figure; all are in its table
_TASKS = 30  # in a panel, worst first; all are in its table
_TOP = 30.0
_PITCH = 25.0
_BOTTOM = 34.0
FONT = 12.5


@dataclass(frozen=True)
class _Layout:
    """Where the columns of a panel stand; panels that share a line of the page are narrower."""

    width: float
    labels: float  # right edge of the task names
    start: float  # of the plot
    end: float
    drops: float  # right edge of the drops
    verdicts: float | None  # left edge of the verdicts; None: colour, shape and legend tell them
    ticks: int


_ALONE = _Layout(900, 188, 204, 716, 776, 790, 10)
_PAIR = _Layout(560, 122, 136, 408, 458, 470, 6)
_THREE = _Layout(376, 112, 126, 320, 372, None, 5)


@dataclass(frozen=True)
class _Row:
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
class _Panel:
    """What one checkpoint did to the tasks, by one probe."""

    checkpoint: str
    probe: str
    axis: Axis
    rows: tuple[_Row, ...]
    layout: _Layout
    top: float = _TOP
    pitch: float = _PITCH

    @property
    def height(self) -> float:
        return self.floor + _BOTTOM

    @property
    def floor(self) -> float:
        return _TOP + _PITCH * len(self.rows)

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
class _Figure:
    """All panels of one probe, and every finding of it for the table."""

    probe: str
    panels: tuple[_Panel, ...]
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
        return max(self.tasks - _TASKS, 0)

    @property
    def panels_left_out(self) -> int:
        return max(self.checkpoints - _PANELS, 0)


def figures(report: Report) -> list[_Figure]:
    """Return a figure per probe, zero-shot first."""
    return [figure(report, probe) for probe in sorted(report.probes, key=lambda probe: probe != "zero-shot")]


def figure(report: Report, probe: str) -> _Figure:
    findings = report.tasks(probe=probe)
    order = tasks_by_drop(findings)
    checkpoints = [name for name in report.checkpoints if report.tasks(name, probe)]
    drawn = {name: _in_order(report.tasks(name, probe), order[:_TASKS]) for name in checkpoints[:_PANELS]}
    layout = {1: _ALONE, 2: _PAIR}.get(len(drawn), _THREE)
    shown = [value for rows in drawn.values() for f in rows for value in _reach(f, report.policy)]
    axis = axis_over(shown, layout.start, layout.end, layout.ticks, (0.0, 1.0))
    panels = tuple(panel(name, probe, rows, axis, layout, report.policy) for name, rows in drawn.items())
    return _Figure(probe, panels, tuple(_in_order(findings, order)), len(order), len(checkpoints))


def tasks_by_drop(findings: Sequence[Finding]) -> list[str]:
    """Return the tasks, those first that any checkpoint lost most of: one order for all panels."""
    worst: dict[str, float] = {}
    for finding in findings:
        row = finding.retention
        worst[row.task] = max(row.drop, worst.get(row.task, row.drop))
    return sorted(worst, key=lambda task: -worst[task])


def _in_order(findings: Sequence[Finding], tasks: Sequence[str]) -> list[Finding]:
    """Return the findings on these tasks, in their order."""
    place = {task: number for number, task in enumerate(tasks)}
    kept = [finding for finding in findings if finding.retention.task in place]
    return sorted(kept, key=lambda finding: place[finding.retention.task])


def panel(
    checkpoint: str, probe: str, findings: Sequence[Finding], axis: Axis, layout: _Layout, policy: Policy
) -> _Panel:
    rows = (
        row(finding, axis, layout.labels, policy, _TOP + _PITCH * (number + 0.5))
        for number, finding in enumerate(findings)
    )
    return _Panel(checkpoint, probe, axis, tuple(rows), layout)


def row(finding: Finding, axis: Axis, room: float, policy: Policy, y: float) -> _Row:
    low, high = interval_of_tuned(finding, policy)
    facts = finding.retention
    note = " (target)" if facts.target else ""
    name = clipped(facts.task, room / FONT - width(note)) + note
    return _Row(
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


def _reach(finding: Finding, policy: Policy) -> tuple[float, ...]:
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
