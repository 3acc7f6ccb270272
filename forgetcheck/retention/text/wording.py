"""Numbers and verdicts as words: what every exporter and the terminal say alike."""

from collections.abc import Iterator, Sequence

from forgetcheck.retention.advice import Reason
from forgetcheck.retention.gate import (
    ASKED,
    CALIBRATION,
    CONCEPTS,
    IDENTICAL,
    OF_ACCURACY,
    Check,
    Outcome,
    tally,
)
from forgetcheck.retention.report import Report
from forgetcheck.text import digits, unsigned

_UNGATED = "no policy: by the default limit, "
_WHY_NONE: dict[Reason, str] = {
    "at the limit": "the answers lie exactly at the limit, which no number of samples can decide",
    "near the limit": "it lies so near its limit that no number of samples anybody has would tell",
    "training images": "more test images would not tell: the probe needs more training images",
}


def sentence(report: Report) -> str:
    """Say the verdict in one sentence; what makes the comparison itself doubtful comes first."""
    return " ".join([*map(opened, report.remarks), verdict_in_full(report)])


def verdict_in_full(report: Report) -> str:
    """Say the verdict, and what was lost that it doesn't speak of."""
    return " ".join([_verdict_of(report), *_silent_losses(report)])


def opened(remark: str) -> str:
    """Write a remark as a sentence of its own; a name at its beginning stays as it is."""
    return remark if remark.endswith("?") else f"{remark}."


def _verdict_of(report: Report) -> str:
    counts = tally(report.checks)
    passed, not_passed = ("passed: ", "NOT passed: ") if report.gated else (_UNGATED, _UNGATED)
    if not counts:
        return f"{not_passed}nothing was measured that the policy demands."
    if set(counts) == {Outcome.NEVER_KNEW}:
        return f"{not_passed}nothing was measured, because the base knew none of what was asked."
    total = sum(counts.values())
    if report.passed:
        never = counts.get(Outcome.NEVER_KNEW, 0)
        unknown = f", {never} never known to the base" if never else ""
        return f"{passed}{counts.get(Outcome.MET, 0)} of {total} demands met{unsure(report)}{unknown}."
    failed = report.failures()
    if not failed:
        return f"{not_passed}{counts[Outcome.UNSURE]} of {total} demands unsure, and the policy fails those."
    return f"{not_passed}{len(failed)} of {total} demands failed; first: {demand(failed[0])}."


def unsure(report: Report) -> str:
    """Say how many demands are unsure, and whether more samples would help."""
    doubtful = report.failures(Outcome.UNSURE)
    if not doubtful:
        return ""
    helped = sum(check.advice is not None and check.advice.samples is not None for check in doubtful)
    if helped == len(doubtful):
        return f", {len(doubtful)} unsure (more images would tell)"
    if helped:
        return f", {len(doubtful)} unsure (more images would tell of {helped})"
    return f", {len(doubtful)} unsure (more images would not tell)"


def _silent_losses(report: Report) -> Iterator[str]:
    """Name what was lost and fails nothing: it must not be overlooked behind a verdict."""
    guessed = [
        f"{check.subject} ({check.checkpoint}, {check.probe})" for check in report.checks if check.guessed
    ]
    if guessed:
        yield (
            f"Beyond the limit is also {some(guessed)}, which the base is not shown to have known rather "
            "than guessed."
        )
    small = [
        f"{finding.retention.subject} ({finding.retention.checkpoint}, {finding.retention.probe})"
        for finding in report.small_losses()
    ]
    if small:
        yield f"Forgotten as well, though nothing of the policy: {some(small)}."


def some(names: Sequence[str], most: int = 3) -> str:
    """Name the first few, and say how many there are beyond them."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def advised(check: Check) -> str:
    """Say how many samples would decide a demand that is unsure; empty if it isn't."""
    if check.guessed:
        return "the base may have guessed what was lost: ask concepts that it knows, or look at them"
    if check.advice is None:
        return ""
    if check.advice.samples is None:
        return _WHY_NONE[check.advice.why]
    return f"about {check.advice.samples:,} samples in all would tell, if the drop stays as it is"


def demand(check: Check) -> str:
    """Say what was demanded and what was found, without a full stop."""
    where = f"{check.subject} ({check.checkpoint}, {check.probe})"
    if check.demand == ASKED:
        return f"{where} could not be asked: {check.reason.rstrip('.')}"
    if check.demand == IDENTICAL:
        return f"{check.checkpoint} is the base itself: {check.reason}"
    limit = f"{100 * check.limit:g}"
    if check.demand == CONCEPTS:
        return f"{where}: none is shown to have dropped by more than {limit} points"
    decimals = digits(check.limit, check.value, check.low, check.high)
    value, low, high = (unsigned(part, decimals) for part in (check.value, check.low, check.high))
    if check.demand in OF_ACCURACY:
        side = "at least" if check.demand == "min_target_accuracy" else "at most"
        return f"{where}: accuracy {value} % [{low}, {high}], demanded {side} {limit} %"
    if check.demand == "max_lost":
        return f"{where}: lost {value} % [{low}, {high}] of the base's right answers, limit {limit} %"
    what = "calibration error rose by" if check.demand == CALIBRATION else "drop"
    return f"{where}: {what} {value} points [{low}, {high}], limit {limit}{_among(check)}"


def _among(check: Check) -> str:
    """Say what a demand allows for, where that is why it isn't failed."""
    if check.outcome is not Outcome.UNSURE or check.guessed or check.low <= check.limit:
        return ""
    return f" (adjusted p {check.p_adjusted:.2g} among {check.tried:,})"
