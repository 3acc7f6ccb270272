"""What samples are worth that come in clusters (of a patient), or that a trained probe answers. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Floats = NDArray[np.float64]
IMAGINED = 1.0  # answers, beside those seen, whose cluster moved as one: few of them don't tell how they come


@dataclass(frozen=True)
class Spread:
    """Sums over the samples of a row, each with a value x, and over its clusters. Numbers, or arrays (m,)."""

    n: ArrayLike  # samples
    total: ArrayLike  # sum of x
    squares: ArrayLike  # sum of x²
    sizes: ArrayLike  # sum over clusters of size²
    products: ArrayLike  # of size times the cluster's total
    clustered: ArrayLike  # of the cluster's total²
    training: ArrayLike = 0.0  # variance of the total that the training images of the probe bring

    @property
    def opposite(self) -> "Spread":
        """The same of 1 - x."""
        n, total, squares, sizes, products, clustered, training = self.columns
        return Spread(
            n,
            n - total,
            n - 2 * total + squares,
            sizes,
            sizes - products,
            sizes - 2 * products + clustered,
            training,
        )

    @property
    def columns(self) -> tuple[_Floats, ...]:
        names = ("n", "total", "squares", "sizes", "products", "clustered", "training")
        return tuple(np.asarray(getattr(self, name), dtype=np.float64) for name in names)


@dataclass(frozen=True)
class Clustering:
    """How the answers of one row vary together: over clusters of samples, and with a probe's training set."""

    number: int | None  # of clusters; as many as samples where they lie across concepts; None: no clusters
    changed: Spread  # x: 1 where the answer was lost, -1 where it was gained
    tuned: Spread  # x: 1 where the tuned model is right
    lost: Spread  # over the samples that the base has right; x: 1 where the answer was lost


def design_effect(spread: Spread, mean: ArrayLike) -> _Floats:
    """Return how many clustered samples tell as much as one independent, if the true mean of x is `mean`.

    The variance of the sum of x - mean over clusters, by that over samples (Rao & Scott 1992, Biometrics
    48, 577-585), never below 1. Taken at the mean that a test supposes it makes the test a generalized score
    test (Boos 1992, Am. Stat. 46, 327-333), which keeps its level with few clusters: what the samples say
    against `mean` counts as variance of the clusters as well. Where nothing is seen to change it is that of
    clusters that move as one; `IMAGINED` answers that do keep a single change from denying it. What the
    training images of a probe bring to the variance adds to that of the samples.
    """
    n, total, squares, sizes, products, clustered, training = spread.columns
    mean = np.asarray(mean, dtype=np.float64)
    as_one = sizes / np.maximum(n, 1)
    by_cluster = clustered + IMAGINED * as_one - 2 * mean * products + mean**2 * sizes
    by_sample = squares + IMAGINED - 2 * mean * total + mean**2 * n
    return np.asarray(np.maximum(by_cluster / by_sample, 1.0) + training / by_sample)


def design_effect_of(spread: Spread, mean: float) -> float:
    """Return the same of one row, of plain numbers: an audit asks thousands of times."""
    n, total, squares, sizes, products, clustered, training = map(float, vars(spread).values())
    as_one = sizes / max(n, 1.0)
    by_cluster = clustered + IMAGINED * as_one - 2 * mean * products + mean**2 * sizes
    by_sample = squares + IMAGINED - 2 * mean * total + mean**2 * n
    return max(by_cluster / by_sample, 1.0) + training / by_sample


@dataclass(frozen=True)
class Sums:
    """Sums over the clusters of many rows: the whole task first, then each class. Arrays (m,), (m, v)."""

    number: NDArray[np.int64]
    sizes: NDArray[np.int64]  # of size²
    products: NDArray[np.int64]  # of size times the cluster's total, of each of v values
    clustered: NDArray[np.int64]  # of the cluster's total²

    def spread(
        self, value: int, n: ArrayLike, total: ArrayLike, squares: ArrayLike, training: ArrayLike = 0.0
    ) -> Spread:
        sums = self.sizes, self.products[:, value], self.clustered[:, value]
        return Spread(n, total, squares, *sums, training)


def cluster_sums(
    groups: NDArray[np.int32], labels: NDArray[np.int32], classes: int, values: NDArray[np.int64]
) -> Sums:  # (n,), (n,), c, (n, v) -> 1 + c rows
    """Sum over the clusters of the task, and over what each class holds of them."""
    numbers = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    count = int(numbers.max()) + 1
    task = _over_clusters(numbers, values)
    held, cells = np.unique(labels.astype(np.int64) * count + numbers, return_inverse=True)
    per_class = [
        np.stack([np.bincount(held // count, column, classes) for column in part.T], axis=1)
        for part in _over_clusters(cells, values)
    ]
    rows = [
        np.concatenate([whole.sum(axis=0, keepdims=True), parts]).round().astype(np.int64)
        for whole, parts in zip(task, per_class, strict=True)
    ]
    once, products, clustered = rows
    return Sums(once[:, 0], once[:, 1], products, clustered)


def _over_clusters(numbers: NDArray[np.int64], values: NDArray[np.int64]) -> tuple[_Floats, _Floats, _Floats]:
    """Return per cluster (1, size²) (k, 2), size times each total (k, v) and each total² (k, v)."""
    size = np.bincount(numbers).astype(np.float64)
    totals: _Floats = np.stack([np.bincount(numbers, column) for column in values.T], axis=1)
    once = np.stack([np.ones(len(size)), size**2], axis=1)
    return once, size[:, None] * totals, totals**2


def alone(n: NDArray[np.int64], total: NDArray[np.int64], squares: NDArray[np.int64]) -> Sums:  # (m, v) sums
    """Return the sums of rows whose every sample is its own cluster."""
    return Sums(n, n, total, squares)
