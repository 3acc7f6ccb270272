"""A straight axis: from values to places in a picture, with round ticks. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0)  # between ticks, of fractions


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` drawn from `start` to `end`, in pixels; what lies beyond is on the edge."""

    low: float
    high: float
    start: float
    end: float
    step: float

    def at(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return round(self.start + (inside - self.low) / (self.high - self.low) * (self.end - self.start), 1)

    @property
    def ticks(self) -> tuple[float, ...]:
        first, last = math.ceil(self.low / self.step - 1e-9), math.floor(self.high / self.step + 1e-9)
        return tuple(round(number * self.step, 6) + 0.0 for number in range(first, last + 1))


def axis_over(
    values: Iterable[float], start: float, end: float, ticks: int, bounds: tuple[float, float]
) -> Axis:
    """Return the axis that holds all values, its ends on ticks and within `bounds`."""
    inside = [min(max(value, bounds[0]), bounds[1]) for value in values if math.isfinite(value)]
    low, high = min(inside, default=bounds[0]), max(inside, default=bounds[1])
    step = next((step for step in _STEPS if (high - low) / step <= ticks), _STEPS[-1])
    low = max(math.floor(low / step + 1e-9) * step, bounds[0])
    high = min(math.ceil(high / step - 1e-9) * step, bounds[1])
    if high <= low:
        low, high = (low - step, low) if low - step >= bounds[0] else (low, low + step)
    return Axis(round(low, 6), round(high, 6), start, end, step)
