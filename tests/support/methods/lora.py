"""LoRA (arXiv:2106.09685): low-rank updates of the image tower's linear layers, merged at the end."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize

from forgetcheck.regularizers.base import Regularizer

ADDED = ".parametrizations.weight."


class LowRank(nn.Module):
    def __init__(self, shape, rank, generator):
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, shape[1], generator=generator) / rank)
        self.up = nn.Parameter(torch.zeros(shape[0], rank))

    def forward(self, weight):
        return weight + self.up @ self.down


@dataclass(frozen=True)
class LoRA(Regularizer):
    rank: int = 4

    def prepare(self, learner, task):
        generator = torch.Generator().manual_seed(0)
        for name, layer in list(learner.encoder.model.visual.named_modules()):
            if isinstance(layer, nn.Linear) and "mlp" in name:
                parts = LowRank(layer.weight.shape, self.rank, generator)
                parametrize.register_parametrization(layer, "weight", parts)
        return learner

    def trains(self, name):
        return name == "head" or name.endswith((".up", ".down"))

    def finish(self, base, tuned):
        merged = {name: tuned[name] for name in base if name in tuned}
        for name in base.keys() - tuned.keys():
            stem = name.removesuffix(".weight") + ADDED
            merged[name] = tuned[f"{stem}original"] + tuned[f"{stem}0.up"] @ tuned[f"{stem}0.down"]
        return merged
