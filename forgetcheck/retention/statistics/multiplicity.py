"""Many questions at once: what a small p-value is worth when it was the smallest of many. Pure."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forgetcheck.retention.statistics.paired import Floats, at_least

_TIE = 1 + 1e-12  # two ways of computing one p-value may differ in the last digits


def step_down(
    p: ArrayLike, changed: ArrayLike, exact: ArrayLike, block: ArrayLike, least: ArrayLike = 0.0
) -> Floats:  # each (k,) -> (k,)
    """Adjust p-values so that any false claim among the k questions is as rare as one was before.

    Step-down minP (Westfall & Young 1993): the chance that, were nothing forgotten, the smallest of
    the remaining p-values came out as small. An `exact` question (McNemar, limit 0) with `changed`
    answers can only attain changed + 1 p-values, so a concept with three changed answers never gets
    in the way of the others: this is where the power over Holm comes from. Within a `block`, exact
    questions share no sample and their chances multiply; everything else is summed, which is valid
    under any dependence. Of a question that isn't exact but has a `least` p-value, nothing is added where
    that is out of reach (Tarone 1990). Without either this is Holm's procedure.
    """
    p, exact = np.asarray(p, dtype=np.float64), np.asarray(exact, dtype=np.bool_)
    changed, block = np.asarray(changed, dtype=np.int64), np.asarray(block)
    order = np.argsort(p, kind="stable")
    least = np.broadcast_to(np.asarray(least, dtype=np.float64), p.shape)[order]
    p, changed, exact, block = p[order], changed[order], exact[order], block[order]
    total = np.zeros_like(p)
    for value in np.unique(least[~exact]):
        total += np.where(p * _TIE >= value, p, 0.0) * _remaining(~exact & (least == value))
    tables = {int(m): _smaller_or_equal(int(m), p) for m in np.unique(changed[exact])}
    for name in np.unique(block[exact]):
        silent = np.zeros_like(p)  # log of the chance that none of this block comes out as small
        for m in np.unique(changed[exact & (block == name)]):
            here = exact & (block == name) & (changed == m)
            with np.errstate(divide="ignore", invalid="ignore"):
                silent += np.where(_remaining(here) > 0, _remaining(here) * np.log1p(-tables[int(m)]), 0.0)
        total -= np.expm1(silent)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(np.maximum(total, p)), 1.0)
    return adjusted


def _remaining(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the marked questions from each position on: those not yet rejected at that step. (k,)"""
    return np.asarray(np.cumsum(mask[::-1])[::-1])


def _smaller_or_equal(changed: int, p: Floats) -> Floats:
    """Return P(an exact p-value of `changed` answers is <= p) under "no drop": the largest attainable."""
    attainable = np.append(0.0, at_least(np.arange(changed, -1, -1), changed, 0.5))  # ascending
    return np.asarray(attainable[np.searchsorted(attainable, p * _TIE, side="right") - 1])


def holm(p: ArrayLike) -> Floats:
    """Adjust p-values (m,) for the smallest of many, under any dependence (Holm 1979)."""
    p = np.asarray(p, dtype=np.float64)
    return step_down(p, np.zeros(p.shape), np.zeros(p.shape, dtype=np.bool_), np.zeros(p.shape))


def false_discovery(p: ArrayLike) -> Floats:
    """Adjust p-values (m,) so that of the claims made at q, at most a share q is false on average.

    Benjamini & Hochberg 1995: for long tables that are read for leads, not for a gate.
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
