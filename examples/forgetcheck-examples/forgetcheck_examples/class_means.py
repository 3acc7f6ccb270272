"""Class means: the class whose mean training embedding lies nearest to the image."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from forgetcheck import Probe
from forgetcheck.clip.features.encoded_task import EncodedTask
from forgetcheck.probes.base import said
from forgetcheck.retention.answers import Predictions
from forgetcheck.tasks.base import SplitName


@dataclass(frozen=True)
class ClassMeans(Probe):
    """Cosines are divided by `temperature` to become confidences; the answer doesn't depend on it."""

    temperature: float = 0.07
    parts: ClassVar[tuple[SplitName, ...]] = ("train", "test")

    def answer(self, model: EncodedTask, base: EncodedTask) -> Predictions:
        train, test = model.splits["train"], model.splits["test"]
        classes = len(model.task.class_names)
        members = F.one_hot(train.labels, classes).float()  # (n, c)
        means = F.normalize(members.T @ train.embeddings, dim=1)  # (c, d)
        logits: torch.Tensor = test.embeddings @ means.T / self.temperature  # (n, c)
        return said(logits)
