"""ForwardPass: one model on one batch; each view is computed when first asked for, and once."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.heads import Head


class ForwardPass:
    """What one model makes of one batch of images.

    A method that never asks for a view costs nothing; embedding and layers share one forward.
    """

    def __init__(
        self, encoder: Encoder, images: Tensor, depths: Sequence[int], head: Head, frozen: bool
    ) -> None:
        self.encoder = encoder
        self.images = images  # (n, 3, h, w)
        self.depths = tuple(depths)
        self.head = head
        self.frozen = frozen

    @cached_property
    def seen(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        with torch.set_grad_enabled(not self.frozen):
            if self.depths:
                return self.encoder.see_through(self.images, self.depths)
            return self.encoder.see(self.images), ()

    @property
    def embedding(self) -> Tensor:
        """L2-normalised image embeddings (n, d)."""
        return self.seen[0]

    @property
    def layers(self) -> tuple[Tensor, ...]:
        """What passes between the blocks at `depths`, each (n, t, width)."""
        return self.seen[1]

    @cached_property
    def logits(self) -> Tensor:
        """The head's logits (n, c)."""
        with torch.set_grad_enabled(not self.frozen):
            logits: Tensor = self.head(self.embedding)
            return logits

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The live weights under open_clip's names; costs no forward."""
        return self.encoder.weights
