"""Multinomial logistic regression on embeddings: convex, full batch, deterministic.

A table (c, d + 1) holds the weights of c classes and, last, their biases. What is minimised is always
mean cross-entropy + strength / 2 * ||weights||^2: scikit-learn's objective with C = 1 / (n * strength).
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

GRADIENT_TOLERANCE = 1e-5  # of the mean loss, largest entry: where a fit has converged
_LOSS_TOLERANCE = 1e-6  # of the mean loss, nats, as estimated: where a fit that is only compared may end
MAX_ITERATIONS = 1_000  # in each precision
_MEMORY = 5  # steps that a direction learns from
_TRIALS = 40  # steps that are tried along one direction
FLAT, STEEP = 0.5, 0.9  # a step may end where the slope rises, or still falls, by these shares of its start
SAMPLED = 8  # rows per dimension: enough to know how embeddings are spread
BLOCK = 2**22  # entries of a table of classes and rows that are held at once: bounds the memory


@dataclass(frozen=True)
class Fit:
    """A multinomial logistic regression and how it was reached."""

    weight: Tensor  # (c, d) float64
    bias: Tensor  # (c,) float64
    strength: float
    gradient: float  # largest entry of the gradient at the solution
    iterations: int
    converged: bool

    @property
    def table(self) -> Tensor:
        """Weights and biases as one (c, d + 1), float32."""
        return torch.cat([self.weight, self.bias[:, None]], dim=1).float()

    def logits(self, features: Tensor) -> Tensor:  # (n, d) -> (n, c)
        return features.double() @ self.weight.T + self.bias


@dataclass(frozen=True)
class TrainingData:
    """Labelled embeddings, and how they are spread."""

    rows: Tensor  # (n, d + 1) float32, the last column is one and carries the bias
    labels: Tensor  # (n,)
    classes: int
    spread: Tensor  # (d + 1,) mean squares of the rows along each axis, float32
    axes: Tensor  # (d + 1, d + 1) orthonormal columns, float32

    def part(self, chosen: Tensor) -> "TrainingData":
        """Keep the rows where `chosen` (n,) is true; how they are spread is taken from all."""
        return replace(self, rows=self.rows[chosen], labels=self.labels[chosen])

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield rows and labels in blocks whose table of classes is no larger than `BLOCK`."""
        size = max(1, BLOCK // self.classes)
        return zip(self.rows.split(size), self.labels.split(size), strict=True)


@dataclass(frozen=True)
class Step:
    """What a step taught about the curvature."""

    moved: Tensor  # (c, d + 1) change of the table
    turned: Tensor  # (c, d + 1) change of the gradient

    @cached_property
    def product(self) -> float:
        """Of the two. Positive where the objective is convex, but for rounding."""
        return (self.moved * self.turned).sum().item()


def prepare(features: Tensor, labels: Tensor, classes: int) -> TrainingData:
    """Find the axes along which embeddings (n, d) with labels (n,) are spread, from evenly taken rows."""
    rows = torch.cat([features.float(), torch.ones(len(features), 1)], dim=1)
    sample = _evenly(rows)
    spread, axes = torch.linalg.eigh(sample.T @ sample / len(sample))
    return TrainingData(rows, labels, classes, spread.clamp(min=0), axes)


def _evenly(rows: Tensor) -> Tensor:
    """Take at most twice `SAMPLED` rows per dimension, in even steps."""
    return rows[:: max(1, len(rows) // (SAMPLED * rows.shape[1]))]


def fit_logistic(data: TrainingData, strength: float, start: Tensor | None = None) -> Fit:
    """Minimise the objective to a gradient tolerance, from `start` (c, d + 1) or zero.

    float32 goes most of the way, float64 the rest, so that the answer and its gradient are those of
    float64. The same lesson and start give the same bits, whatever the seed.
    """
    near, _, before = _descend(data, strength, zeros(data) if start is None else start.float(), 0.0)
    table, gradient, after = _descend(data, strength, near.double(), 0.0)
    largest = gradient.abs().max().item()
    return Fit(
        weight=table[:, :-1].clone(),
        bias=table[:, -1].clone(),
        strength=strength,
        gradient=largest,
        iterations=before + after,
        converged=largest <= GRADIENT_TOLERANCE,
    )


def fit_path(data: TrainingData, strengths: Sequence[float]) -> list[Tensor]:
    """Return a table (c, d + 1) for each strength; each starts where the one before it ended.

    So strong to weak is the cheap order.
    """
    tables = [zeros(data)]
    for strength in strengths:
        tables.append(fit_nearly(data, strength, tables[-1]))
    return tables[1:]


def fit_nearly(data: TrainingData, strength: float, start: Tensor) -> Tensor:
    """Return a table (c, d + 1) that is good enough to compare it with others: float32, LOSS_TOLERANCE.

    The estimate is low where the strength is: at 1e-6 with few images, 2e-4 nats can be left.
    GRADIENT_TOLERANCE alone would leave as much.
    """
    return _descend(data, strength, start, _LOSS_TOLERANCE)[0]


def accuracy(data: TrainingData, table: Tensor) -> float:
    """Return the share of rows whose label a table makes the most probable."""
    right = sum(
        int((probabilities(rows, table).argmax(dim=0) == labels).sum()) for rows, labels in data.blocks()
    )
    return right / len(data.labels)


def zeros(data: TrainingData) -> Tensor:
    return torch.zeros(data.classes, data.rows.shape[1])


def _descend(data: TrainingData, strength: float, table: Tensor, enough: float) -> tuple[Tensor, Tensor, int]:
    """Go from `table` towards the minimum, in its precision; return table, gradient and number of steps.

    L-BFGS, whose first guess of the curvature is close (see `_precondition`), so that few passes over the
    rows do. Ends where the gradient is within its tolerance, or where the loss, as the curvature has it,
    is within `enough` of its minimum.
    """
    penalty = torch.full_like(table[0], strength)
    penalty[-1] = 0  # the bias is free
    chances = probabilities(_evenly(data.rows), table)
    variance = (chances * (1 - chances)).mean(dim=1, keepdim=True)
    invert = _precondition(data, variance, strength)
    gradient = _gradient_of(data, table, penalty)
    steps: deque[Step] = deque(maxlen=_MEMORY)
    taken = 0
    while gradient.abs().max() > GRADIENT_TOLERANCE and taken < MAX_ITERATIONS:
        way = -_lbfgs_direction(gradient, steps, invert)
        left = -(gradient * way).sum().item() / 2  # of the loss: exact where it is quadratic
        if left <= enough:
            break
        found = line_search(lambda place: _gradient_of(data, place, penalty), table, way, -2 * left)
        if found is None:
            break
        step = Step(found[0] - table, found[1] - gradient)
        if step.product <= 0:  # nothing but rounding is left
            break
        if taken == 0:
            invert = _precondition(data, variance * curvature_ratio(step, invert), strength)
        steps.append(step)
        table, gradient = found
        taken += 1
    return table, gradient, taken


def _precondition(data: TrainingData, variance: Tensor, strength: float) -> Callable[[Tensor], Tensor]:
    """Return a product with a first guess of the inverse Hessian: (c, d + 1) -> (c, d + 1).

    A class's part of the Hessian is taken for variance * mean outer product of the rows + strength. That is
    Böhning's bound (1992, Annals of the Institute of Statistical Mathematics 44, 197-200), with `variance`
    (c, 1), the class's mean of p * (1 - p), where the bound has 1/2.
    """
    axes = data.axes.to(variance.dtype)
    scale = variance * data.spread.to(variance.dtype) + strength
    return lambda given: (given @ axes / scale) @ axes.T


def curvature_ratio(step: Step, invert: Callable[[Tensor], Tensor]) -> float:
    """Return how many times as curved a step was as the guess said, at least 1.

    A start that other rows have led to is far off on few rows, which are more curved than the mean. The ratio
    is that of Nocedal and Wright (2006, equation 7.20).
    """
    return max(1.0, (step.turned * invert(step.turned)).sum().item() / step.product)


def probabilities(rows: Tensor, table: Tensor) -> Tensor:  # (n, d + 1), (c, d + 1) -> (c, n)
    """Return how probable each class is for each row."""
    return (table @ rows.to(table.dtype).T).softmax(dim=0)


def _gradient_of(data: TrainingData, table: Tensor, penalty: Tensor) -> Tensor:
    """Return the gradient (c, d + 1) of the objective."""
    total = torch.zeros_like(table)
    for rows, labels in data.blocks():
        excess = probabilities(rows, table)
        excess[labels, torch.arange(len(labels))] -= 1
        total += excess @ rows.to(table.dtype)
    return total / len(data.rows) + penalty * table


def _lbfgs_direction(gradient: Tensor, steps: Sequence[Step], invert: Callable[[Tensor], Tensor]) -> Tensor:
    """Multiply by the inverse Hessian that the last steps suggest (Nocedal and Wright, algorithm 7.4)."""
    left, shares = gradient, []
    for step in reversed(steps):
        shares.append((step.moved * left).sum() / step.product)
        left = left - shares[-1] * step.turned
    found = invert(left)
    for step, share in zip(steps, reversed(shares), strict=True):
        found = found + (share - (step.turned * found).sum() / step.product) * step.moved
    return found


def line_search(
    slope_at: Callable[[Tensor], Tensor], table: Tensor, way: Tensor, falling: float
) -> tuple[Tensor, Tensor] | None:
    """Walk from `table` along `way`, which falls by `falling` at first, until it is flat.

    Return the place and its gradient; None if the slope is lost in rounding. The objective is convex, so the
    sign of the slope says on which side the lowest point lies: no loss is needed, whose last digits are
    rounding.
    """
    near, far, length = 0.0, float("inf"), 1.0
    for _ in range(_TRIALS):
        place = table + length * way
        gradient = slope_at(place)
        found = (gradient * way).sum().item()
        if found > -FLAT * falling:
            far = length
        elif found < STEEP * falling:
            near = length
        else:
            return place, gradient
        length = 2 * near if far == float("inf") else (near + far) / 2
    return None
