"""Head: what was gained on the task that the checkpoint was tuned on, with its own head."""

from dataclasses import dataclass

from forgetcheck.clip.encoded_task import EncodedTask
from forgetcheck.probes.base import Probe, said
from forgetcheck.retention.answers import Said


@dataclass(frozen=True)
class Head(Probe):
    """The tuned head of a run folder against the base's zero-shot head, from which it started."""

    def answer(self, model: EncodedTask, base: EncodedTask) -> Said:
        head = model.encoder.scale * model.prompts if model.head is None else model.head
        return said(model.splits["test"].embeddings @ head.T)

    def applies(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        return tuned.head is not None

    def identical(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        return False  # the head itself was trained
