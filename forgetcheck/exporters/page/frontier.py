"""Methods side by side: what each checkpoint gained on its target against what it kept. Pure geometry."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from forgetcheck.exporters.page.axis import Axis, axis_over
from forgetcheck.exporters.page.text import clipped, named, width
from forgetcheck.retention.gate import Mean, Outcome, tally
from forgetcheck.retention.report import Report
from forgetcheck.retention.text.summary import main_mean
from forgetcheck.retention.verdict import Finding
from forgetcheck.text import percent, points

_SIZE = (640.0, 380.0)
_ACROSS = (64.0, 616.0)  # left and right end of the plot
_UP = (326.0, 20.0)  # its floor and its ceiling
FONT = 12.5
_LABEL_ROOM = 16.0  # em
_DOT = 7.0
_MARGIN = 0.04
URGENCY = (Outcome.FAILED, Outcome.UNSURE, Outcome.NEVER_KNEW, Outcome.MET)


@dataclass(frozen=True)
class _Method:
    """One checkpoint: the gain it was tuned for, and what the other tasks lost on average."""

    checkpoint: str
    target: Finding | None
    mean: Mean | None
    outcomes: dict[Outcome, int]
    best: bool = False  # on the frontier: no other is better at one and as good at the other

    @property
    def outcome(self) -> Outcome | None:
        """The most urgent outcome among the demands on it; None without any."""
        return next((outcome for outcome in URGENCY if outcome in self.outcomes), None)


@dataclass(frozen=True)
class _Dot:
    """A method in the picture; the ends are those of its two intervals."""

    method: _Method
    x: float
    y: float
    left: float
    right: float
    bottom: float
    top: float
    label: str
    label_x: float
    label_y: float
    anchor: str
    told: str


@dataclass(frozen=True)
class _Scatter:
    """Target accuracy against mean retention."""

    across: Axis  # of tuned - base
    up: Axis
    dots: tuple[_Dot, ...]
    steps: str  # the frontier, as points of a polyline
    size: tuple[float, float] = _SIZE

    @property
    def unnamed(self) -> int:
        return sum(not dot.label for dot in self.dots)

    @property
    def described(self) -> str:
        names = ", ".join(named(dot.method.checkpoint) for dot in self.dots if dot.method.best)
        return (
            "Each dot is a checkpoint: to the right it kept more of the other tasks, upwards it is better at "
            f"its target; lines are the intervals. On the frontier: {names}. "
            "The table below holds the same numbers."
        )


def methods(report: Report) -> list[_Method]:
    """Describe every checkpoint, and mark those on the frontier."""
    found = [
        _Method(
            name,
            report.target(name),
            main_mean(report, name),
            tally(check for check in report.checks if check.checkpoint == name),
        )
        for name in report.checkpoints
    ]
    return [mark(method, found) for method in found]


def mark(method: _Method, others: Sequence[_Method]) -> _Method:
    place = _standing(method)
    if place is None:
        return method
    rivals = [there for other in others if (there := _standing(other)) is not None]
    beaten = any(there != place and there[0] >= place[0] and there[1] >= place[1] for there in rivals)
    return replace(method, best=not beaten)


def _standing(method: _Method) -> tuple[float, float] | None:
    """Return (mean change of the other tasks, target accuracy); larger is better."""
    if method.target is None or method.mean is None:
        return None
    return -method.mean.drop, method.target.retention.tuned


def scatter(found: Sequence[_Method], confidence: float) -> _Scatter | None:
    """Draw the methods that have both a target and other tasks; nothing if fewer than two have."""
    drawn = [(method, _spans(method, confidence)) for method in found if _standing(method) is not None]
    if len(drawn) < 2:
        return None
    reach = [v for _, (x, _) in drawn for v in x]
    margin = (max(*reach, 0.0) - min(*reach, 0.0)) * _MARGIN  # what kept all stands clear of the edge
    across = axis_over([0.0, *reach, max(*reach, 0.0) + margin], *_ACROSS, 6, (-1.0, 1.0))
    up = axis_over([v for _, (_, y) in drawn for v in y], *_UP, 5, (0.0, 1.0))
    dots = tuple(_placed([dot(method, x, y, across, up) for method, (x, y) in drawn]))
    return _Scatter(across, up, dots, _staircase(dots))


_Span = tuple[float, float, float]  # low, value, high


def _spans(method: _Method, confidence: float) -> tuple[_Span, _Span]:
    assert method.mean is not None
    assert method.target is not None
    mean, row = method.mean, method.target.retention
    low, high = row.tuned_interval(confidence)
    return (-mean.high, -mean.drop, -mean.low), (low, row.tuned, high)


def dot(method: _Method, x: _Span, y: _Span, across: Axis, up: Axis) -> _Dot:
    return _Dot(
        method=method,
        x=across.at(x[1]),
        y=up.at(y[1]),
        left=across.at(x[0]),
        right=across.at(x[2]),
        bottom=up.at(y[0]),
        top=up.at(y[2]),
        label=clipped(method.checkpoint, _LABEL_ROOM),
        label_x=0.0,
        label_y=0.0,
        anchor="start",
        told=f"{named(method.checkpoint)}: target {percent(y[1])} [{percent(y[0])}, {percent(y[2])}], "
        f"other tasks {points(x[1])} points [{points(x[0])}, {points(x[2])}]",
    )


_Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class _Seat:
    """A place for a label, and the room it takes there."""

    x: float
    y: float
    anchor: str
    box: _Box


def _placed(dots: Sequence[_Dot]) -> Iterator[_Dot]:
    """Put each label beside its dot where it hits neither another label nor a dot; the best first.

    A label without room is left out: the table names every dot.
    """
    taken: list[_Box] = [box_of_dot(dot) for dot in dots]
    for dot in sorted(dots, key=lambda dot: not dot.method.best):
        free = (
            seat for seat in _seats(dot) if inside(seat.box) and not any(hits(seat.box, b) for b in taken)
        )
        seat = next(free, None)
        if seat is None:
            yield replace(dot, label="")
        else:
            taken.append(seat.box)
            yield replace(dot, label_x=seat.x, label_y=seat.y, anchor=seat.anchor)


def _seats(dot: _Dot) -> Iterator[_Seat]:
    """Yield places for a label, the nicest first."""
    long = round(width(dot.label) * FONT, 1)
    left, right = dot.x - 9, dot.x + 9
    for lift in (14.0, 30.0, 46.0):
        for y in (dot.y - lift + 4, dot.y + lift + 4):
            yield _Seat(right, y, "start", (right, y - FONT, right + long, y + 3))
            yield _Seat(left, y, "end", (left - long, y - FONT, left, y + 3))


def box_of_dot(dot: _Dot) -> _Box:
    return dot.x - _DOT, dot.y - _DOT, dot.x + _DOT, dot.y + _DOT


def inside(box: _Box) -> bool:
    return _ACROSS[0] <= box[0] and box[2] <= _ACROSS[1] and _UP[1] <= box[1] + 8 and box[3] <= _UP[0]


def hits(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _staircase(dots: Sequence[_Dot]) -> str:
    """Join the best dots by steps: what lies right of and above the line was reached by none."""
    corners: list[tuple[float, float]] = []
    at = _ACROSS[0]
    for x, y in sorted({(dot.x, dot.y) for dot in dots if dot.method.best}):
        corners += [(at, y), (x, y)]
        at = x
    return " ".join(f"{x:g},{y:g}" for x, y in [*corners, (at, _UP[0])])
