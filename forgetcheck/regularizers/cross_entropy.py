"""Cross-entropy alone: nothing holds the model near the base. The baseline that forgets."""

from dataclasses import dataclass

from forgetcheck.regularizers.base import Regularizer


@dataclass(frozen=True)
class CrossEntropy(Regularizer):
    """Naive fine-tuning of the image tower and a zero-shot initialised head."""
