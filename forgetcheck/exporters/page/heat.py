"""The heat map, checkpoint by task: the drop in every cell. Pure geometry in pixels."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from forgetcheck.exporters.page.dumbbell import tasks_by_drop
from forgetcheck.exporters.page.text import clipped, drop, drop_ends, named
from forgetcheck.retention.report import Report
from forgetcheck.retention.verdict import Finding, Verdict

EDGES = (-0.10, -0.02, 0.02, 0.05, 0.10, 0.25)  # drops at which the colour changes
SHADES = (
    "gain of 10 and more",
    "gain of 2 to 10",
    "less than 2 either way",
    "drop of 2 to 5",
    "drop of 5 to 10",
    "drop of 10 to 25",
    "drop of 25 and more",
)
_TASKS = 40  # rows in the picture, worst first; all are in its table
_WIDEST = 16  # columns before only one probe is drawn, zero-shot if it was asked
_LABELS = 168.0
_HEAD = (50.0, 66.0)  # the room for names; more with options of probes below them
_CELL = (88.0, 28.0)
_GAP = 14.0  # between checkpoints
FONT = 12.5
_LOUD = (Verdict.FORGOT, Verdict.STILL_KNOWN)


@dataclass(frozen=True)
class _Column:
    """One checkpoint by one probe."""

    checkpoint: str
    probe: str
    label: str
    below: str  # the options of the probe
    x: float


@dataclass(frozen=True)
class _Group:
    """The columns of one checkpoint, under its name."""

    checkpoint: str
    label: str
    x: float
    end: float


@dataclass(frozen=True)
class _Cell:
    """A finding of the map."""

    x: float
    y: float
    shade: int
    text: str
    loud: bool
    told: str
    finding: Finding


@dataclass(frozen=True)
class _Line:
    """A task: its label, and a cell per column, or None where it was not asked."""

    task: str
    label: str
    y: float
    cells: tuple[_Cell | None, ...]


@dataclass(frozen=True)
class _Heat:
    """The whole map; `lines` beyond TASKS are in the table only."""

    columns: tuple[_Column, ...]
    lines: tuple[_Line, ...]
    shades: tuple[str, ...] = SHADES
    cell: tuple[float, float] = _CELL
    labels: float = _LABELS

    @property
    def drawn(self) -> tuple[_Line, ...]:
        return self.lines[:_TASKS]

    @property
    def width(self) -> float:
        return self.columns[-1].x + _CELL[0] + 1 if self.columns else _LABELS

    @property
    def groups(self) -> tuple[_Group, ...]:
        """Return the checkpoints, each over its columns."""
        found = {column.checkpoint: column for column in self.columns}  # the last of each
        firsts = {column.checkpoint: column.x for column in reversed(self.columns)}
        return tuple(
            _Group(
                name,
                clipped(name, (last.x + _CELL[0] - firsts[name]) / FONT),
                firsts[name],
                last.x + _CELL[0],
            )
            for name, last in found.items()
        )

    @property
    def height(self) -> float:
        return (self.drawn[-1].y if self.drawn else 0) + _CELL[1] + 2


def heat_map(report: Report) -> _Heat:
    """Map every probe that was applied to tasks other than the target."""
    pairs = [
        (mean.checkpoint, mean.probe)
        for checkpoint in report.checkpoints
        for mean in report.means_of(checkpoint)
        if not mean.of_target
    ]
    if len(pairs) > _WIDEST:
        first = min((probe for _, probe in pairs), key=lambda probe: probe != "zero-shot")
        pairs = [pair for pair in pairs if pair[1] == first]
    order = list(dict.fromkeys(checkpoint for checkpoint, _ in pairs))
    columns = tuple(column(number, order.index(pair[0]), *pair) for number, pair in enumerate(pairs))
    by_place = {
        (finding.retention.checkpoint, finding.retention.probe, finding.retention.task): finding
        for finding in report.tasks()
    }
    kept = [f for place, f in by_place.items() if place[:2] in set(pairs)]
    top = _HEAD[any(column.below for column in columns)]
    lines = tuple(
        line(task, top + _CELL[1] * number, columns, [by_place.get((*pair, task)) for pair in pairs])
        for number, task in enumerate(tasks_by_drop(kept))
    )
    return _Heat(columns, lines)


def column(number: int, group: int, checkpoint: str, probe: str) -> _Column:
    name, colon, options = probe.partition(":")
    room = (_CELL[0] - 4) / FONT
    below = clipped(colon + options, room) if options else ""
    return _Column(checkpoint, probe, clipped(name, room), below, _LABELS + _CELL[0] * number + _GAP * group)


def line(task: str, y: float, columns: Sequence[_Column], findings: Sequence[Finding | None]) -> _Line:
    cells = (
        None if finding is None else cell(finding, at.x, y)
        for at, finding in zip(columns, findings, strict=True)
    )
    return _Line(task, clipped(task, (_LABELS - 14) / FONT), y, tuple(cells))


def cell(finding: Finding, x: float, y: float) -> _Cell:
    row = finding.retention
    return _Cell(
        x=x,
        y=y,
        shade=bisect_right(EDGES, row.drop),
        text=drop(finding),
        loud=finding.verdict in _LOUD,
        told=f"{named(row.checkpoint)}, {named(row.task)}, {row.probe}: drop {drop(finding)} points "
        f"{drop_ends(finding)}, n = {row.n}: {finding.verdict}",
        finding=finding,
    )
