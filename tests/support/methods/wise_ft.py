"""WiSE-FT (arXiv:2109.01903): average the weights of base and tuned, head included."""

from dataclasses import dataclass

import torch

from forgetcheck.regularizers.base import Regularizer


@dataclass(frozen=True)
class WiSEFT(Regularizer):
    alpha: float = 0.5

    def finish(self, base, tuned):
        return {name: torch.lerp(base[name], tuned[name], self.alpha) for name in base}
