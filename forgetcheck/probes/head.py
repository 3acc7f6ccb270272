"""Head: what was gained on the task that the checkpoint was tuned on, with its own head."""

from dataclasses import dataclass

from forgetcheck.clip.features.encoded_task import EncodedTask
from forgetcheck.clip.model.heads import Classifier
from forgetcheck.probes.base import Probe, said
from forgetcheck.retention.answers import Predictions


@dataclass(frozen=True)
class Head(Probe):
    """The tuned head of a run folder or a file against the base's zero-shot head, from which it started."""

    def answer(self, model: EncodedTask, base: EncodedTask) -> Predictions:
        head = model.head or Classifier(model.encoder.scale * model.prompts)
        return said(head.logits(model.splits["test"].embeddings))

    def applies(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        return tuned.head is not None

    def identical(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        return False  # the head itself was trained
