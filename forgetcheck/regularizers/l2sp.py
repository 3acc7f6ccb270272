"""L2SP (arXiv:1802.01483): pull the weights to where they started."""

from dataclasses import dataclass

import torch
from torch import Tensor

from forgetcheck.catalog import NonNegative
from forgetcheck.clip.model.forward_pass import ForwardPass
from forgetcheck.regularizers.base import Regularizer


@dataclass(frozen=True)
class L2SP(Regularizer):
    """strength * ||theta - theta_0||^2 over the image tower, head free; no extra forward.

    As in arXiv:2308.13320: no factor 1/2, strength 0.5. AdamW's own decay is off for the tower, since
    it would pull to zero what the penalty pulls to the base.
    """

    strength: NonNegative = 0.5

    def weight_decay(self, asked: float) -> float:
        return 0.0

    def penalty(self, tuned: ForwardPass, base: ForwardPass) -> Tensor:  # ()
        moving = [name for name in tuned.weights if self.may_move(name)]
        distances = [(tuned.weights[name] - base.weights[name].detach()).square().sum() for name in moving]
        return self.strength * torch.stack(distances).sum()
