"""Linear heads on top of embeddings: from prompts, and as they were saved."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from forgetcheck.clip.encoder import Encoder


class Head(nn.Module):
    """Bias-free linear classifier: embeddings (n, d) -> logits (n, c)."""

    def __init__(self, weight: Tensor) -> None:  # (c, d)
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())

    def forward(self, embeddings: Tensor) -> Tensor:
        return embeddings @ self.weight.T


@dataclass(frozen=True)
class Classifier:
    """A fine-tuned linear head as it was saved. A value: nothing in it is trained."""

    weight: Tensor  # (c, d)
    bias: Tensor | None = None  # (c,)

    def logits(self, embeddings: Tensor) -> Tensor:  # (n, d) -> (n, c)
        logits = embeddings @ self.weight.to(embeddings.dtype).T
        return logits if self.bias is None else logits + self.bias.to(embeddings.dtype)


def class_embeddings(encoder: Encoder, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Return one embedding per class (c, d): the normalised mean of its prompts' embeddings.

    Prompt ensembling as in the CLIP paper (arXiv:2103.00020, section 3.1.4).
    """
    with torch.no_grad():
        return mean_by_class(encoder.read(prompts_of(class_names, templates)), len(class_names))


def prompts_of(class_names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Return every template about every class, class by class."""
    return [template.replace("{}", name) for name in class_names for template in templates]


def mean_by_class(rows: Tensor, classes: int) -> Tensor:  # (c * t, d) or (c, t, d) -> (c, d)
    """Average the embeddings of each class's prompts, and bring the means to length 1."""
    return F.normalize(rows.view(classes, -1, rows.shape[-1]).mean(dim=1), dim=-1)


def prompt_head(encoder: Encoder, class_names: Sequence[str], templates: Sequence[str]) -> Head:
    """Return the zero-shot classifier as a head: class embeddings times the logit scale."""
    return Head(encoder.scale * class_embeddings(encoder, class_names, templates))
