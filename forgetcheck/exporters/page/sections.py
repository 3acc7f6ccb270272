"""What the sections of the page say, gathered from the report. Pure: a report in, values out."""

import base64
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from forgetcheck.exporters.page.axis import Axis, axis_over
from forgetcheck.exporters.page.frontier import URGENCY
from forgetcheck.exporters.page.text import named
from forgetcheck.retention.answers import LostSample
from forgetcheck.retention.compare import Calibration as Calibrated
from forgetcheck.retention.gate import Check
from forgetcheck.retention.report import Report
from forgetcheck.retention.verdict import Finding

CARDS = 6  # checkpoints of the first screen; all are in the table of methods
CONCEPTS = 2000  # rows of the full table
PICTURES = 48  # of the gallery
PICTURE_BYTES = 1_000_000  # all of them together, as base64
_TINY = 64  # pixels; below this a thumbnail is enlarged without smoothing
_PNG = b"\x89PNG\r\n\x1a\n"
_INTERVALS = (4.0, 116.0)  # the ends of the small axis in a row of concepts


def sorted_checks(report: Report) -> list[Check]:
    """Return every demand, the failed ones first."""
    return sorted(report.checks, key=lambda check: URGENCY.index(check.outcome))


def doubts(report: Report) -> dict[str, list[str]]:
    """Return each warning with the questions it was given for; a task's own not again per concept."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    of_tasks: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for finding in report.findings:  # the whole task comes before its concepts
        row = finding.retention
        question = (row.checkpoint, row.task, row.probe)
        if row.concept is None:
            of_tasks[question] = row.warnings
        for warning in row.warnings:
            if row.concept is None or warning not in of_tasks.get(question, ()):
                found[warning][f"{named(row.subject)} ({named(row.checkpoint)}, {row.probe})"] = None
    return {warning: list(questions) for warning, questions in found.items()}


@dataclass(frozen=True)
class Worst:
    """The concepts a checkpoint lost most surely, on one small axis for their intervals."""

    checkpoint: str
    findings: tuple[Finding, ...]
    axis: Axis
    tried: tuple[tuple[str, int], ...]  # probe -> concepts asked about

    @property
    def tried_in_words(self) -> str:
        total = sum(count for _, count in self.tried)
        return f"{total} tried ({', '.join(f'{count} by {named(probe)}' for probe, count in self.tried)})"


def worst(report: Report, count: int) -> list[Worst]:
    return [_worst_of(report, name, count) for name in report.checkpoints]


def _worst_of(report: Report, checkpoint: str, count: int) -> Worst:
    found = report.worst_concepts(checkpoint, count)
    drops = [end for finding in found for end in (finding.retention.low, finding.retention.high)]
    tried: dict[str, int] = defaultdict(int)
    for finding in concepts(report):
        if finding.retention.checkpoint == checkpoint:
            tried[finding.retention.probe] += 1
    axis = axis_over([0.0, *drops], *_INTERVALS, 10, (-1.0, 1.0))
    return Worst(checkpoint, tuple(found), axis, tuple(tried.items()))


def concepts(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.retention.concept is not None]


def all_concepts(report: Report) -> list[Finding]:
    """Return every concept, those first whose drop is surest to be large."""
    return sorted(concepts(report), key=lambda f: (-f.retention.low, -f.retention.drop))


@dataclass(frozen=True)
class Calibration:
    """The expected calibration error of one checkpoint and probe, averaged over tasks."""

    checkpoint: str
    probe: str
    tasks: int
    base: float
    tuned: float
    change: float
    worst: Finding  # whose error grew most


def calibrated(report: Report) -> list[Finding]:
    return [finding for finding in report.tasks() if finding.retention.calibration is not None]


def calibrations(report: Report) -> list[Calibration]:
    groups: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in calibrated(report):
        groups[finding.retention.checkpoint, finding.retention.probe].append(finding)
    return [
        Calibration(
            checkpoint,
            probe,
            len(found),
            fmean(errors(finding).base for finding in found),
            fmean(errors(finding).tuned for finding in found),
            fmean(errors(finding).change for finding in found),
            max(found, key=_growth),
        )
        for (checkpoint, probe), found in groups.items()
    ]


def errors(finding: Finding) -> Calibrated:
    assert finding.retention.calibration is not None
    return finding.retention.calibration


def _growth(finding: Finding) -> float:
    return errors(finding).change


@dataclass(frozen=True)
class _Picture:
    """A lost sample, its thumbnail as the page holds it."""

    lost: LostSample
    source: str  # a data: URI
    tiny: bool


@dataclass(frozen=True)
class _Wall:
    """The lost samples of one checkpoint and probe."""

    checkpoint: str
    probe: str
    pictures: tuple[_Picture, ...]


def gallery(lost: Sequence[LostSample]) -> list[_Wall]:
    """Hang as many pictures as the page has room for, by checkpoint and probe."""
    groups: dict[tuple[str, str], list[_Picture]] = defaultdict(list)
    for item in _within_room(lost):
        groups[item.checkpoint, item.probe].append(_Picture(item, data_uri(item.image), _is_tiny(item.image)))
    return [_Wall(*names, tuple(pictures)) for names, pictures in groups.items()]


def _within_room(lost: Sequence[LostSample]) -> Iterator[LostSample]:
    """Yield pictures turn by turn over the questions, so that none crowds out the others."""
    queues: dict[tuple[str, str, str], list[LostSample]] = defaultdict(list)
    for item in lost:
        queues[item.checkpoint, item.probe, item.task].append(item)
    turns = [(turn, item) for queue in queues.values() for turn, item in enumerate(queue)]
    room = PICTURE_BYTES
    for _, item in sorted(turns, key=lambda pair: pair[0])[:PICTURES]:
        needed = len(item.image) * 4 // 3
        if needed <= room:
            room -= needed
            yield item


def data_uri(image: bytes) -> str:
    kind = "png" if image.startswith(_PNG) else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def _is_tiny(image: bytes) -> bool:
    """Whether a PNG says in its header that it has few pixels."""
    return image.startswith(_PNG) and int.from_bytes(image[16:20], "big") <= _TINY


def contents(report: Report) -> Iterator[tuple[str, str]]:
    """Name the sections that the page has, in their order."""
    if report.tasks():
        yield "tasks", "Task by task"
    yield "summary", "Summary"
    yield "demands", "Demands"
    if len(report.checkpoints) > 1:
        yield "methods", "Methods"
    if any(not mean.of_target for mean in report.means):
        yield "heat", "Drops at a glance"
    if len(report.probes) > 1:
        yield "probes", "Other probes"
    if concepts(report):
        yield "concepts", "Concepts"
    if any(_within_room(report.gallery)):
        yield "gallery", "Lost samples"
    if calibrated(report):
        yield "calibration", "Calibration"
    yield "reading", "How to read"
    yield "provenance", "Provenance"


def origin(report: Report, part: str) -> str:
    """Return the name of the base or the battery, as far as the provenance knows it."""
    found = report.provenance.get(part)
    return str(found.get("name") or "") if isinstance(found, Mapping) else ""


def leaves(value: object) -> int:
    """Count the values of nested mappings, however deep: what has many is folded away."""
    waiting, count = [value], 0
    while waiting:
        found = waiting.pop()
        if isinstance(found, Mapping):
            waiting.extend(found.values())
        else:
            count += 1
    return count
