"""EWC (arXiv:1612.00796): pull each weight back as hard as base data says it matters (diagonal Fisher)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from forgetcheck.regularizers.base import NEW, Regularizer


@dataclass(frozen=True)
class EWC(Regularizer):
    strength: float = 100.0

    def remember(self, base, data, before):
        names = [n for n, _ in base.encoder.model.named_parameters() if n.startswith("visual.")]
        weights = [base.encoder.weights[name] for name in names]
        fisher = {
            f"ewc.{name}": torch.zeros_like(weight) for name, weight in zip(names, weights, strict=True)
        }
        for batch in data[NEW]:
            loss = F.cross_entropy(base.head(base.encoder.see(batch.images)), batch.labels)
            for name, slope in zip(names, torch.autograd.grad(loss, weights), strict=True):
                fisher[f"ewc.{name}"] += slope.square()
        return {**before, **fisher}

    def penalty(self, on, memory):
        now, then = on[NEW].tuned.weights, on[NEW].base.weights
        apart = {n: (now[n] - then[n].detach()).square() for n in now if f"ewc.{n}" in memory}
        return self.strength * torch.stack([(memory[f"ewc.{n}"] * apart[n]).sum() for n in apart]).sum()
