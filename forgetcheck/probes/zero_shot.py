"""Zero-shot: the class whose prompts lie nearest to the image (arXiv:2103.00020)."""

from dataclasses import dataclass
from typing import Literal

from forgetcheck.clip.encoded_task import EncodedTask
from forgetcheck.probes.base import Probe, said
from forgetcheck.retention.answers import Said


@dataclass(frozen=True)
class ZeroShot(Probe):
    """Uses the checkpoint's own text tower, or (`text=base`) the base's, where the two differ."""

    text: Literal["own", "base"] = "own"

    def answer(self, model: EncodedTask, base: EncodedTask) -> Said:
        reader = model if self.text == "own" else base
        test = model.splits["test"]
        return said(reader.encoder.scale * test.embeddings @ reader.prompts.T)

    def applies(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        return self.text == "own" or tuned.encoder.digests["text"] != base.encoder.digests["text"]

    def identical(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        if self.text == "own":
            return super().identical(tuned, base)
        return tuned.encoder.digests["visual"] == base.encoder.digests["visual"]
