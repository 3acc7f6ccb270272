"""The gate: everything a policy demands, what the evidence says of it, and whether that passes."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from forgetcheck.retention.aggregate import PSEUDO, Strata, bootstrap_interval, bootstrap_p
from forgetcheck.retention.answers import Unasked
from forgetcheck.retention.compare import Retention
from forgetcheck.retention.policy import Limit, Policy, catches_nothing, like, limits_of
from forgetcheck.retention.statistics import at_least, p_more_than
from forgetcheck.retention.verdict import (
    Adjusted,
    Claim,
    Finding,
    Verdict,
    claim_of,
    find,
    in_families,
    is_gated,
    never_knew,
    p_values,
)

ASKED = "asked"  # the demand that a question be asked at all
TARGET_PROBES = ("head", "zero-shot", "linear")  # the target accuracy is that of the first one asked


class Outcome(StrEnum):
    """What the evidence says of one demand."""

    MET = "met"
    FAILED = "failed"
    UNSURE = "unsure"
    NEVER_KNEW = "never knew"  # nothing to forget: neither met nor failed


OUTCOMES = {
    Verdict.RETAINED: Outcome.MET,
    Verdict.GAINED: Outcome.MET,
    Verdict.UNLEARNED: Outcome.MET,
    Verdict.FORGOT: Outcome.FAILED,
    Verdict.STILL_KNOWN: Outcome.FAILED,
    Verdict.UNSURE: Outcome.UNSURE,
    Verdict.NEVER_KNEW: Outcome.NEVER_KNEW,
}


@dataclass(frozen=True)
class Mean:
    """The mean drop of the tasks of a checkpoint and probe, weighted by the policy's priorities.

    As in the paper, the task a checkpoint was tuned on does not count as forgetting, unless a probe
    was put to nothing else (the checkpoint's own head).
    """

    checkpoint: str
    probe: str
    tasks: int
    n: int  # samples of all of them
    drop: float
    low: float  # bootstrap interval
    high: float
    p: float  # of "the mean drop is at most max_mean_drop"; 1 without that limit
    worst: Retention
    known: bool  # the base beats chance on one of them at least: there was something to forget
    of_target: bool  # over nothing but the task tuned on: a gain to be told, not a drop to be gated

    @property
    def subject(self) -> str:
        return "1 task" if self.tasks == 1 else f"mean of {self.tasks} tasks"


@dataclass(frozen=True)
class Check:
    """One demand of the policy and what the evidence says of it. Values are fractions.

    `value`, `low` and `high` are of a drop or, for min_target_accuracy and must_forget, of the tuned
    model's accuracy; all are NaN where nothing was measured.
    """

    demand: str  # the policy's key, or ASKED for what could not be asked
    checkpoint: str
    subject: str  # a task, `task / concept`, or what was averaged
    probe: str
    outcome: Outcome
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    limit: float = math.nan
    p_adjusted: float = math.nan
    tried: int = 1  # the demands that p_adjusted allows for
    n: int = 0
    detectable: float | None = None
    reason: str = ""  # the policy's words, or why it could not be asked


@dataclass(frozen=True)
class Judgement:
    """What judge() returns."""

    findings: tuple[Finding, ...]
    means: tuple[Mean, ...]
    checks: tuple[Check, ...]


def judge(rows: Sequence[Retention], policy: Policy, unasked: Sequence[Unasked] = ()) -> Judgement:
    """Give the verdict on every row, in the order given, and on every demand of the policy.

    What a policy gates about one pair of checkpoints is one family: a pair that lost nothing is
    failed no more often than `policy.level` says, however many questions are asked.
    """
    limits = spare_the_forgotten(rows, limits_of(rows, policy))
    p = p_values(rows, limits)
    means = list(mean_drops(rows, limits, policy))
    limited = [mean for mean in means if policy.max_mean_drop is not None and not mean.of_target]
    targets = list(target_rows(rows, policy))
    families = in_families(
        [
            *(
                claim_of(r, limit, q)
                for r, limit, q in zip(rows, limits, p.tolist(), strict=True)
                if is_gated(limit)
            ),
            *(Claim(mean.checkpoint, mean.p) for mean in limited),
            *(Claim(row.checkpoint, p_below(row, policy)) for row in targets),
        ]
    )
    turn = iter(families)
    findings = find(rows, limits, p, [next(turn) for limit in limits if is_gated(limit)], policy)
    checks = [
        *(finding_check(finding, policy) for finding in findings if finding.gated),
        *(mean_check(mean, next(turn), policy) for mean in limited),
        *(target_check(row, next(turn), policy) for row in targets),
        *target_unknown(rows, policy),
        *mean_unknown(rows, limited, policy),
        *not_asked(rows, policy, unasked),
    ]
    return Judgement(tuple(findings), tuple(means), tuple(checks))


def spare_the_forgotten(rows: Sequence[Retention], limits: Sequence[Limit]) -> list[Limit]:
    """A task of which every concept is ignored or must be forgotten can't be held to a drop as well."""
    kept = {
        (row.checkpoint, row.probe, row.task)
        for row, limit in zip(rows, limits, strict=True)
        if row.concept is not None and not limit.must_forget and not limit.ignored
    }
    return [
        replace(limit, gated=False, ignored=True)
        if row.concept is None and (row.checkpoint, row.probe, row.task) not in kept
        else limit
        for row, limit in zip(rows, limits, strict=True)
    ]


def passed(checks: Iterable[Check], policy: Policy) -> bool:
    """Say whether something was measured and every demand is met.

    What the evidence doesn't tell passes with a warning, unless the policy says otherwise.
    """
    outcomes = {check.outcome for check in checks}
    refused = {Outcome.FAILED, Outcome.UNSURE} if policy.when_unsure == "fail" else {Outcome.FAILED}
    return bool(outcomes - {Outcome.NEVER_KNEW}) and not outcomes & refused


def mean_drops(rows: Sequence[Retention], limits: Sequence[Limit], policy: Policy) -> Iterator[Mean]:
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    concepts: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for place, (row, limit) in enumerate(zip(rows, limits, strict=True)):
        if row.concept is not None:
            concepts[row.checkpoint, row.probe, row.task].append(place)
        elif not limit.ignored and not limit.must_forget:
            groups[row.checkpoint, row.probe].append(place)
    for (checkpoint, probe), places in groups.items():
        tasks = [place for place in places if not rows[place].target] or places
        parts = {
            place: parts_of(place, concepts[checkpoint, probe, rows[place].task], limits) for place in tasks
        }
        strata = strata_of(parts, rows, limits)
        alone = rows[tasks[0]] if list(parts.values()) == [[tasks[0]]] else None
        low, high, p = mean_evidence(strata, alone, policy)
        yield Mean(
            checkpoint=checkpoint,
            probe=probe,
            tasks=len(tasks),
            n=sum(rows[place].n for place in tasks),
            drop=strata.mean,
            low=low,
            high=high,
            p=p,
            worst=max((rows[place] for place in tasks), key=lambda row: row.drop),
            of_target=all(rows[place].target for place in tasks),
            known=any(not never_knew(rows[place], policy) for place in tasks),
        )


def mean_evidence(strata: Strata, alone: Retention | None, policy: Policy) -> tuple[float, float, float]:
    """Return the interval of a mean drop and the p-value of its limit (1 without one).

    The mean of one whole task is that task: its own, sharper evidence holds.
    """
    limit = policy.max_mean_drop
    if alone is not None:
        p = 1.0 if limit is None else float(p_more_than(*alone.counts(limit), limit))
        return alone.low, alone.high, p
    low, high = bootstrap_interval(strata, policy.confidence)
    return low, high, 1.0 if limit is None else bootstrap_p(strata, limit)


def parts_of(task: int, concepts: Sequence[int], limits: Sequence[Limit]) -> list[int]:
    """Return the rows whose samples make up a task's drop: its own, or its concepts' if they weigh apart.

    What must be forgotten is no loss.
    """
    kept = [place for place in concepts if not (limits[place].ignored or limits[place].must_forget)]
    apart = len(kept) < len(concepts) or any(limits[place].weight != 1 for place in concepts)
    return kept if apart and kept else [task]


def strata_of(parts: dict[int, list[int]], rows: Sequence[Retention], limits: Sequence[Limit]) -> Strata:
    """Weigh the tasks; within a task every sample counts as much as its concept weighs."""
    columns: list[tuple[float, ...]] = []
    whole = math.fsum(limits[task].weight for task in parts)
    for task, places in parts.items():
        shares = [rows[p].n * (limits[p].weight if p != task else 1.0) for p in places]
        for place, share in zip(places, shares, strict=True):
            row = rows[place]
            # concepts may share clusters: then they move together, as the task tells and they don't
            effect = max(row.design_effect, rows[task].design_effect)
            weight = limits[task].weight / whole * share / math.fsum(shares)
            pseudo = 0.0 if row.identical else PSEUDO * share / math.fsum(shares)
            columns.append((weight, row.lost / effect, row.gained / effect, row.n / effect, pseudo))
    return Strata(*np.array(columns, dtype=np.float64).T)


def target_rows(rows: Sequence[Retention], policy: Policy) -> Iterator[Retention]:
    """Yield the row that min_target_accuracy speaks of: one per checkpoint."""
    if policy.min_target_accuracy is None:
        return
    found: dict[str, list[Retention]] = defaultdict(list)
    for row in rows:
        if row.concept is None and row.target:
            found[row.checkpoint].append(row)
    for candidates in found.values():
        yield min(candidates, key=lambda row: rank(row.probe))


def rank(probe: str) -> int:
    return TARGET_PROBES.index(probe) if probe in TARGET_PROBES else len(TARGET_PROBES)


def p_below(row: Retention, policy: Policy) -> float:
    """Return the p-value of "the target accuracy is at least as demanded": exact binomial."""
    assert policy.min_target_accuracy is not None
    right, n = row.right(policy.min_target_accuracy)
    return float(at_least(n - right, n, 1 - policy.min_target_accuracy))


def finding_check(finding: Finding, policy: Policy) -> Check:
    row, demand = finding.retention, "max_drop"
    value, low, high = row.drop, row.low, row.high
    if finding.must_forget:
        demand, value = "must_forget", row.tuned
        low, high = row.tuned_interval(policy.confidence)
    elif row.concept is None and row.target and policy.max_target_drop is not None:
        demand = "max_target_drop"
    return Check(
        demand=demand,
        checkpoint=row.checkpoint,
        subject=row.subject,
        probe=row.probe,
        outcome=OUTCOMES[finding.verdict],
        value=value,
        low=low,
        high=high,
        limit=finding.limit,
        p_adjusted=finding.p_adjusted,
        tried=finding.tried,
        n=row.n,
        detectable=finding.detectable,
        reason=finding.reason,
    )


def mean_check(mean: Mean, adjusted: Adjusted, policy: Policy) -> Check:
    assert policy.max_mean_drop is not None
    return Check(
        demand="max_mean_drop",
        checkpoint=mean.checkpoint,
        subject=mean.subject,
        probe=mean.probe,
        outcome=outcome(adjusted.p < policy.level, mean.high <= policy.max_mean_drop)
        if mean.known
        else Outcome.NEVER_KNEW,
        value=mean.drop,
        low=mean.low,
        high=mean.high,
        limit=policy.max_mean_drop,
        p_adjusted=adjusted.p,
        tried=adjusted.tried,
        n=mean.n,
    )


def target_check(row: Retention, adjusted: Adjusted, policy: Policy) -> Check:
    assert policy.min_target_accuracy is not None
    low, high = row.tuned_interval(policy.confidence)
    return Check(
        demand="min_target_accuracy",
        checkpoint=row.checkpoint,
        subject=row.subject,
        probe=row.probe,
        outcome=outcome(adjusted.p < policy.level, low >= policy.min_target_accuracy),
        value=row.tuned,
        low=low,
        high=high,
        limit=policy.min_target_accuracy,
        p_adjusted=adjusted.p,
        tried=adjusted.tried,
        n=row.n,
    )


def outcome(exceeded: bool, kept: bool) -> Outcome:
    if exceeded:
        return Outcome.FAILED
    return Outcome.MET if kept else Outcome.UNSURE


def target_unknown(rows: Sequence[Retention], policy: Policy) -> Iterator[Check]:
    """A demand on the target that no question was asked about can't be met."""
    demanded = (policy.min_target_accuracy, policy.max_target_drop, policy.target)
    if all(value is None for value in demanded):
        return
    known = {row.checkpoint for row in rows if row.target}
    for checkpoint in dict.fromkeys(row.checkpoint for row in rows):
        if checkpoint not in known:
            why = "it doesn't record the task it was tuned on: name that task of the battery as policy.target"
            if policy.target is not None:
                why = f"policy.target = '{policy.target}' is no task of this audit: correct it"
            yield could_not(checkpoint, "the target", "any probe", why)


def mean_unknown(rows: Sequence[Retention], means: Sequence[Mean], policy: Policy) -> Iterator[Check]:
    """A limit on the mean of other tasks, where nothing but the target was asked, can't be met."""
    if policy.max_mean_drop is None:
        return
    known = {mean.checkpoint for mean in means}
    for checkpoint in dict.fromkeys(row.checkpoint for row in rows):
        if checkpoint not in known:
            why = "no task but its target was asked and counts: add tasks to the battery"
            yield could_not(checkpoint, "the mean drop", "any probe", why)


def not_asked(rows: Sequence[Retention], policy: Policy, unasked: Sequence[Unasked]) -> Iterator[Check]:
    """A question that could not be asked, and a limit that caught none, must not pass quietly."""
    for item in unasked:
        if not ignored(item, policy):
            yield could_not(item.checkpoint, item.task, item.probe, item.why)
    for rule in catches_nothing(rows, policy):
        if rule.gates:
            why = "no question of this audit matches this rule of the policy"
            yield could_not("any checkpoint", rule.match, rule.probe, why)


def ignored(item: Unasked, policy: Policy) -> bool:
    said = [
        rule.ignore
        for rule in policy.concepts
        if rule.ignore is not None and like(rule.probe, item.probe) and like(rule.match, item.task)
    ]
    return bool(said and said[-1])


def could_not(checkpoint: str, subject: str, probe: str, why: str) -> Check:
    return Check(ASKED, checkpoint, subject, probe, Outcome.FAILED, reason=why)


def tally(checks: Iterable[Check]) -> dict[Outcome, int]:
    """Count the outcomes, in the order of Outcome."""
    counts = Counter(check.outcome for check in checks)
    return {outcome: counts[outcome] for outcome in Outcome if counts[outcome]}
