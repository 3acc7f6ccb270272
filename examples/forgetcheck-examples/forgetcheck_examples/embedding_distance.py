"""Pull the embedding of every training image to where the base has it."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from forgetcheck import Regularizer
from forgetcheck.catalog import NonNegative
from forgetcheck.clip.model.view import Pair
from forgetcheck.regularizers.base import NEW, Memory


@dataclass(frozen=True)
class EmbeddingDistance(Regularizer):
    """strength * squared distance between the tuned and the base embedding, averaged over the batch."""

    strength: NonNegative = 1.0

    def penalty(self, on: Mapping[str, Pair], memory: Memory) -> Tensor:  # ()
        apart = on[NEW].tuned.embedding - on[NEW].base.embedding  # (n, d)
        return self.strength * apart.square().sum(dim=1).mean()
