"""Linear heads on top of embeddings: from prompts, from labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from forgetcheck.clip.encoder import Encoder

GRADIENT_TOLERANCE = 1e-5  # of the mean loss, largest entry
MAX_ITERATIONS = 5_000
TABLE = 2**22  # entries of a table of images by classes at a time: 32 MiB, whatever the number of images


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
    prompts = [template.replace("{}", name) for name in class_names for template in templates]
    with torch.no_grad():
        read = encoder.read(prompts).view(len(class_names), len(templates), -1)
    return F.normalize(read.mean(dim=1), dim=-1)


def prompt_head(encoder: Encoder, class_names: Sequence[str], templates: Sequence[str]) -> Head:
    """Return the zero-shot classifier as a head: class embeddings times the logit scale."""
    return Head(encoder.scale * class_embeddings(encoder, class_names, templates))


@dataclass(frozen=True)
class Fit:
    """A multinomial logistic regression and how it was reached."""

    weight: Tensor  # (c, d) float64
    bias: Tensor  # (c,) float64
    strength: float
    gradient: float  # largest entry of the gradient at the solution
    iterations: int
    converged: bool

    def logits(self, features: Tensor) -> Tensor:  # (n, d) -> (n, c)
        return features.double() @ self.weight.T + self.bias


def fit_logistic(features: Tensor, labels: Tensor, classes: int, strength: float) -> Fit:
    """Minimise mean cross-entropy + strength / 2 * ||weight||^2, from zero, without chance.

    `features` (n, d), `labels` (n,). Convex, full batch, L-BFGS in float64 to a gradient tolerance:
    the same features give the same answer, whatever the seed. In scikit-learn's terms
    C = 1 / (n * strength), with an unpenalised intercept.
    """
    rows = features.double()
    width, block = rows.shape[1], max(1, TABLE // classes)

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        table = torch.from_numpy(flat).view(classes, width + 1)
        weight, bias = table[:, :width], table[:, width]
        loss, gradient = strength / 2 * weight.square().sum(), torch.zeros_like(table)
        for some, truth in zip(rows.split(block), labels.split(block), strict=True):
            logp = torch.addmm(bias, some, weight.T).log_softmax(dim=1)
            loss += F.nll_loss(logp, truth, reduction="sum") / len(rows)
            slope = logp.exp_()
            slope[torch.arange(len(some)), truth] -= 1
            slope /= len(rows)
            gradient[:, :width] += slope.T @ some
            gradient[:, width] += slope.sum(dim=0)
        gradient[:, :width] += strength * weight
        return loss.item(), gradient.flatten().numpy()

    with threadpool_limits(1, user_api="blas"):  # scipy's own threads fight torch's: 20 times slower
        found = minimize(
            objective,
            np.zeros(classes * (width + 1)),
            jac=True,
            method="L-BFGS-B",
            options={
                "gtol": GRADIENT_TOLERANCE,
                "ftol": 0.0,
                "maxiter": MAX_ITERATIONS,
                "maxfun": 2 * MAX_ITERATIONS,
            },
        )
    table = torch.from_numpy(found.x).view(classes, width + 1)
    gradient = float(np.abs(found.jac).max())
    return Fit(
        weight=table[:, :width].clone(),
        bias=table[:, width].clone(),
        strength=strength,
        gradient=gradient,
        iterations=int(found.nit),
        converged=gradient <= GRADIENT_TOLERANCE,
    )
