"""FLYP (arXiv:2212.00638): go on with the contrastive loss; the head is read off the tuned text tower."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from forgetcheck.clip.model.heads import PromptHead
from forgetcheck.clip.model.view import Learner
from forgetcheck.regularizers.base import Regularizer


@dataclass(frozen=True)
class FLYP(Regularizer):
    def prepare(self, learner, task):
        return Learner(learner.encoder, PromptHead(learner.encoder, task.class_names, task.templates))

    def trains(self, name):
        return True

    def task_loss(self, tuned):
        logits = tuned.scale * tuned.embedding @ tuned.text.T
        right = torch.arange(len(logits))
        return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
