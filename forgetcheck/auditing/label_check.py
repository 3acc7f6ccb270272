"""What a checkpoint says of the labels of a task: is every class called what its images show?"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from forgetcheck.clip.features.encoded_task import encode_task
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.errors import InputError
from forgetcheck.probes.zero_shot import ZeroShot
from forgetcheck.progress import Progress, silent
from forgetcheck.retention.answers import PairedPredictions, Predictions
from forgetcheck.retention.labels import PROBE, fit_of
from forgetcheck.tasks.base import Task


@dataclass(frozen=True)
class Opinion:
    """What a model answers to every test image of a task, zero-shot."""

    said: NDArray[np.int32]  # (n,)
    labels: NDArray[np.int32]  # (n,)
    doubt: str  # what the labels look like instead, where another numbering of them fits clearly better


def opinion(name: str, task: Task, encoder: Encoder, progress: Progress = silent) -> Opinion:
    """Ask a model for the class of every test image. Raises InputError for a task without classes."""
    if task.labelled_by != "class":
        raise InputError(f"'{name}' has captions and no labels: there is nothing to compare.")
    with torch.inference_mode():
        (seen,) = encode_task(name, task, [encoder], ("test",), progress, prompted=True)
        answer: Predictions = ZeroShot().answer(seen, seen)
    labels = seen.splits["test"].labels.numpy().astype(np.int32)
    answers = PairedPredictions("", name, PROBE, task.class_names, labels, answer, answer)
    return Opinion(answer.label, labels, fit_of(answers).doubt if len(task.class_names) > 1 else "")
