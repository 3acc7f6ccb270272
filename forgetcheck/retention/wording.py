"""Numbers and verdicts as words: what every exporter and the terminal say alike."""

from forgetcheck.retention.gate import ASKED, Check, Outcome, tally
from forgetcheck.retention.report import Report

MINUS = "−"
MOST = 6  # decimals
JOINERS = "\u200c\u200d"  # invisible, but part of how Persian and emoji are written


def points(fraction: float, decimals: int = 1) -> str:
    """Write a signed difference in percentage points, with a real minus and no negative zero."""
    text = f"{100 * fraction:+.{decimals}f}".replace("-", MINUS)
    return text[1:] if not text.strip(f"+{MINUS}0.") else text


def counted(count: int, one: str, many: str = "") -> str:
    """Write a number with its noun: 1 task, 2,000 tasks."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def percent(fraction: float, decimals: int = 1) -> str:
    return f"{100 * fraction:.{decimals}f} %"


def beside(fraction: float, limit: float) -> str:
    """Write a value in points with as many digits as tell it from its limit: 2.04 is not 2."""
    return unsigned(fraction, digits(limit, fraction))


def digits(limit: float, *values: float) -> int:
    """Return how many decimals, in points, tell the values from a limit that they aren't."""
    return next(
        (number for number in range(1, MOST) if all(told_apart(value, limit, number) for value in values)),
        MOST,
    )


def told_apart(value: float, limit: float, decimals: int) -> bool:
    return value == limit or f"{100 * value:.{decimals}f}" != f"{100 * limit:.{decimals}f}"


def unsigned(fraction: float, decimals: int = 1) -> str:
    """Write points without a plus; a gain keeps its minus."""
    return points(fraction, decimals).removeprefix("+")


def printable(text: str) -> str:
    """Return a name as one line: gaps become spaces, control and bidirectional characters a �.

    Surrogates stay: a file name that isn't UTF-8 is written with a backslash when it is saved.
    """
    return "".join(" " if mark.isspace() else mark if shows(mark) else "�" for mark in text)


def shows(mark: str) -> bool:
    return mark.isprintable() or mark in JOINERS or "\ud800" <= mark <= "\udfff"


def sentence(report: Report) -> str:
    """Say the verdict in one sentence."""
    counts = tally(report.checks)
    if not counts:
        return "NOT passed: nothing was measured that the policy demands."
    if set(counts) == {Outcome.NEVER_KNEW}:
        return "NOT passed: nothing was measured, because the base knew none of what was asked."
    total = sum(counts.values())
    if report.passed:
        doubt = counts.get(Outcome.UNSURE, 0)
        unsure = f", {doubt} unsure (more images would tell)" if doubt else ""
        never = counts.get(Outcome.NEVER_KNEW, 0)
        unknown = f", {never} never known to the base" if never else ""
        return f"passed: {counts.get(Outcome.MET, 0)} of {total} demands met{unsure}{unknown}."
    failed = report.failures()
    if not failed:
        return f"NOT passed: {counts[Outcome.UNSURE]} of {total} demands unsure, and the policy fails those."
    return f"NOT passed: {len(failed)} of {total} demands failed; first: {demand(failed[0])}."


def demand(check: Check) -> str:
    """Say what was demanded and what was found, without a full stop."""
    where = f"{check.subject} ({check.checkpoint}, {check.probe})"
    if check.demand == ASKED:
        return f"{where} could not be asked: {check.reason.rstrip('.')}"
    limit, decimals = f"{100 * check.limit:g}", digits(check.limit, check.value, check.low, check.high)
    value, low, high = (unsigned(part, decimals) for part in (check.value, check.low, check.high))
    if check.demand in ("min_target_accuracy", "must_forget"):
        side = "at least" if check.demand == "min_target_accuracy" else "at most"
        return f"{where}: accuracy {value} % [{low}, {high}], demanded {side} {limit} %"
    return f"{where}: drop {value} points [{low}, {high}], limit {limit}"
