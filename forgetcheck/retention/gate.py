"""The gate: everything a policy demands, what the evidence says of it, and whether that passes."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import NormalDist
from typing import Any

import numpy as np

from forgetcheck.retention.advice import Advice, advice_on_accuracy, advice_on_drops, advice_on_mean
from forgetcheck.retention.answers import SkippedQuestion
from forgetcheck.retention.compare import TRAINED, Retention
from forgetcheck.retention.policy import Limit, Policy, catches_nothing, like, limits_of
from forgetcheck.retention.statistics.bootstrap import PSEUDO, Strata, bootstrap_interval, bootstrap_p
from forgetcheck.retention.statistics.paired import at_least, p_more_than
from forgetcheck.retention.verdict import (
    Adjusted,
    Claim,
    Finding,
    Verdict,
    claims_of,
    find,
    in_families,
    never_knew,
    p_values,
)

ASKED = "asked"  # the demand that a question be asked at all
CONCEPTS = "concepts"  # that no concept be shown to have lost more than its limit
IDENTICAL = "identical"  # that a checkpoint not be the base itself
UNMEASURED = (ASKED, CONCEPTS, IDENTICAL)  # demands without a value and an interval
CALIBRATION = "max_calibration_error_increase"
OF_ACCURACY = ("min_target_accuracy", "must_forget")  # demands whose value is an accuracy, not a drop
_TARGET_PROBES = ("head", "zero-shot", "linear")  # the target accuracy is that of the first one asked


class Outcome(StrEnum):
    """What the evidence says of one demand."""

    MET = "met"
    FAILED = "failed"
    UNSURE = "unsure"
    NEVER_KNEW = "never knew"  # nothing to forget: neither met nor failed


_OUTCOMES = {
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
    was applied to nothing else (the checkpoint's own head).
    """

    checkpoint: str
    probe: str
    tasks: int  # that the base knows; all, where it knows none
    n: int  # samples of all of them
    drop: float
    low: float  # bootstrap interval
    high: float
    p: float  # of "the mean drop is at most max_mean_drop"; 1 without that limit
    worst: Retention
    known: bool  # the base beats chance on one of them at least: there was something to forget
    of_target: bool  # over nothing but the task tuned on: a gain to be told, not a drop to be gated
    every: int = 0  # tasks, with those that the base never knew
    every_drop: float = 0.0  # the mean over all of those

    @property
    def subject(self) -> str:
        return "1 task" if self.tasks == 1 else f"mean of {self.tasks} tasks"

    @property
    def unknown(self) -> int:
        """How many tasks are left out because the base is not shown to know them."""
        return self.every - self.tasks if self.every else 0


@dataclass(frozen=True)
class Check:
    """One demand of the policy and what the evidence says of it. Values are fractions.

    `value`, `low` and `high` are of a drop or, for min_target_accuracy and must_forget, of the tuned
    model's accuracy; for max_lost a share of the base's right answers, for calibration the increase of the
    error. All are NaN where nothing was measured.
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
    advice: Advice | None = None  # how many samples would tell, where it is unsure
    guessed: bool = False  # unsure because the base may have guessed what was lost

    @property
    def measured(self) -> bool:
        return self.demand not in UNMEASURED


@dataclass(frozen=True)
class _Judgement:
    """What judge() returns."""

    findings: tuple[Finding, ...]
    means: tuple[Mean, ...]
    checks: tuple[Check, ...]


def judge(
    rows: Sequence[Retention],
    policy: Policy,
    unasked: Sequence[SkippedQuestion] = (),
    same: Sequence[str] = (),
) -> _Judgement:
    """Give the verdict on every row, in the order given, and on every demand of the policy.

    What a policy gates about one pair of checkpoints is one family: a pair that lost nothing is
    failed no more often than `policy.level` says, however many questions are asked. `same` are the
    checkpoints that are the base itself.
    """
    limits = _as_their_tasks(rows, _spare_the_forgotten(rows, limits_of(rows, policy)))
    p = p_values(rows, limits)
    means = list(_mean_drops(rows, limits, policy))
    limited = [mean for mean in means if policy.max_mean_drop is not None and not mean.of_target]
    targets = list(_target_rows(rows, policy))
    flips = [(r, limit.max_lost) for r, limit in zip(rows, limits, strict=True) if limit.max_lost is not None]
    calibrated = list(_calibrated_rows(rows, limits, policy))
    claims: dict[tuple[str, int], Claim] = {
        **{("row", place): claim for place, claim in claims_of(rows, limits, p, policy.level).items()},
        **_numbered("mean", (Claim(mean.checkpoint, mean.p) for mean in limited)),
        **_numbered("target", (Claim(row.checkpoint, _p_below(row, policy)) for row in targets)),
        **_numbered("lost", (Claim(row.checkpoint, _p_lost(row, limit)) for row, limit in flips)),
        **_numbered(
            "calibration", (Claim(row.checkpoint, _p_uncalibrated(row, policy)) for row in calibrated)
        ),
    }
    adjusted = in_families(claims)
    gated = {place: adjusted["row", place] for kind, place in claims if kind == "row"}
    findings = find(rows, limits, p, gated, policy)
    checks = [
        *_finding_checks(
            findings, {place: each.level(policy.level) for place, each in gated.items()}, policy
        ),
        *(_lost_check(*each, adjusted["lost", k], policy) for k, each in enumerate(flips)),
        *(_mean_check(mean, adjusted["mean", k], policy) for k, mean in enumerate(limited)),
        *(_target_check(row, adjusted["target", k], policy) for k, row in enumerate(targets)),
        *(_calibration_check(row, adjusted["calibration", k], policy) for k, row in enumerate(calibrated)),
        *_concept_checks(findings),
        *_target_unknown(rows, policy),
        *_mean_unknown(rows, limited, policy),
        *_not_asked(rows, policy, unasked),
        *(_the_base_itself(name) for name in same if not policy.allow_identical),
    ]
    return _Judgement(tuple(findings), tuple(means), tuple(checks))


def _numbered(kind: str, claims: Iterable[Claim]) -> dict[tuple[str, int], Claim]:
    return {(kind, number): claim for number, claim in enumerate(claims)}


def _spare_the_forgotten(rows: Sequence[Retention], limits: Sequence[Limit]) -> list[Limit]:
    """A task of which every concept is ignored or must be forgotten can't be held to a drop as well."""
    kept: dict[tuple[str, str, str], bool] = defaultdict(bool)
    for row, limit in zip(rows, limits, strict=True):
        if row.concept is not None:
            kept[row.checkpoint, row.probe, row.task] |= not limit.must_forget and not limit.ignored
    # a task without rows of concepts, such as captions of a single kind, has none to spare it
    return [
        replace(limit, gated=False, max_lost=None, ignored=True)
        if row.concept is None and not kept.get((row.checkpoint, row.probe, row.task), True)
        else limit
        for row, limit in zip(rows, limits, strict=True)
    ]


def _as_their_tasks(rows: Sequence[Retention], limits: Sequence[Limit]) -> list[Limit]:
    """Hold concepts that nobody named to the limit of their task; where it has none, to none."""
    tasks = {
        (row.checkpoint, row.probe, row.task): limit
        for row, limit in zip(rows, limits, strict=True)
        if row.concept is None
    }
    found = []
    for row, limit in zip(rows, limits, strict=True):
        if limit.watched:
            task = tasks.get((row.checkpoint, row.probe, row.task), limit)
            limit = replace(limit, watched=task.gated, max_drop=task.max_drop)
        found.append(limit)
    return found


def passed(checks: Iterable[Check], policy: Policy) -> bool:
    """Say whether something was measured and every demand is met.

    What the evidence doesn't tell passes with a warning, unless the policy says otherwise.
    """
    outcomes = {check.outcome for check in checks}
    refused = {Outcome.FAILED, Outcome.UNSURE} if policy.when_unsure == "fail" else {Outcome.FAILED}
    return bool(outcomes - {Outcome.NEVER_KNEW}) and not outcomes & refused


def _mean_drops(rows: Sequence[Retention], limits: Sequence[Limit], policy: Policy) -> Iterator[Mean]:
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    concepts: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for place, (row, limit) in enumerate(zip(rows, limits, strict=True)):
        if row.concept is not None:
            concepts[row.checkpoint, row.probe, row.task].append(place)
        elif not limit.ignored and not limit.must_forget:
            groups[row.checkpoint, row.probe].append(place)
    for (checkpoint, probe), places in groups.items():
        every = [place for place in places if not rows[place].target] or places
        # a task that the base never knew can't be forgotten: it would only dilute what was
        tasks = [place for place in every if not never_knew(rows[place], policy)] or every
        parts, all_parts = (
            {place: _parts_of(place, concepts[checkpoint, probe, rows[place].task], limits) for place in some}
            for some in (tasks, every)
        )
        strata = _strata_of(parts, rows, limits)
        alone = rows[tasks[0]] if list(parts.values()) == [[tasks[0]]] else None
        low, high, p = _mean_evidence(strata, alone, policy)
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
            every=len(every),
            every_drop=_strata_of(all_parts, rows, limits).mean,
        )


def _mean_evidence(strata: Strata, alone: Retention | None, policy: Policy) -> tuple[float, float, float]:
    """Return the interval of a mean drop and the p-value of its limit (1 without one).

    The mean of one whole task is that task: its own, sharper evidence holds.
    """
    limit = policy.max_mean_drop
    if alone is not None:
        p = 1.0 if limit is None else float(p_more_than(*alone.counts(limit), limit))
        return alone.low, alone.high, p
    low, high = bootstrap_interval(strata, policy.confidence)
    return low, high, 1.0 if limit is None else bootstrap_p(strata, limit)


def _parts_of(task: int, concepts: Sequence[int], limits: Sequence[Limit]) -> list[int]:
    """Return the rows whose samples make up a task's drop: its own, or its concepts' if they weigh apart.

    What must be forgotten is no loss.
    """
    kept = [place for place in concepts if not (limits[place].ignored or limits[place].must_forget)]
    apart = len(kept) < len(concepts) or any(limits[place].weight != 1 for place in concepts)
    return kept if apart and kept else [task]


def _strata_of(parts: dict[int, list[int]], rows: Sequence[Retention], limits: Sequence[Limit]) -> Strata:
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


def _target_rows(rows: Sequence[Retention], policy: Policy) -> Iterator[Retention]:
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
    return _TARGET_PROBES.index(probe) if probe in _TARGET_PROBES else len(_TARGET_PROBES)


def _p_below(row: Retention, policy: Policy) -> float:
    """Return the p-value of "the target accuracy is at least as demanded": exact binomial."""
    assert policy.min_target_accuracy is not None
    right, n = row.right(policy.min_target_accuracy)
    return float(at_least(n - right, n, 1 - policy.min_target_accuracy))


def _p_lost(row: Retention, limit: float) -> float:
    """Return the p-value of "no more than `limit` of the base's right answers were lost": exact binomial."""
    lost, right = row.flips(limit)
    return 1.0 if row.identical else float(at_least(lost, right, limit))


def _p_uncalibrated(row: Retention, policy: Policy) -> float:
    """Return the p-value of "the calibration error rose by no more than the limit", by the normal curve."""
    assert row.calibration is not None
    assert policy.max_calibration_error_increase is not None
    excess = row.calibration.change - policy.max_calibration_error_increase
    if row.calibration.error == 0:
        return float(excess <= 0)
    return NormalDist().cdf(-excess / row.calibration.error)


def _calibrated_rows(
    rows: Sequence[Retention], limits: Sequence[Limit], policy: Policy
) -> Iterator[Retention]:
    """Yield the tasks whose calibration is demanded: by probes whose confidence is the model's own."""
    if policy.max_calibration_error_increase is None:
        return
    for row, limit in zip(rows, limits, strict=True):
        own = row.probe.partition(":")[0] not in TRAINED
        if row.calibration is not None and own and not limit.ignored and not limit.must_forget:
            yield row


def _finding_checks(
    findings: Sequence[Finding], levels: Mapping[int, float], policy: Policy
) -> Iterator[Check]:
    """Yield a demand for every row that has one, or that broke the one of all concepts."""
    told = [
        (place, finding)
        for place, finding in enumerate(findings)
        if finding.gated or (finding.watched and (finding.guessed or finding.verdict is Verdict.FORGOT))
    ]
    unsure = [
        place
        for place, finding in told
        if finding.verdict is Verdict.UNSURE and not finding.guessed and not finding.must_forget
    ]
    advice = dict(
        zip(
            unsure,
            advice_on_drops(
                [findings[place].retention for place in unsure],
                [findings[place].limit for place in unsure],
                [levels[place] for place in unsure],
                policy.confidence,
            ),
            strict=True,
        )
    )
    for place, finding in told:
        check = _finding_check(finding, policy)
        if finding.must_forget and finding.verdict is Verdict.UNSURE:
            row, level = finding.retention, levels[place]
            advice[place] = advice_on_accuracy(row.tuned, row.n, finding.limit, level, policy.confidence)
        yield replace(check, advice=advice.get(place))


def _finding_check(finding: Finding, policy: Policy) -> Check:
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
        outcome=_OUTCOMES[finding.verdict],
        value=value,
        low=low,
        high=high,
        limit=finding.limit,
        p_adjusted=finding.p_adjusted,
        tried=finding.tried,
        n=row.n,
        detectable=finding.detectable,
        reason=finding.reason,
        guessed=finding.guessed,
    )


def _concept_checks(findings: Sequence[Finding]) -> Iterator[Check]:
    """Yield for each checkpoint and probe that no concept is shown to be forgotten, where none is.

    That is no proof that each is retained, for which concepts have too few samples: a rule demands that.
    """
    groups: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    known: dict[tuple[str, str], bool] = defaultdict(bool)
    for finding in findings:
        row = finding.retention
        if finding.watched:
            groups[row.checkpoint, row.probe].append(finding)
        elif row.concept is None:
            told = finding.verdict is not Verdict.NEVER_KNEW and not finding.guessed
            known[row.checkpoint, row.probe] |= told
    for (checkpoint, probe), found in groups.items():
        if not any(each.verdict is Verdict.FORGOT or each.guessed for each in found):
            outcome = Outcome.MET if known[checkpoint, probe] else Outcome.NEVER_KNEW
            limit = max(each.limit for each in found)
            subject = "1 concept" if len(found) == 1 else f"{len(found):,} concepts"
            yield Check(CONCEPTS, checkpoint, subject, probe, outcome, limit=limit, tried=found[0].tried)


def _check_of(row: Retention, adjusted: Adjusted, **said: Any) -> Check:
    """Return what is said of a row as a demand that is part of a family."""
    return Check(
        checkpoint=row.checkpoint,
        subject=row.subject,
        probe=row.probe,
        p_adjusted=adjusted.p,
        tried=adjusted.tried,
        n=row.n,
        **said,
    )


def _lost_check(row: Retention, limit: float, adjusted: Adjusted, policy: Policy) -> Check:
    low, high = (0.0, 0.0) if row.identical else row.lost_interval(policy.confidence)
    found = outcome(adjusted.p < policy.level, high <= limit)
    if never_knew(row, policy):
        found = Outcome.UNSURE if adjusted.p < policy.level else Outcome.NEVER_KNEW
    unsure = found is Outcome.UNSURE and not never_knew(row, policy)
    each = adjusted.level(policy.level)
    return _check_of(
        row,
        adjusted,
        demand="max_lost",
        outcome=found,
        value=row.lost_share,
        low=low,
        high=high,
        limit=limit,
        advice=_of_all(
            advice_on_accuracy(row.lost_share, row.base_right, limit, each, policy.confidence), row
        )
        if unsure
        else None,
        guessed=found is Outcome.UNSURE and not unsure,
    )


def _of_all(advice: Advice, row: Retention) -> Advice:
    """Turn the number of right answers of the base that would tell into that of all samples."""
    if advice.samples is None or not row.base_right:
        return advice
    return Advice(-(-advice.samples * row.n // row.base_right))


def _calibration_check(row: Retention, adjusted: Adjusted, policy: Policy) -> Check:
    assert row.calibration is not None
    assert policy.max_calibration_error_increase is not None
    limit, change = policy.max_calibration_error_increase, row.calibration.change
    low, high = row.calibration.interval(policy.confidence)
    found = outcome(adjusted.p < policy.level, high <= limit)
    each = adjusted.level(policy.level)
    return _check_of(
        row,
        adjusted,
        demand=CALIBRATION,
        outcome=found,
        value=change,
        low=low,
        high=high,
        limit=limit,
        advice=advice_on_mean(change, row.calibration.error, row.n, limit, each, policy.level)
        if found is Outcome.UNSURE
        else None,
    )


def _the_base_itself(checkpoint: str) -> Check:
    why = (
        "its weights are those of the base, so nothing was compared: name the tuned checkpoint, or set "
        "allow_identical = true under [policy] where that is meant"
    )
    return Check(IDENTICAL, checkpoint, "the checkpoint", "any probe", Outcome.FAILED, reason=why)


def _mean_check(mean: Mean, adjusted: Adjusted, policy: Policy) -> Check:
    assert policy.max_mean_drop is not None
    limit = policy.max_mean_drop
    found = Outcome.NEVER_KNEW
    if mean.known:
        found = outcome(adjusted.p < policy.level, mean.high <= limit)
    error = (mean.high - mean.low) / 2 / NormalDist().inv_cdf((1 + policy.confidence) / 2)
    each = adjusted.level(policy.level)
    return Check(
        demand="max_mean_drop",
        checkpoint=mean.checkpoint,
        subject=mean.subject,
        probe=mean.probe,
        outcome=found,
        value=mean.drop,
        low=mean.low,
        high=mean.high,
        limit=limit,
        p_adjusted=adjusted.p,
        tried=adjusted.tried,
        n=mean.n,
        advice=advice_on_mean(mean.drop, error, mean.n, limit, each, policy.level)
        if found is Outcome.UNSURE
        else None,
    )


def _target_check(row: Retention, adjusted: Adjusted, policy: Policy) -> Check:
    assert policy.min_target_accuracy is not None
    limit = policy.min_target_accuracy
    low, high = row.tuned_interval(policy.confidence)
    found = outcome(adjusted.p < policy.level, low >= limit)
    each = adjusted.level(policy.level)
    return _check_of(
        row,
        adjusted,
        demand="min_target_accuracy",
        outcome=found,
        value=row.tuned,
        low=low,
        high=high,
        limit=limit,
        advice=advice_on_accuracy(1 - row.tuned, row.n, 1 - limit, each, policy.confidence)
        if found is Outcome.UNSURE
        else None,
    )


def outcome(exceeded: bool, kept: bool) -> Outcome:
    if exceeded:
        return Outcome.FAILED
    return Outcome.MET if kept else Outcome.UNSURE


def _target_unknown(rows: Sequence[Retention], policy: Policy) -> Iterator[Check]:
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
            yield _could_not(checkpoint, "the target", "any probe", why)


def _mean_unknown(rows: Sequence[Retention], means: Sequence[Mean], policy: Policy) -> Iterator[Check]:
    """A limit on the mean of other tasks, where nothing but the target was asked, can't be met."""
    if policy.max_mean_drop is None:
        return
    known = {mean.checkpoint for mean in means}
    for checkpoint in dict.fromkeys(row.checkpoint for row in rows):
        if checkpoint not in known:
            why = "no task but its target was asked and counts: add tasks to the battery"
            yield _could_not(checkpoint, "the mean drop", "any probe", why)


def _not_asked(
    rows: Sequence[Retention], policy: Policy, unasked: Sequence[SkippedQuestion]
) -> Iterator[Check]:
    """A question that could not be asked, and a limit that caught none, must not pass quietly."""
    for item in unasked:
        if not ignored(item, policy):
            yield _could_not(item.checkpoint, item.task, item.probe, item.why)
    for rule in catches_nothing(rows, policy):
        if rule.gates:
            why = "no question of this audit matches this rule of the policy"
            yield _could_not("any checkpoint", rule.match, rule.probe, why)


def ignored(item: SkippedQuestion, policy: Policy) -> bool:
    """Whether nobody minds that a question was not asked: its battery or the policy says so."""
    if item.role in ("optional", "stopped"):  # who stopped an audit didn't mean that this needs no answer
        return item.role == "optional"
    said = [
        rule.ignore
        for rule in policy.concepts
        if rule.ignore is not None and like(rule.probe, item.probe) and like(rule.match, item.task)
    ]
    return bool(said and said[-1])


def _could_not(checkpoint: str, subject: str, probe: str, why: str) -> Check:
    return Check(ASKED, checkpoint, subject, probe, Outcome.FAILED, reason=why)


def tally(checks: Iterable[Check]) -> dict[Outcome, int]:
    """Count the outcomes, in the order of Outcome."""
    counts = Counter(check.outcome for check in checks)
    return {outcome: counts[outcome] for outcome in Outcome if counts[outcome]}
