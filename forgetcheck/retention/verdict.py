"""The verdict on every question: what the evidence says of it under its limit."""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

import numpy as np

from forgetcheck.retention.compare import Retention
from forgetcheck.retention.policy import Limit, Policy
from forgetcheck.retention.statistics.multiplicity import false_discovery, step_down
from forgetcheck.retention.statistics.paired import Floats, at_least, interval, mcnemar, p_more_than
from forgetcheck.retention.statistics.power import detectable

_CLAIM = ("p", "changed", "exact", "block", "least")
CONCEPTS = "concepts"  # the pool of those that nobody named; all else a policy gates is in the other
_FEWEST = 6  # samples, below which not even all of them lost or gained are too many for luck
_OF_CONCEPTS = 0.2  # of the level: a concept is one of very many, and a limit somebody set comes first
Key = TypeVar("Key", bound=Hashable)


class Verdict(StrEnum):
    """What the evidence says of one question."""

    RETAINED = "retained"  # shown to be within the limit
    FORGOT = "forgot"  # shown to exceed the limit
    UNSURE = "unsure"  # the evidence does not tell
    NEVER_KNEW = "never knew"  # the base is not shown to do more than guess: nothing to forget
    GAINED = "gained"  # retained, and shown to be better than the base
    STILL_KNOWN = "still known"  # had to be forgotten, and shown not to be
    UNLEARNED = "unlearned"  # had to be forgotten, and shown to be


@dataclass(frozen=True)
class Finding:
    """A retention, the limit it is held against and the verdict."""

    retention: Retention
    limit: float  # of the drop; of the tuned accuracy for what must be forgotten
    p: float  # of "the limit is kept"; small speaks for forgetting
    p_adjusted: float  # what the verdict goes by: p, for how many questions were tried
    verdict: Verdict
    gated: bool  # a demand of its own, to be shown to be kept
    tried: int = 1  # the questions that p_adjusted allows for
    detectable: float | None = None  # smallest drop found 4 times in 5; gated drops only, None: no drop is
    must_forget: bool = False  # then p, limit and verdict speak of the tuned model's accuracy
    reason: str = ""  # why this limit, in the policy's words
    watched: bool = False  # fails the policy where it is shown to have forgotten, and asks no more
    ignored: bool = False  # by the policy
    guessed: bool = False  # unsure, because the base isn't shown to know what was lost beyond the limit


@dataclass(frozen=True)
class Claim:
    """A p-value that the gate goes by, before it is adjusted for the others."""

    checkpoint: str
    p: float
    changed: int = 0
    exact: bool = False  # McNemar: only changed + 1 p-values are attainable
    block: str = ""  # exact claims of one block share no sample
    least: float = 0.0  # the smallest p-value that one which isn't exact could have come to
    pool: str = ""  # those of one pool share its part of the level
    able: bool = (
        True  # whether any answers at all could have shown something; else it costs the others nothing
    )


@dataclass(frozen=True)
class Adjusted:
    """A claim's p-value adjusted within its family."""

    p: float
    tried: int  # the claims of its pool that could have shown something
    share: float = 1.0  # of the level that its pool has

    def level(self, whole: float) -> float:
        """Return the level that the strictest of the pool is tested at."""
        return whole * self.share / max(self.tried, 1)


def p_values(rows: Sequence[Retention], limits: Sequence[Limit]) -> Floats:
    """Return for each row the p-value of "the limit is kept". (m,)"""
    held = [row.counts(limit.max_drop) for row, limit in zip(rows, limits, strict=True)]
    lost, gained, n = np.array(held).reshape(-1, 3).T
    p = p_more_than(lost, gained, n, np.array([limit.max_drop for limit in limits]))
    p[[row.identical for row in rows]] = 1.0
    for place, (row, limit) in enumerate(zip(rows, limits, strict=True)):
        if limit.max_accuracy is not None:
            p[place] = at_least(*row.right(limit.max_accuracy), limit.max_accuracy)
    return p


def _gain_p_values(rows: Sequence[Retention]) -> Floats:
    """Return for each row the p-value of "nothing was gained": exact, as at a limit of 0. (m,)"""
    lost, gained, _ = np.array([row.counts(0.0) for row in rows]).reshape(-1, 3).T
    return mcnemar(gained, lost)


def _is_tested(limit: Limit) -> bool:
    """Whether a policy can fail by this row."""
    return limit.gated or limit.watched or limit.must_forget


def claims_of(
    rows: Sequence[Retention], limits: Sequence[Limit], p: Floats, level: float
) -> dict[int, Claim]:
    """Return what a policy gates, by the place of its row."""
    largest = _most_evidence(rows, limits)
    return {
        place: claim_of(row, limit, float(p[place]), float(largest[place]) < level)
        for place, (row, limit) in enumerate(zip(rows, limits, strict=True))
        if _is_tested(limit)
    }


def _most_evidence(rows: Sequence[Retention], limits: Sequence[Limit]) -> Floats:
    """Return the p-value that each row would have if every answer of so many samples were lost. (m,)"""
    n = np.array([row.n for row in rows], dtype=np.float64)
    return p_more_than(n, n * 0, n, np.array([limit.max_drop for limit in limits]))


def claim_of(row: Retention, limit: Limit, p: float, able: bool = True) -> Claim:
    # identical weights change no answer and are never rejected: they cost the others nothing
    discrete = (limit.max_drop == 0 or row.identical) and not limit.must_forget
    # concepts may share a cluster or a probe's training images, and then aren't independent of one another
    exact = discrete and (row.clustering is None or row.identical)
    changed = row.lost + row.gained
    lost, gained, _ = row.counts(limit.max_drop)
    least = 0.5 ** (lost + gained) if discrete and not exact else 0.0
    return Claim(
        row.checkpoint,
        p,
        changed,
        exact,
        f"{row.concept is None} {row.probe}",
        least,
        CONCEPTS if limit.watched else "",
        limit.must_forget or (able and not row.identical),
    )


def _gain_claims(rows: Sequence[Retention], limits: Sequence[Limit], p: Floats) -> dict[int, Claim]:
    """Return the claims that rows gained, in the same families as those that they lost."""
    found = {}
    for place, (row, limit, each) in enumerate(zip(rows, limits, p.tolist(), strict=True)):
        if limit.gated or limit.watched:
            exact = row.clustering is None or row.identical
            lost, gained, _ = row.counts(0.0)
            found[place] = Claim(
                row.checkpoint,
                each,
                row.lost + row.gained,
                exact,
                f"{row.concept is None} {row.probe}",
                0.0 if exact else 0.5 ** (lost + gained),
                CONCEPTS if limit.watched else "",
                row.n >= _FEWEST and not row.identical,
            )
    return found


def in_families(claims: Mapping[Key, Claim]) -> dict[Key, Adjusted]:
    """Adjust the claims about each pair of checkpoints for one another.

    The concepts that nobody named are a pool of their own, and the pools of a pair share the level: so
    however many concepts there are, they cost a task no more than a fifth of it.
    """
    pools: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for key, claim in claims.items():
        pools[claim.checkpoint, claim.pool].append(key)
    able = {pool: sum(claims[key].able for key in members) for pool, members in pools.items()}
    result: dict[Key, Adjusted] = {}
    for pool, members in pools.items():
        checkpoint, name = pool
        alone = all(n == 0 for other, n in able.items() if other[0] == checkpoint and other != pool)
        share = 1.0 if alone else _OF_CONCEPTS if name == CONCEPTS else 1 - _OF_CONCEPTS
        counted = [key for key in members if claims[key].able]
        found = dict.fromkeys(members, 1.0)
        if counted:
            family = [claims[key] for key in counted]
            adjusted = step_down(*(np.array([getattr(c, name) for c in family]) for name in _CLAIM))
            found.update(zip(counted, np.minimum(adjusted / share, 1.0).tolist(), strict=True))
        result.update({key: Adjusted(p, len(counted), share) for key, p in found.items()})
    return result


def _in_tables(rows: Sequence[Retention], others: Sequence[int], p: Floats) -> Iterator[tuple[int, Adjusted]]:
    """Adjust rows that aren't gated for the false discoveries of their table: a checkpoint and probe."""
    groups: dict[tuple[str, str, bool], list[int]] = defaultdict(list)
    for place in others:
        row = rows[place]
        groups[row.checkpoint, row.probe, row.concept is None].append(place)
    for members in groups.values():
        for place, q in zip(members, false_discovery(p[members]).tolist(), strict=True):
            yield place, Adjusted(q, len(members))


def find(
    rows: Sequence[Retention],
    limits: Sequence[Limit],
    p: Floats,
    gated: Mapping[int, Adjusted],
    policy: Policy,
) -> list[Finding]:
    """Give the verdict on every row; `gated` are the adjusted p-values of the gated ones, by place."""
    others = [place for place, limit in enumerate(limits) if not _is_tested(limit)]
    adjusted = {**gated, **dict(_in_tables(rows, others, p))}
    gains = _gain_p_values(rows)
    told = [place for place, limit in enumerate(limits) if not (limit.gated or limit.watched)]
    gained = {**in_families(_gain_claims(rows, limits, gains)), **dict(_in_tables(rows, told, gains))}
    smallest = _detectable_drops(rows, limits, adjusted, policy.level)
    found = [
        Finding(
            retention=row,
            limit=limit.max_drop if limit.max_accuracy is None else limit.max_accuracy,
            p=float(p[place]),
            p_adjusted=adjusted[place].p,
            verdict=verdict(row, limit, adjusted[place].p, gained[place].p, policy),
            gated=limit.gated or limit.must_forget,
            tried=adjusted[place].tried,
            detectable=smallest.get(place),
            must_forget=limit.must_forget,
            reason=limit.reason,
            watched=limit.watched,
            ignored=limit.ignored,
            guessed=not limit.must_forget and never_knew(row, policy) and adjusted[place].p < policy.level,
        )
        for place, (row, limit) in enumerate(zip(rows, limits, strict=True))
    ]
    return [_explained(finding, policy) for finding in found]


def _detectable_drops(
    rows: Sequence[Retention], limits: Sequence[Limit], adjusted: Mapping[int, Adjusted], level: float
) -> dict[int, float | None]:
    """Return the smallest drop that the gate would find for each gated row, at its family's strictest."""
    families: dict[float, list[int]] = defaultdict(list)
    for place, limit in enumerate(limits):
        if limit.gated:
            families[adjusted[place].level(level)].append(place)
    found: dict[int, float | None] = {}
    for each, places in families.items():
        n, churn = ([getattr(rows[place], name) for place in places] for name in ("effective", "churn"))
        drops = detectable(n, churn, [limits[place].max_drop for place in places], each)
        found.update(zip(places, (None if np.isnan(drop) else drop for drop in drops.tolist()), strict=True))
    return found


def verdict(row: Retention, limit: Limit, p: float, gain_p: float, policy: Policy) -> Verdict:
    """Decide one row from its interval and its decisive p-values.

    The interval leaves alpha/2 on each side, so each one-sided claim is made at that level. Where the base
    isn't shown to know anything there is nothing to forget; but a loss beyond the limit is never excused so.
    """
    if limit.max_accuracy is not None:
        return forgotten(row, limit.max_accuracy, p, policy)
    if row.identical:
        return Verdict.RETAINED
    if row.high < 0 and gain_p < policy.level:
        return Verdict.GAINED
    if never_knew(row, policy):
        return Verdict.UNSURE if p < policy.level else Verdict.NEVER_KNEW
    if p < policy.level:
        return Verdict.FORGOT
    return Verdict.RETAINED if row.high <= limit.max_drop else Verdict.UNSURE


def never_knew(row: Retention, policy: Policy) -> bool:
    """Whether there is nothing to forget: the base isn't shown to do more than guess."""
    return not row.identical and row.chance_p > 1 - policy.confidence


def forgotten(row: Retention, max_accuracy: float, p: float, policy: Policy) -> Verdict:
    """Decide what must be forgotten: by the accuracy of the tuned model, whatever the base knew."""
    if p < policy.level:
        return Verdict.STILL_KNOWN
    _, high = row.tuned_interval(policy.confidence)
    return Verdict.UNLEARNED if high <= max_accuracy else Verdict.UNSURE


def _explained(finding: Finding, policy: Policy) -> Finding:
    """Add what a reader needs to understand a verdict that the numbers beside it don't explain."""
    told = tuple(_explanations(finding, policy))
    if not told:
        return finding
    row = finding.retention
    return replace(finding, retention=replace(row, warnings=(*row.warnings, *told)))


def _explanations(finding: Finding, policy: Policy) -> Iterator[str]:
    row = finding.retention
    if finding.guessed:
        yield "more is lost than the limit allows, but the base may only have guessed it"
    elif finding.verdict is Verdict.UNSURE and not finding.must_forget and row.low > finding.limit:
        yield (
            f"its own interval lies beyond the limit, but among {finding.tried:,} questions one would by "
            f"luck (adjusted p {finding.p_adjusted:.2g})"
        )
    if _hangs_on_template(finding, policy):
        assert row.by_template is not None
        low, high = (f"{100 * drop:.1f}".replace("-", "−") for drop in row.by_template)
        yield f"the verdict hangs on the prompt templates: single ones give drops from {low} to {high} points"


def _hangs_on_template(finding: Finding, policy: Policy) -> bool:
    """Whether a single prompt template shows the opposite of a verdict."""
    row, limit = finding.retention, finding.limit
    if row.templates is None or row.by_template is None or finding.must_forget:
        return False
    low, high = row.by_template
    lost, gained = row.templates.T
    if finding.verdict in (Verdict.RETAINED, Verdict.GAINED) and high > limit:
        return bool((p_more_than(lost, gained, row.n, limit) < policy.level).any())
    if finding.verdict is Verdict.FORGOT and low <= limit:
        return bool((interval(lost, gained, row.n, policy.confidence)[1] <= limit).any())
    return False
