"""LDIFS (arXiv:2308.13320): keep the features of the new task's images where the base has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from forgetcheck.catalog import NonNegative, SmallCount
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.view import Pair
from forgetcheck.regularizers.base import NEW, Memory, Regularizer


@dataclass(frozen=True)
class LDIFS(Regularizer):
    """strength * squared distance between tuned and base features, averaged over depths and batch.

    `per-token` (default) compares directions: every token and the final embedding is scaled to unit
    length over its channels, so a strength means the same for any image size and tower.
    `as-published` is what the authors' code computes: no final embedding, channels scaled to unit
    length over the tokens, and means in place of sums, which makes the value about t times smaller
    (t tokens); the paper's strength for it is 10. docs/methods.md tells the two apart.
    Costs one frozen forward per step; the tuned model's single forward serves loss and penalty.
    """

    strength: NonNegative = 2.0
    distance: Literal["per-token", "as-published"] = "per-token"
    slices: SmallCount = 5  # depths compared, evenly from the first block's input to the last one's output

    def depths(self, encoder: Encoder) -> tuple[int, ...]:
        steps = max(self.slices - 1, 1)
        return tuple(sorted({round(encoder.blocks * k / steps) for k in range(self.slices)}))

    def penalty(self, on: Mapping[str, Pair], memory: Memory) -> Tensor:  # ()
        tuned, base = on[NEW].tuned, on[NEW].base
        depths = self.depths(base.learner.encoder)  # not all that are there: others may look deeper
        pairs = [(tuned.layers[depth], base.layers[depth]) for depth in depths]
        if self.distance == "as-published":
            distances = [published_distance(here, there) for here, there in pairs]
        else:
            distances = [token_distance(here, there) for here, there in pairs]
            distances.append(token_distance(tuned.embedding[:, None], base.embedding[:, None]))
        return self.strength * torch.stack(distances).mean()


def token_distance(tuned: Tensor, base: Tensor) -> Tensor:
    """Mean over batch and tokens of the squared distance of unit tokens; (n, t, d) -> (), in [0, 4]."""
    apart = F.normalize(tuned, dim=2) - F.normalize(base, dim=2)
    return apart.square().sum(dim=2).mean()


def published_distance(tuned: Tensor, base: Tensor) -> Tensor:
    """The authors' code: unit norm over dimension 1, which holds tokens here; (n, t, d) -> ()."""
    apart: Tensor = _over_tokens(tuned) - _over_tokens(base)
    return apart.square().mean()


def _over_tokens(features: Tensor) -> Tensor:
    scaled: Tensor = features / (features.norm(dim=1, keepdim=True) + 1e-10)
    return scaled
