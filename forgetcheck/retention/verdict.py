"""The verdict on every question: what the evidence says of it under its limit."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from forgetcheck.retention.compare import Retention
from forgetcheck.retention.multiplicity import false_discovery, step_down
from forgetcheck.retention.policy import Limit, Policy
from forgetcheck.retention.power import detectable
from forgetcheck.retention.statistics import Floats, at_least, p_more_than


class Verdict(StrEnum):
    """What the evidence says of one question."""

    RETAINED = "retained"  # shown to be within the limit
    FORGOT = "forgot"  # shown to exceed the limit
    UNSURE = "unsure"  # the evidence does not tell
    NEVER_KNEW = "never knew"  # the base is not better than chance: nothing to forget
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
    gated: bool  # counts for passing; else it informs
    tried: int = 1  # the questions that p_adjusted allows for
    detectable: float | None = None  # smallest drop found 4 times in 5; gated drops only, None: no drop is
    must_forget: bool = False  # then p, limit and verdict speak of the tuned model's accuracy
    reason: str = ""  # why this limit, in the policy's words


@dataclass(frozen=True)
class Claim:
    """A p-value that the gate goes by, before it is adjusted for the others."""

    checkpoint: str
    p: float
    changed: int = 0
    exact: bool = False  # McNemar: only changed + 1 p-values are attainable
    block: str = ""  # exact claims of one block share no sample
    least: float = 0.0  # the smallest p-value that one which isn't exact could have come to


@dataclass(frozen=True)
class Adjusted:
    """A claim's p-value adjusted within its family, and the family's size."""

    p: float
    tried: int


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


def is_gated(limit: Limit) -> bool:
    return limit.gated or limit.must_forget


def claim_of(row: Retention, limit: Limit, p: float) -> Claim:
    # identical weights change no answer and are never rejected: they cost the others nothing
    discrete = (limit.max_drop == 0 or row.identical) and not limit.must_forget
    # concepts may share a cluster, and then aren't independent of one another
    exact = discrete and (row.clustering is None or row.identical)
    changed = row.lost + row.gained
    lost, gained, _ = row.counts(limit.max_drop)
    least = 0.5 ** (lost + gained) if discrete and not exact else 0.0
    return Claim(row.checkpoint, p, changed, exact, f"{row.concept is None} {row.probe}", least)


def in_families(claims: Sequence[Claim]) -> list[Adjusted]:
    """Adjust the claims about each pair of checkpoints for one another."""
    families: dict[str, list[int]] = defaultdict(list)
    for place, claim in enumerate(claims):
        families[claim.checkpoint].append(place)
    result = [Adjusted(1.0, 1)] * len(claims)
    for members in families.values():
        family = [claims[place] for place in members]
        adjusted = step_down(*(np.array([getattr(c, name) for c in family]) for name in CLAIM))
        for place, p in zip(members, adjusted.tolist(), strict=True):
            result[place] = Adjusted(p, len(members))
    return result


CLAIM = ("p", "changed", "exact", "block", "least")


def in_tables(
    rows: Sequence[Retention], limits: Sequence[Limit], p: Floats
) -> Iterator[tuple[int, Adjusted]]:
    """Adjust what isn't gated for the false discoveries of its table: a checkpoint and probe."""
    groups: dict[tuple[str, str, bool], list[int]] = defaultdict(list)
    for place, (row, limit) in enumerate(zip(rows, limits, strict=True)):
        if not is_gated(limit):
            groups[row.checkpoint, row.probe, row.concept is None].append(place)
    for members in groups.values():
        for place, q in zip(members, false_discovery(p[members]).tolist(), strict=True):
            yield place, Adjusted(q, len(members))


def find(
    rows: Sequence[Retention], limits: Sequence[Limit], p: Floats, gated: Sequence[Adjusted], policy: Policy
) -> list[Finding]:
    """Give the verdict on every row; `gated` are the adjusted p-values of the gated ones, in order."""
    turn = iter(gated)
    adjusted = {place: next(turn) for place, limit in enumerate(limits) if is_gated(limit)}
    adjusted.update(in_tables(rows, limits, p))
    smallest = detectable_drops(rows, limits, adjusted, policy.level)
    return [
        Finding(
            retention=row,
            limit=limit.max_drop if limit.max_accuracy is None else limit.max_accuracy,
            p=float(p[place]),
            p_adjusted=adjusted[place].p,
            verdict=verdict(row, limit, adjusted[place].p, policy),
            gated=is_gated(limit),
            tried=adjusted[place].tried,
            detectable=smallest.get(place),
            must_forget=limit.must_forget,
            reason=limit.reason,
        )
        for place, (row, limit) in enumerate(zip(rows, limits, strict=True))
    ]


def detectable_drops(
    rows: Sequence[Retention], limits: Sequence[Limit], adjusted: dict[int, Adjusted], level: float
) -> dict[int, float | None]:
    """Return the smallest drop that the gate would find for each gated row, at its family's strictest."""
    families: dict[int, list[int]] = defaultdict(list)
    for place, limit in enumerate(limits):
        if limit.gated:
            families[adjusted[place].tried].append(place)
    found: dict[int, float | None] = {}
    for tried, places in families.items():
        n, churn = ([getattr(rows[place], name) for place in places] for name in ("effective", "churn"))
        drops = detectable(n, churn, [limits[place].max_drop for place in places], level / tried)
        found.update(zip(places, (None if np.isnan(drop) else drop for drop in drops.tolist()), strict=True))
    return found


def verdict(row: Retention, limit: Limit, p: float, policy: Policy) -> Verdict:
    """Decide one row from its interval and its decisive p-value.

    The interval leaves alpha/2 on each side, so each one-sided claim is made at that level.
    """
    if limit.max_accuracy is not None:
        return forgotten(row, limit.max_accuracy, p, policy)
    if row.identical:
        return Verdict.RETAINED
    if row.high < 0:
        return Verdict.GAINED
    if never_knew(row, policy):
        return Verdict.NEVER_KNEW
    if p < policy.level:
        return Verdict.FORGOT
    return Verdict.RETAINED if row.high <= limit.max_drop else Verdict.UNSURE


def never_knew(row: Retention, policy: Policy) -> bool:
    """Whether there is nothing to forget: the base isn't shown to beat chance, nor the tuned model it."""
    return not row.identical and row.high >= 0 and row.chance_p > 1 - policy.confidence


def forgotten(row: Retention, max_accuracy: float, p: float, policy: Policy) -> Verdict:
    """Decide what must be forgotten: by the accuracy of the tuned model, whatever the base knew."""
    if p < policy.level:
        return Verdict.STILL_KNOWN
    _, high = row.tuned_interval(policy.confidence)
    return Verdict.UNLEARNED if high <= max_accuracy else Verdict.UNSURE
