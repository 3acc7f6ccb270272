"""What an audit folder of the first schema was judged by: a report says where that has changed. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from forgetcheck.retention.answers import Audit, PairedPredictions
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.statistics.multiplicity import false_discovery
from forgetcheck.retention.statistics.paired import Floats, at_least
from forgetcheck.retention.verdict import Finding, Verdict

_NOTE = "by the older rules that this audit was made under, its verdict was"


def told_of_older(findings: Sequence[Finding], audit: Audit, policy: Policy) -> tuple[Finding, ...]:
    """Say on each row of an older audit if its verdict was another by the rules of that time.

    Then a base knew a class if it was right more often than it named it; what wasn't a demand of the policy
    was adjusted for its table; gains stood alone; and concepts gated nothing.
    """
    if not audit.older:
        return tuple(findings)
    p = _adjusted(findings)
    guessed = _chance_p(audit, findings)
    return tuple(
        _told(finding, _verdict(finding, p[place], guessed[place], policy))
        for place, finding in enumerate(findings)
    )


def remark_of_older(findings: Sequence[Finding]) -> list[str]:
    """Say how many verdicts have changed with the rules, if any has."""
    count = sum(any(note.startswith(_NOTE) for note in f.retention.warnings) for f in findings)
    if not count:
        return []
    were = "1 verdict was another" if count == 1 else f"{count:,} verdicts were others"
    return [f"This audit was made under older rules, by which {were}: the notes of those rows say which"]


def _told(finding: Finding, before: Verdict) -> Finding:
    if finding.must_forget or before is finding.verdict:
        return finding
    row = finding.retention
    note = f"{_NOTE}: {before.value}"
    return replace(finding, retention=replace(row, warnings=(*row.warnings, note)))


def _verdict(finding: Finding, p: float, guessed: float, policy: Policy) -> Verdict:
    row = finding.retention
    if row.identical:
        return Verdict.RETAINED
    if row.high < 0:
        return Verdict.GAINED
    if guessed > 1 - policy.confidence:
        return Verdict.NEVER_KNEW
    if p < policy.level:
        return Verdict.FORGOT
    return Verdict.RETAINED if row.high <= finding.limit else Verdict.UNSURE


def _adjusted(findings: Sequence[Finding]) -> Floats:
    """Return the p-values as they were adjusted: of demands as today, else in tables of false discoveries."""
    p = np.array([finding.p_adjusted for finding in findings])
    tables: dict[tuple[str, str, bool], list[int]] = defaultdict(list)
    for place, finding in enumerate(findings):
        if not finding.gated:
            row = finding.retention
            tables[row.checkpoint, row.probe, row.concept is None].append(place)
    for members in tables.values():
        p[members] = false_discovery([findings[place].p for place in members])
    return p


def _chance_p(audit: Audit, findings: Sequence[Finding]) -> Floats:
    """Return the p-value of "the base is no better than chance", chance being how often it named a class."""
    found: dict[tuple[str, str, str, str | None], float] = {}
    for answers in audit.answers:
        question = answers.checkpoint, answers.task, answers.probe
        rates = _chance(answers)
        right = answers.base.label == answers.labels
        n = np.bincount(answers.labels, minlength=len(answers.class_names))
        hits = np.bincount(answers.labels[right], minlength=len(answers.class_names))
        p = at_least(np.append(hits, hits.sum()), np.append(n, n.sum()), np.append(rates[1:], rates[0]))
        found |= {(*question, name): float(each) for name, each in zip(answers.class_names, p, strict=False)}
        found[*question, None] = float(p[-1])
    rows = (finding.retention for finding in findings)
    return np.array([found[row.checkpoint, row.task, row.probe, row.concept] for row in rows])


def _chance(answers: PairedPredictions) -> Floats:
    if answers.chance is not None:
        return answers.chance
    classes, n = len(answers.class_names), len(answers.labels)
    share = np.bincount(answers.labels, minlength=classes) / n
    named = np.bincount(answers.base.label, minlength=classes) / n
    rates: Floats = np.maximum(np.concatenate([[share @ named], named]), 1 / classes)
    return rates
