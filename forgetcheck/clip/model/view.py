"""View: one model on one batch; each view is computed when first asked for, and once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.heads import Head

Weights = Mapping[str, Tensor]  # a whole CLIP under open_clip's names, and the head under HEAD_NAME
HEAD_NAME = "head"


@dataclass(frozen=True)
class Batch:
    """Some samples of a task."""

    images: Tensor  # (n, 3, h, w)
    labels: Tensor  # (n,)
    texts: tuple[str, ...] = ()  # (n,) a prompt for each image
    ids: tuple[str, ...] = ()  # (n,) names of the samples, for messages


@dataclass(frozen=True)
class Learner:
    """Both towers and a head. Of the tuned one, only the optimiser changes the weights."""

    encoder: Encoder
    head: Head

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return what could be trained, by name: open_clip's names, then the head's."""
        towers = dict(self.encoder.model.named_parameters())
        return {**towers, **{_head_name(name): weight for name, weight in self.head.named_parameters()}}

    def state(self) -> dict[str, Tensor]:
        """Return the live tensors that `load` puts back, with those that a method added."""
        head = self.head.state_dict()
        return {**self.encoder.model.state_dict(), **{_head_name(name): head[name] for name in head}}

    def load(self, state: Weights) -> None:
        """Put back what `state` returned."""
        head = {name: state[_head_name(name)] for name in self.head.state_dict()}
        known = {_head_name(name) for name in head}
        self.head.load_state_dict(head)
        self.encoder.model.load_state_dict({name: state[name] for name in state if name not in known})

    def weights(self) -> Weights:
        """Return towers and head as they are now, without gradient; the live tensors, not copies."""
        with torch.no_grad():
            return {**self.encoder.model.state_dict(), HEAD_NAME: self.head.weight.detach()}

    def twin(self) -> "Learner":
        """Return an independent copy, weights included."""
        return Learner(self.encoder.twin(), Head(self.head.weight))


class View:
    """What one model makes of one batch of images and texts.

    A method that never asks for a view costs nothing; embedding and layers share one forward.
    """

    def __init__(
        self, learner: Learner, batch: Batch, depths: Sequence[int] = (), frozen: bool = False
    ) -> None:
        self.learner = learner
        self.batch = batch
        self.depths = tuple(depths)
        self.frozen = frozen

    @cached_property
    def seen(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        with torch.set_grad_enabled(not self.frozen):
            if self.depths:
                return self.learner.encoder.see_through(self.batch.images, self.depths)
            return self.learner.encoder.see(self.batch.images), ()

    @property
    def embedding(self) -> Tensor:
        """L2-normalised image embeddings (n, d)."""
        return self.seen[0]

    @property
    def layers(self) -> dict[int, Tensor]:
        """What passes between the blocks, by depth, each (n, t, width)."""
        return dict(zip(self.depths, self.seen[1], strict=True))

    @cached_property
    def text(self) -> Tensor:
        """L2-normalised embeddings of the batch's texts (n, d)."""
        with torch.set_grad_enabled(not self.frozen):
            return self.learner.encoder.read(self.batch.texts)

    @cached_property
    def logits(self) -> Tensor:
        """The head's logits (n, c)."""
        with torch.set_grad_enabled(not self.frozen):
            logits: Tensor = self.learner.head(self.embedding)
            return logits

    @cached_property
    def scale(self) -> Tensor:
        """What cosines are multiplied by to become logits, (); it can be trained as well."""
        with torch.set_grad_enabled(not self.frozen):
            return self.learner.encoder.logit_scale.exp()

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The live weights of the towers under open_clip's names; costs no forward."""
        return self.learner.encoder.weights


@dataclass(frozen=True)
class Pair:
    """The tuned model and its frozen base on the same batch of one stream."""

    tuned: View
    base: View


def _head_name(name: str) -> str:
    """Name a weight of the head: the matrix of a linear one is `head` itself."""
    return HEAD_NAME if name == "weight" else f"{HEAD_NAME}.{name}"
