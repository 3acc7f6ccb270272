"""Numbers and names as the page writes them. Pure: values in, text out."""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate

from markupsafe import Markup

from forgetcheck.retention.compare import Calibration
from forgetcheck.retention.gate import CALIBRATION, OF_ACCURACY, Check
from forgetcheck.retention.policy import Rule
from forgetcheck.retention.verdict import Finding
from forgetcheck.text import JOINERS, beside, digits, percent, points, printable, unsigned

_NONE = "–"  # nothing to say in a cell
_DIGITS = 3  # of a p-value, at least
_DEMANDS = {
    "max_drop": "drop at most",
    "max_mean_drop": "mean drop at most",
    "max_target_drop": "drop of the target at most",
    "min_target_accuracy": "target accuracy at least",
    "must_forget": "forgotten: accuracy at most",
    "max_lost": "right answers lost at most",
    CALIBRATION: "calibration error to rise at most",
    "concepts": "none shown to drop more than",
    "identical": "to be another than the base",
    "asked": "to be asked",
}
_SHARES = (*OF_ACCURACY, "max_lost")  # the demands whose values are shares, not drops
_WIDER = 1.05  # times as wide: less isn't worth a word
_PLENTY = 8  # names in a list
_BRIEF = 44.0  # em
_CELL = 17.0  # em, a little less than the style gives to a cell


def shown(value: object) -> object:
    """Write what doesn't print so that it does, surrogates as an escape: the page is UTF-8.

    Every value that a template puts into the page passes through here, and is then escaped as markup.
    """
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return printable(value).encode("utf-8", "backslashreplace").decode()


def named(name: str) -> str:
    return name if name.strip() else "(no name)"


def listed(names: Iterable[str], most: int = _PLENTY) -> str:
    """Name the first few, and say how many there are beyond them."""
    unique = [brief(name) for name in dict.fromkeys(names)]
    more = f" and {len(unique) - most} more" if len(unique) > most else ""
    return ", ".join(unique[:most]) + more


def share(fraction: float) -> str:
    """Write an accuracy for a column that is headed %."""
    return percent(fraction).removesuffix(" %")


def probability(p: float, level: float) -> str:
    """Write a p-value with as many digits as tell it from the level it is held against."""
    if p != p:
        return _NONE
    if p < 10**-_DIGITS < level:
        return f"<{10**-_DIGITS:g}"
    for decimals in range(_DIGITS, 9):
        text = f"{p:.{decimals}f}"
        if float(text) != round(level, decimals):
            break
    return text


def drop(finding: Finding) -> str:
    return points(finding.retention.drop, decimals(finding))


def drop_ends(finding: Finding) -> str:
    row = finding.retention
    return ends(row.low, row.high, decimals(finding))


def between(calibration: Calibration, confidence: float) -> str:
    """Write the interval of a change of the calibration error."""
    return ends(*calibration.interval(confidence), 1)


def among(finding: Finding, level: float) -> str:
    """Write the p-value that a verdict goes by, and how many questions it allows for."""
    return f"{probability(finding.p_adjusted, level)} ({finding.tried:,})"


def templates(finding: Finding) -> str:
    """Write from which to which drop single prompt templates come; nothing where there is one."""
    found = finding.retention.by_template
    return _NONE if found is None else f"{points(found[0])} to {points(found[1])}"


def ends(low: float, high: float, decimals: int) -> str:
    return f"[{points(low, decimals)}, {points(high, decimals)}]"


def decimals(finding: Finding) -> int:
    """Return how many decimals tell a drop and its interval from their limit."""
    row = finding.retention
    return 1 if finding.must_forget else digits(finding.limit, row.drop, row.low, row.high)


def tuned(finding: Finding) -> str:
    """Write the tuned accuracy; where that is what counts, so that it can't pass for its limit."""
    value = finding.retention.tuned
    return beside(value, finding.limit) if finding.must_forget else share(value)


def limit(finding: Finding) -> str:
    return f"≤ {100 * finding.limit:g} %" if finding.must_forget else f"{100 * finding.limit:g}"


def smallest(finding: Finding) -> str:
    """Write the smallest drop that would be found 4 times in 5."""
    if not finding.gated or finding.must_forget:
        return _NONE
    return "none" if finding.detectable is None else unsigned(finding.detectable)


def confused(finding: Finding) -> str:
    said = finding.retention.confused
    return ", ".join(f"{named(name)} ×{times}" for name, times in said) or _NONE


def notes(finding: Finding) -> str:
    """Say what else a reader of this row must know."""
    return "; ".join(remarks(finding)) or _NONE


def remarks(finding: Finding) -> Iterator[str]:
    row = finding.retention
    if row.target:
        yield "tuned on this"
    if row.concept is None and not finding.gated:
        yield "ignored by the policy"
    if row.widened >= _WIDER:
        yield f"interval {row.widened:.1f} times as wide for the probe's training images"
    if finding.must_forget:
        yield "must be forgotten"
    if row.identical:
        yield "identical weights"
    if finding.reason:
        yield finding.reason
    yield from row.warnings


def check_demand(check: Check) -> str:
    return _DEMANDS.get(check.demand, check.demand)


def check_limit(check: Check) -> str:
    if check.limit != check.limit:
        return _NONE
    return f"{100 * check.limit:g} %" if check.demand in _SHARES else f"{100 * check.limit:g}"


def check_found(check: Check) -> str:
    if check.value != check.value:
        return _NONE
    number = digits(check.limit, check.value, check.low, check.high)
    return percent(check.value, number) if check.demand in _SHARES else points(check.value, number)


def check_ends(check: Check) -> str:
    if check.low != check.low:
        return _NONE
    number = digits(check.limit, check.value, check.low, check.high)
    if check.demand in _SHARES:
        return f"[{unsigned(check.low, number)}, {unsigned(check.high, number)}]"
    return ends(check.low, check.high, number)


def check_smallest(check: Check) -> str:
    if check.demand not in ("max_drop", "max_target_drop"):
        return _NONE
    return "none" if check.detectable is None else unsigned(check.detectable)


def effects(rule: Rule) -> str:
    """Write what a rule of the policy says, key by key."""
    said = rule.model_dump(exclude_none=True, exclude={"match", "probe", "reason"})
    return ", ".join(f"{key} = {str(value).lower()}" for key, value in said.items())


def clipped(text: str, room: float) -> str:
    """Shorten a label to a room in em, estimated: a picture has no layout that would do it."""
    text = str(shown(named(text)))
    widths = list(accumulate(map(em, text)))
    if widths[-1] <= room:
        return text
    kept = text[: bisect_right(widths, room, key=lambda end: end + em("…"))]
    return kept.rstrip() + "…"


def brief(name: str) -> str:
    """Shorten a name for the first screen; the tables have it whole."""
    return clipped(name, _BRIEF)


def is_short(name: str) -> bool:
    """Whether a name fits a cell of a table on one line."""
    return width(str(shown(name))) <= _CELL


def width(text: str) -> float:
    """Estimate the width of text in em, rather too wide than too narrow."""
    return sum(map(em, text))


def em(mark: str) -> float:
    if unicodedata.east_asian_width(mark) in "WF":
        return 1.05
    if unicodedata.combining(mark) or mark in JOINERS:
        return 0.0
    if mark in "iljtfrI.,:;'|!()[] ":
        return 0.37
    if mark in "mwMW@%—…" or not mark.isascii():
        return 0.92
    return 0.7 if mark.isupper() else 0.58
