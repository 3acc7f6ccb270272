"""Do the labels belong to the images? What the base says of them, against other numberings. Pure.

A model that knows a task is right more often by its labels than by the same labels shifted by one, or with
the class names dealt out otherwise. Where another numbering fits clearly better, names or labels are wrong,
and every accuracy is of something else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forgetcheck.retention.answers import Audit, PairedPredictions
from forgetcheck.retention.statistics.paired import at_least

PROBE = "zero-shot"  # the only probe that asks by name: what learns from labels learns wrong ones too
_LEVEL = 1e-3  # of another numbering that fits better by chance
_TIMES = 1.5  # how often as many right answers another numbering must give
_FEWEST = 3  # classes that can be shifted
_MOST = 3000  # classes of which every pair is counted
_NAMED = 3  # classes that a remark names

Places = NDArray[np.int64]


@dataclass(frozen=True)
class _Fit:
    """The shares of the base's answers that are right by each numbering of the classes."""

    task: str
    n: int
    given: float
    shifted: tuple[float, float]  # as if every label were one too low, and one too high
    by_chance: float  # if labels were dealt out at random
    permuted: float  # by the numbering that fits best, on images that it was not chosen on
    doubt: str = ""  # what the labels look like instead

    @property
    def best_other(self) -> float:
        return max(*self.shifted, self.by_chance)


def fits_of(audit: Audit) -> list[_Fit]:
    """Try every zero-shot question that has names; questions of several checkpoints are asked of one base."""
    found: dict[str, _Fit] = {}
    for answers in audit.answers:
        if answers.probe == PROBE and answers.task not in found and len(answers.class_names) > 1:
            found[answers.task] = fit_of(answers)
    return list(found.values())


def fit_of(answers: PairedPredictions) -> _Fit:
    """Compare the labels of one question with other numberings of its classes."""
    said, labels = answers.base.label.astype(np.int64), answers.labels.astype(np.int64)
    count, n = len(answers.class_names), len(labels)
    chosen = np.arange(n) % 2 == 0  # a numbering is chosen on one half and tried on the other
    numbering = _best_numbering(said[chosen], labels[chosen], count)
    given, others = right(said, labels, ~chosen), right(numbering[said], labels, ~chosen)
    shares = tuple(float(np.mean(said == labels + step)) for step in (1, -1)) if n else (0.0, 0.0)
    fit = _Fit(
        answers.task,
        n,
        float(np.mean(said == labels)) if n else 0.0,
        (shares[0], shares[1]),
        by_chance(said, labels, count),
        float(others.mean()) if len(others) else 0.0,
    )
    return replace(fit, doubt=_doubt_of(fit, answers.class_names, said, labels, numbering, given, others))


def right(said: Places, labels: Places, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = said[where] == labels[where]
    return found


def _best_numbering(said: Places, labels: Places, count: int) -> Places:
    """Return the class that each answer stands for, one to one, so that most answers are right. (c,)"""
    if count > _MOST:
        return np.arange(count)
    pairs = np.bincount(said * count + labels, minlength=count * count).reshape(count, count).astype(float)
    if pairs.max(axis=1).sum() < _TIMES * max(np.trace(pairs), 1):
        return np.arange(count)  # no numbering can be clearly better
    from scipy.optimize import linear_sum_assignment  # slow to import, and hardly ever needed

    # of numberings that fit alike the one that moves fewest: what nobody said stays where it is
    pairs += 0.5 / (count + 1) * np.eye(count)
    return linear_sum_assignment(pairs, maximize=True)[1].astype(np.int64)


def by_chance(said: Places, labels: Places, count: int) -> float:
    """Return the share that would be right if the labels were dealt out anew among the images."""
    if not len(labels):
        return 0.0
    shares = (np.bincount(each, minlength=count)[:count] / len(labels) for each in (said, labels))
    return float(np.dot(*shares))


def _doubt_of(
    fit: _Fit,
    names: Sequence[str],
    said: Places,
    labels: Places,
    numbering: Places,
    given: NDArray[np.bool_],
    others: NDArray[np.bool_],
) -> str:
    """Say what the labels look like, where another numbering fits clearly better than theirs."""
    for step, share in zip((1, -1), fit.shifted, strict=True):
        if len(names) >= _FEWEST and _clearly_better(said == labels + step, said == labels):
            way = "low" if step > 0 else "high"
            return (
                f"the labels look shifted by one: {_percent(share)} of the base's answers are right if every "
                f"label is one too {way}, {_percent(fit.given)} as they are"
            )
    if _clearly_better(others, given):
        moved = np.flatnonzero(numbering != np.arange(len(names)))
        pairs = [f"'{names[numbering[place]]}' is what it calls '{names[place]}'" for place in moved[:_NAMED]]
        more = f" and {len(moved) - _NAMED:,} more" if len(moved) > _NAMED else ""
        return (
            f"class names look dealt to the wrong labels ({', '.join(pairs)}{more}): "
            f"{_percent(fit.permuted)} of the base's answers are right otherwise, "
            f"{_percent(float(given.mean()))} as they are"
        )
    return ""


def _clearly_better(others: NDArray[np.bool_], given: NDArray[np.bool_]) -> bool:
    """Test whether one numbering is right more often than another, by the images on which only one is."""
    more, less = int((others & ~given).sum()), int((given & ~others).sum())
    if others.sum() < _TIMES * max(given.sum(), 1) or more <= less:
        return False
    return bool(at_least(np.array([more]), np.array([more + less]), 0.5)[0] < _LEVEL)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def doubts(fits: Sequence[_Fit]) -> Iterator[str]:
    """Say what must be known before any verdict."""
    for fit in fits:
        if fit.doubt:
            yield f"{fit.task}: {fit.doubt}: check names and labels before you believe a verdict"


def sanity(fits: Sequence[_Fit]) -> str:
    """Say in a line whether the labels fit the images, for every zero-shot question; empty without any."""
    if not fits:
        return ""
    fine = [fit for fit in fits if fit.given > fit.best_other and not fit.doubt]
    odd = [fit.task for fit in fits if fit not in fine]
    of = f"{len(fine)} of {len(fits)}" if odd else f"all {len(fits)}" if len(fits) > 1 else "the only"
    some = ", ".join(odd[:_NAMED]) + (f" and {len(odd) - _NAMED} more" if len(odd) > _NAMED else "")
    return (
        f"labels: on {of} zero-shot task{'s' if len(fits) > 1 else ''} the base is right more often by the "
        f"labels as they are than shifted by one or dealt at random{f'; not on {some}' if odd else ''}"
    )
