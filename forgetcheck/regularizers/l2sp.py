"""L2SP (arXiv:1802.01483): pull the weights to where they started."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from forgetcheck.catalog import NonNegative
from forgetcheck.clip.model.towers import VISUAL
from forgetcheck.clip.model.view import Pair
from forgetcheck.regularizers.base import NEW, Memory, Regularizer


@dataclass(frozen=True)
class L2SP(Regularizer):
    """strength * ||theta - theta_0||^2 over the image tower, head free; no extra forward.

    As in arXiv:2308.13320: no factor 1/2, strength 0.5. AdamW's own decay is off for the tower, since
    it would pull to zero what the penalty pulls to the base.
    """

    strength: NonNegative = 0.5

    def decays(self, name: str) -> bool | None:
        return False if name.startswith(VISUAL) else None

    def penalty(self, on: Mapping[str, Pair], memory: Memory) -> Tensor:  # ()
        tuned, base = on[NEW].tuned.weights, on[NEW].base.weights
        tower = [name for name in tuned if name.startswith(VISUAL)]
        distances = [(tuned[name] - base[name].detach()).square().sum() for name in tower]
        return self.strength * torch.stack(distances).sum()
