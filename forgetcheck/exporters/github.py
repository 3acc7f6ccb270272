"""GitHub Actions: annotations as workflow commands, or the page of a job as Markdown."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from forgetcheck.exporters import markup
from forgetcheck.exporters.base import Exporter
from forgetcheck.retention.gate import Check, Outcome
from forgetcheck.retention.report import Report
from forgetcheck.retention.text.wording import demand, opened, sentence
from forgetcheck.text import printable

_SHOWN = 10  # annotations of one kind that GitHub shows of a step
_LONGEST = 1_000_000  # bytes; GitHub drops a summary of more than 1 MiB
_LONG = 4000  # characters of a message
_TOP = 50  # concepts per checkpoint on the page
_MESSAGE = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY = _MESSAGE | str.maketrans({":": "%3A", ",": "%2C"})
_Note = tuple[str, str]  # title and message


@dataclass(frozen=True)
class Github(Exporter):
    """Print the annotations in a step; append the summary to $GITHUB_STEP_SUMMARY."""

    part: Literal["annotations", "summary"] = "annotations"

    @property
    def commands(self) -> bool:
        return self.part == "annotations"

    def render(self, report: Report) -> str:
        return page(report) if self.part == "summary" else annotations(report)


def annotations(report: Report) -> str:
    """Write one command a line: an error per failed demand, warnings, and a notice of having passed."""
    kinds = {"error": _errors(report), "warning": _doubts(report), "notice": _notices(report)}
    lines = (_command(kind, *note) for kind, notes in kinds.items() for note in shown(list(notes)))
    return "\n".join(lines) + "\n"


def _command(kind: str, title: str, message: str) -> str:
    """Write a workflow command; as it is one line and starts with its kind, no name can start another."""
    title = printable(markup.cut(title, _LONG))
    message = "\n".join(map(printable, markup.cut(message, _LONG).split("\n")))
    return f"::{kind} title={title.translate(_PROPERTY)}::{message.translate(_MESSAGE)}"


def shown(notes: list[_Note]) -> list[_Note]:
    """Keep as many as GitHub shows; the last then says how many there are beyond them."""
    if len(notes) <= _SHOWN:
        return notes
    left = len(notes) - _SHOWN + 1
    return [*notes[: _SHOWN - 1], ("forgetcheck", f"and {left:,} more like these: see the whole report")]


def _errors(report: Report) -> Iterator[_Note]:
    unmet = report.unmet()
    yield from map(note, unmet)
    if not (report.passed or unmet):
        yield "forgetcheck", sentence(report)


def _doubts(report: Report) -> Iterator[_Note]:
    yield from (("forgetcheck: before you rely on it", opened(remark)) for remark in report.remarks)
    if report.policy.when_unsure == "warn":
        yield from map(note, report.failures(Outcome.UNSURE))
    for warning, about in markup.warned(report).items():
        names = [f"{row.subject} ({row.checkpoint}, {row.probe})" for row in about[: markup.NAMED]]
        more = [f"and {len(about) - len(names)} more"] if len(about) > len(names) else []
        yield "forgetcheck: warning", f"{warning}: {'; '.join([*names, *more])}"


def _notices(report: Report) -> Iterator[_Note]:
    if report.passed:
        yield "forgetcheck", sentence(report)


def note(check: Check) -> _Note:
    unsure = "unsure: " if check.outcome is Outcome.UNSURE else ""
    message = unsure + "\n".join([demand(check), *markup.basis(check)])
    return f"forgetcheck: {check.demand} ({check.checkpoint})", message


def page(report: Report) -> str:
    """Write the page of a job: the tables of tasks open, for here is room."""
    opening = ["## forgetcheck", f"**{markup.prose(sentence(report))}**"]
    sections = [
        markup.gained(report),
        markup.lost_on_average(report),
        markup.demands(report, "Failed demands", Outcome.FAILED),
        markup.demands(report, "Unsure demands", Outcome.UNSURE),
        markup.unasked(report),
        markup.tasks(report),
        markup.worst_concepts(report, _TOP),
        markup.warnings(report, folded=True),
    ]
    return markup.document(opening, sections, [markup.how_to_read(report)], _LONGEST)
