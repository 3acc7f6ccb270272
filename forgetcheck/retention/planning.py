"""What a battery of this size can show, before anything is measured. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from forgetcheck.retention.compare import Retention
from forgetcheck.retention.policy import Limit, Policy, limits_of
from forgetcheck.retention.statistics.power import detectable, provable

CHURN = 0.03  # taken for granted: the share of answers that change in each direction after a mild tuning
_PROBES = ("zero-shot", "linear")
_SIZES = np.unique(np.geomspace(10, 1e7, 400).round())  # numbers of images, to find one that is enough


@dataclass(frozen=True)
class Thin:
    """A question that a policy gates, with too few images to show that its limit is kept."""

    concept: str | None  # None: the whole task
    n: int
    limit: float
    provable: float  # the smallest limit that so many mostly show to be kept
    detectable: float  # the smallest drop that is mostly found; NaN: none is
    enough: int | None  # so many would do; None: no number would


def thin_questions(task: str, concepts: Sequence[str], counts: Sequence[int], policy: Policy) -> list[Thin]:
    """Name the task and the concepts of it that are gated with too few test images, before an audit.

    `counts` are the test images of each concept. A concept without any is left to others.
    """
    found: dict[str | None, Thin] = {}
    for row, limit in zip(*_planned(task, concepts, counts, policy), strict=True):
        shown = float(provable(row.n, CHURN, policy.confidence))
        if limit.gated and shown > limit.max_drop:
            known = found.get(row.concept)
            if known is None or limit.max_drop < known.limit:  # another probe may have a tighter one
                found[row.concept] = thin(row, limit.max_drop, shown, policy)
    return list(found.values())


def _planned(
    task: str, concepts: Sequence[str], counts: Sequence[int], policy: Policy
) -> tuple[list[Retention], list[Limit]]:
    """Return the questions an audit would put, without their answers, and the limit of each."""
    sizes = [(None, sum(counts)), *zip(concepts, counts, strict=True)]
    rows = [question(task, concept, n, probe) for concept, n in sizes for probe in _PROBES if n]
    return rows, limits_of(rows, policy)


def question(task: str, concept: str | None, n: int, probe: str) -> Retention:
    return Retention(
        checkpoint="",
        task=task,
        concept=concept,
        probe=probe,
        n=n,
        base=1.0,
        tuned=1.0,
        lost=0,
        gained=0,
        low=0.0,
        high=0.0,
        chance_p=0.0,
        identical=False,
        target=False,
        warnings=(),
    )


def thin(row: Retention, limit: float, shown: float, policy: Policy) -> Thin:
    return Thin(
        row.concept,
        row.n,
        limit,
        shown,
        smallest_drop(row.n, limit, policy),
        enough(limit, policy.confidence),
    )


def smallest_drop(n: int, limit: float, policy: Policy) -> float:
    """Return the smallest drop that so many images mostly find; NaN where none is."""
    return float(detectable(n, CHURN, limit, policy.level)[0])


def enough(limit: float, confidence: float) -> int | None:
    """Return about how many images mostly show that a limit is kept."""
    kept = provable(_SIZES, CHURN, confidence) <= limit
    return _rounded_up(int(_SIZES[int(kept.argmax())])) if kept.any() else None


def _rounded_up(number: int) -> int:
    """Return a number a person would say, not below this one."""
    unit = int(10 ** max(len(str(number)) - 2, 0))
    return -(-number // unit) * unit


def few_images(concepts: Sequence[str], counts: Sequence[int], fewest: int) -> Iterator[tuple[str, int]]:
    """Yield the concepts with some test images, but fewer than make evidence; the fewest first."""
    yield from sorted(
        ((name, n) for name, n in zip(concepts, counts, strict=True) if 0 < n < fewest),
        key=lambda pair: pair[1],
    )
