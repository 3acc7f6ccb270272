"""Captions as a model reads them: every distinct text once, and from the cache where it is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forgetcheck.clip.encoder import Encoder
from forgetcheck.clip.encoding import Report
from forgetcheck.clip.engine import Engine
from forgetcheck.clip.feature_cache import Features, known_or_made
from forgetcheck.clip.feature_keys import caption_facts
from forgetcheck.tasks.base import Captions

BATCH = 512  # texts between two words of progress


@dataclass(frozen=True)
class EncodedCaptions:
    """The captions of one part as one model reads them."""

    said: Captions  # of the images that could be read
    rows: Mapping[str, int]  # where each text lies in the embeddings
    embeddings: Tensor  # (t, d) float32, L2-normalised, on the CPU

    def of(self, texts: Sequence[str]) -> Tensor:  # (m,) -> (m, d)
        return self.embeddings[[self.rows[text] for text in texts]]


def read_captions(
    captions: Captions,
    kept: NDArray[np.int64] | None,
    encoders: Sequence[Encoder],
    report: Report,
    engine: Engine,
) -> list[EncodedCaptions]:
    """Let every model read the captions of a part; equal text towers read once.

    `kept` (k,) are the images that could be read, None: all.
    """
    texts = captions.distinct
    facts = [caption_facts(encoder, engine.manner, texts) for encoder in encoders]

    def read(missing: Sequence[int]) -> list[Features]:
        parts: list[list[Tensor]] = [[] for _ in missing]
        for start in range(0, len(texts), BATCH):
            some = texts[start : start + BATCH]
            for number, part in zip(missing, parts, strict=True):
                with engine.running(encoders[number].device):
                    part.append(encoders[number].read(some).cpu())
            report(start + len(some), "captions")
        return [Features(torch.cat(part).numpy(), np.arange(len(texts))) for part in parts]

    found = known_or_made(engine.cache, facts, read, lambda: report(len(texts), "captions from the cache"))
    rows = {text: number for number, text in enumerate(texts)}
    said = captions if kept is None else captions.take(kept)
    return [EncodedCaptions(said, rows, torch.from_numpy(features.embeddings)) for features in found]
