"""What variants of a question tell: of prompt templates, and of a probe's training images. Pure."""

import numpy as np
from numpy.typing import NDArray

from forgetcheck.retention.answers import PairedPredictions

_Floats = NDArray[np.float64]
_ROUNDING = 1e-3  # of a variance of counts: float32 leaves less
_FEWEST = 4  # variants, below which they tell no variance


def template_counts(answers: PairedPredictions) -> NDArray[np.int32] | None:  # (1 + c, t, 2)
    """Return lost and gained answers of the task and of each class by every template alone; None: unknown."""
    pair = _pair(answers, "template")
    if pair is None:
        return None
    classes = _Classes(answers)
    base, tuned = (classes.sorted(right) for right in pair)
    lost, gained = (classes.sums(x).astype(np.int32) for x in (base & ~tuned, ~base & tuned))
    return np.stack([lost, gained], axis=2)


def training_variance(answers: PairedPredictions) -> _Floats | None:  # (1 + c, 3)
    """Return what a probe's training images bring to the variance of sums over test images; None: unknown.

    Of lost - gained, of the tuned model's right answers, and of lost answers beyond their share of the base's
    right ones; for the task and each class. From probes that were trained without a share f of their images:
    the delete-d jackknife, (1 - f) / f times the variance over them (Shao & Wu 1989, Ann. Stat. 17,
    1176-1197); and from the settings that resampled training images would have chosen, by the bootstrap.
    Each probe also changes its mind on single test images, which says nothing of the others and is part of
    what the test images vary by themselves; so only what two images do together counts.
    """
    pair = _pair(answers, "train")
    if pair is None:
        return None
    base, tuned = answers.base.variants, answers.tuned.variants
    assert base is not None
    assert tuned is not None
    classes = _Classes(answers)
    found = (1 - base.left_out) / base.left_out * _of_sums(*pair, np.ones(len(pair[0])), classes)
    n = len(answers.labels)
    settings = base.right_by_setting(n), tuned.right_by_setting(n)
    if settings[0] is None or settings[1] is None:
        return found
    assert base.chosen is not None
    assert tuned.chosen is not None
    choices, times = np.unique(np.stack([base.chosen, tuned.chosen]), axis=1, return_counts=True)
    return found + _of_sums(settings[0][choices[0]], settings[1][choices[1]], times.astype(float), classes)


def _pair(answers: PairedPredictions, of: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Return both models' right answers by variant (v, n), where both have the same variants."""
    base, tuned = answers.base.variants, answers.tuned.variants
    if base is None or tuned is None or (base.of, tuned.of) != (of, of):
        return None
    if base.bits.shape != tuned.bits.shape or base.left_out != tuned.left_out:
        return None
    if [None if v.chosen is None else len(v.chosen) for v in (base, tuned)].count(None) == 1:
        return None
    if base.chosen is not None and tuned.chosen is not None and len(base.chosen) != len(tuned.chosen):
        return None
    if len(base.bits) < (_FEWEST if of == "train" else 2):
        return None
    n = len(answers.labels)
    return base.right(n), tuned.right(n)


class _Classes:
    """The samples of a question in the order of their classes."""

    def __init__(self, answers: PairedPredictions) -> None:
        self.order = np.argsort(answers.labels, kind="stable")
        self.held, self.starts = np.unique(answers.labels[self.order], return_index=True)
        self.n = np.bincount(answers.labels, minlength=len(answers.class_names))

    def sorted(self, right: NDArray[np.bool_]) -> NDArray[np.bool_]:  # (v, n)
        return right[:, self.order]

    def sums(self, values: NDArray[np.generic]) -> _Floats:  # (v, n), sorted -> (1 + c, v)
        """Sum over all samples, and over those of each class."""
        found = np.zeros((1 + len(self.n), len(values)))
        kind = np.int32 if values.dtype.kind in "bi" else np.float64
        found[1 + self.held] = np.add.reduceat(values, self.starts, axis=1, dtype=kind).T
        found[0] = found[1:].sum(axis=0)
        return found

    def together(
        self, sums: _Floats, own: _Floats, times: _Floats
    ) -> _Floats:  # (1 + c, v), (n,), (v,) -> (1 + c,)
        """Return the variance of sums over variants that comes of pairs of samples, scaled to all pairs.

        `own` are the variances of single samples; a variant stands for as many `times`.
        """
        share = times / times.sum()
        spread = (sums**2) @ share - (sums @ share) ** 2
        n = np.concatenate([[self.n.sum()], self.n])
        pairs = spread - self.sums(own[None])[:, 0]
        pairs = np.where(pairs > _ROUNDING, pairs, 0.0)
        return np.asarray(pairs * n / np.maximum(n - 1, 1))


def _of_sums(
    base: NDArray[np.bool_], tuned: NDArray[np.bool_], times: _Floats, classes: _Classes
) -> _Floats:  # (v, n), (v, n), (v,) -> (1 + c, 3)
    base, tuned = classes.sorted(base), classes.sorted(tuned)
    lost = base & ~tuned
    of_base, of_tuned, of_lost = (classes.sums(x) for x in (base, tuned, lost))
    share = (times / times.sum()).astype(np.float32)
    flips = float(of_lost[0] @ times / max(float(of_base[0] @ times), 1.0))
    # means over variants of what each sample does, (n,): right by the base, by the tuned model, by both
    b, t, both = (share @ x.astype(np.float32) for x in (base, tuned, base & tuned))
    lose = b - both  # lost by a sample, and lost where the base is right: the same
    moved = b + t - 2 * both - (b - t) ** 2
    beyond = lose - 2 * flips * lose + flips**2 * b - (lose - flips * b) ** 2
    return np.stack(
        [
            classes.together(of_base - of_tuned, moved, times),
            classes.together(of_tuned, t - t**2, times),
            classes.together(of_lost - flips * of_base, beyond, times),
        ],
        axis=1,
    )
