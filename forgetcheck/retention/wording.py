"""Numbers and verdicts as words: what every exporter and the terminal say alike."""

from forgetcheck.retention.gate import ASKED, Check, Outcome, tally
from forgetcheck.retention.report import Report

MINUS = "−"


def points(fraction: float, decimals: int = 1) -> str:
    """Write a signed difference in percentage points, with a real minus and no negative zero."""
    text = f"{100 * fraction:+.{decimals}f}".replace("-", MINUS)
    return text[1:] if not text.strip(f"+{MINUS}0.") else text


def percent(fraction: float, decimals: int = 1) -> str:
    return f"{100 * fraction:.{decimals}f} %"


def beside(fraction: float, limit: float) -> str:
    """Write a value in points with as many digits as tell it from its limit: 2.04 is not 2."""
    for decimals in range(1, 7):
        text = f"{100 * fraction:.{decimals}f}"
        if fraction == limit or float(text) != round(100 * limit, decimals):
            break
    return text.replace("-", MINUS)


def sentence(report: Report) -> str:
    """Say the verdict in one sentence."""
    counts = tally(report.checks)
    if not set(counts) - {Outcome.NEVER_KNEW}:
        return "NOT passed: nothing was measured, because the base knew none of what was asked."
    total = sum(counts.values())
    if report.passed:
        doubt = counts.get(Outcome.UNSURE, 0)
        unsure = f", {doubt} unsure (more images would tell)" if doubt else ""
        never = counts.get(Outcome.NEVER_KNEW, 0)
        unknown = f", {never} never known to the base" if never else ""
        return f"passed: of {total} demands {counts.get(Outcome.MET, 0)} are met{unsure}{unknown}."
    failed = report.failures()
    if not failed:
        return (
            f"NOT passed: {counts[Outcome.UNSURE]} of {total} demands are unsure, and the policy fails those."
        )
    return f"NOT passed: {len(failed)} of {total} demands failed; first: {demand(failed[0])}."


def demand(check: Check) -> str:
    """Say what was demanded and what was found, without a full stop."""
    where = f"{check.subject} ({check.checkpoint}, {check.probe})"
    if check.demand == ASKED:
        return f"{where} could not be asked: {check.reason.rstrip('.')}"
    ends = f"[{points(check.low)}, {points(check.high)}]"
    limit = f"{100 * check.limit:g}"
    value = beside(check.value, check.limit)
    if check.demand in ("min_target_accuracy", "must_forget"):
        side = "at least" if check.demand == "min_target_accuracy" else "at most"
        ends = f"[{100 * check.low:.1f}, {100 * check.high:.1f}]"
        return f"{where} has accuracy {value} % {ends}, demanded {side} {limit} %"
    return f"{where} dropped {value} points {ends}, limit {limit}"
