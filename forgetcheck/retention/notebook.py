"""What a notebook shows of a report: one small table in which every name is text."""

from collections.abc import Sequence
from html import escape

from forgetcheck.retention.verdict import Finding
from forgetcheck.text import percent, points, printable

ROWS = 40  # shown; the others are counted
_COLUMNS = ("checkpoint", "task", "probe", "n", "base", "tuned", "drop", "interval", "verdict")
_TEXTS = 3  # the columns to the left of the first number
_PLAIN = "tex2jax_ignore mathjax_ignore"  # the classes in which a notebook leaves a $ in a name alone


def as_html(findings: Sequence[Finding], passed: bool | None, remarks: Sequence[str]) -> str:
    """Return a fragment of HTML; `passed` is None where nobody gave a policy. Drops are in points."""
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    rows = "".join(_row(finding) for finding in findings[:ROWS])
    more = len(findings) - ROWS
    notes = [*remarks, *([f"{more} more rows are in to_pandas()."] if more > 0 else [])]
    return (
        f'<div class="{_PLAIN}"><p><b>{_title(passed)}</b> Drops in points; positive is forgetting.</p>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        + "".join(f"<p>{text(note)}</p>" for note in notes)
        + "</div>"
    )


def _title(passed: bool | None) -> str:
    if passed is None:
        return "No policy was given: the default limits only inform."
    return "The policy is met." if passed else "The policy is NOT met."


def _row(finding: Finding) -> str:
    found = finding.retention
    cells = (
        found.checkpoint,
        found.task,
        found.probe,
        f"{found.n:,}",
        percent(found.base),
        percent(found.tuned),
        points(found.drop),
        f"{points(found.low)} to {points(found.high)}",
        finding.verdict.value,
    )
    aligned = ("left" if place < _TEXTS else "right" for place in range(len(cells)))
    return (
        "<tr>"
        + "".join(
            f'<td style="text-align: {side}">{text(cell)}</td>'
            for side, cell in zip(aligned, cells, strict=True)
        )
        + "</tr>"
    )


def text(value: str) -> str:
    return escape(printable(value))
