"""Linear heads on top of embeddings: from prompts, and as they were saved."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from forgetcheck.clip.model.encoder import Encoder

_COARSE = 1000.0  # steps of a grid that an embedding's entries, at most 1, are laid on
_SAME = 1e-5  # entries of equal inputs differ by less


class Head(nn.Module):
    """Bias-free linear classifier: embeddings (n, d) -> logits (n, c)."""

    def __init__(self, weight: Tensor) -> None:  # (c, d)
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())

    def forward(self, embeddings: Tensor) -> Tensor:
        return embeddings @ self.weight.T


class PromptHead(Head):
    """A head that is read off the text tower whenever it is asked for: it learns as that tower learns."""

    def __init__(self, encoder: Encoder, class_names: Sequence[str], templates: Sequence[str]) -> None:
        nn.Module.__init__(self)
        self.encoder = encoder
        self.prompts = prompts_of(class_names, templates)
        self.classes = len(class_names)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]  # (c, d)
        means = mean_by_class(self.encoder.read(self.prompts), self.classes)
        return self.encoder.logit_scale.exp() * means


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


def equal_rows(rows: NDArray[np.float32]) -> list[tuple[int, int]]:  # (n, d)
    """Return each row that is another one again, up to rounding, with the first that it equals."""
    if not len(rows):
        return []
    first: dict[bytes, int] = {}
    pairs = []
    # equal inputs differ by rounding, which moves few entries over the edge of a coarse grid: two grids
    grids = [np.floor(rows * _COARSE + shift).astype(np.int16) for shift in (0.0, 0.5)]
    for place in range(len(rows)):
        keys = [bytes([number]) + grid[place].tobytes() for number, grid in enumerate(grids)]
        known = next((first[key] for key in keys if key in first), None)
        if known is not None and np.abs(rows[known] - rows[place]).max() < _SAME:
            pairs.append((known, place))
        else:
            first.update((key, place) for key in keys if key not in first)
    return pairs


def mean_by_class(rows: Tensor, classes: int) -> Tensor:  # (c * t, d) or (c, t, d) -> (c, d)
    """Average the embeddings of each class's prompts, and bring the means to length 1."""
    return F.normalize(rows.view(classes, -1, rows.shape[-1]).mean(dim=1), dim=-1)


def prompt_head(encoder: Encoder, class_names: Sequence[str], templates: Sequence[str]) -> Head:
    """Return the zero-shot classifier as a head: class embeddings times the logit scale."""
    return Head(encoder.scale * class_embeddings(encoder, class_names, templates))
