"""Pull the embedding of every training image to where the base has it."""

from dataclasses import dataclass

from torch import Tensor

from forgetcheck import Regularizer
from forgetcheck.catalog import NonNegative
from forgetcheck.clip.model.forward_pass import ForwardPass


@dataclass(frozen=True)
class EmbeddingDistance(Regularizer):
    """strength * squared distance between the tuned and the base embedding, averaged over the batch."""

    strength: NonNegative = 1.0

    def penalty(self, tuned: ForwardPass, base: ForwardPass) -> Tensor:  # ()
        apart = tuned.embedding - base.embedding  # (n, d)
        return self.strength * apart.square().sum(dim=1).mean()
