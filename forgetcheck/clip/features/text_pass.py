"""Texts as every model reads them: each once, and without its padding where that is the same."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forgetcheck.clip.features.cache import Features, known_or_made
from forgetcheck.clip.features.cache_keys import Facts, caption_facts, prompt_facts
from forgetcheck.clip.features.image_pass import Report
from forgetcheck.clip.features.runtime import Engine
from forgetcheck.clip.model.encoder import Encoder, why_uncut
from forgetcheck.clip.model.heads import prompts_of
from forgetcheck.errors import InputError
from forgetcheck.tasks.base import Captions, Task

CHUNK = 512  # texts between two words of progress
# texts that take a CLIP as long as an image: 38 M weights for a dozen tokens, 88 M for 50 patches
_PER_IMAGE = 8
TRIED = 8  # texts that are read both ways, with and without padding
# A hundred times the spacing of fp32 at 1, and embeddings have length 1. At the same place of an equally
# large batch the same arithmetic happens, which leaves 0, or a little where a device adds in no fixed
# order. Statistics of the batch, or dropout, move embeddings by 1e-3 and more.
ROUNDING = 1e-5


@dataclass(frozen=True)
class EncodedCaptions:
    """The captions of one part as one model reads them."""

    said: Captions  # of the images that could be read
    rows: Mapping[str, int]  # where each text lies in the embeddings
    embeddings: Tensor  # (t, d) float32, L2-normalised, on the CPU
    cut_short: str = ""  # how many have an end that isn't read, in half a line

    def of(self, texts: Sequence[str]) -> Tensor:  # (m,) -> (m, d)
        found = self.embeddings[[self.rows[text] for text in texts]]
        if not bool(found.any(dim=1).all()):  # zero has no direction: every image is as near
            raise InputError("captions are read as zeros: the weights of a text tower are unusable.")
        return found


def as_images(texts: int) -> int:
    """Return how many images take as long."""
    return math.ceil(texts / _PER_IMAGE)


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
    found = _read_once(texts, encoders, facts, report, engine)
    said = captions if kept is None else captions.take(kept)
    places = {text: number for number, text in enumerate(texts)}
    return [
        EncodedCaptions(said, places, rows, _told_cut(encoder, texts))
        for encoder, rows in zip(encoders, found, strict=True)
    ]


def _told_cut(encoder: Encoder, texts: Sequence[str]) -> str:
    count, most = encoder.cut_short(texts)
    return f"the ends of {count:,} of {len(texts):,} captions lie beyond {most} tokens" if count else ""


def read_prompts(task: Task, encoders: Sequence[Encoder], report: Report, engine: Engine) -> list[Tensor]:
    """Return what every model reads in the prompts (c, t, d), on the CPU; equal text towers read once."""
    names, templates = task.class_names, task.templates
    texts = prompts_of(names, templates)
    distinct = tuple(dict.fromkeys(texts))
    places = {text: number for number, text in enumerate(distinct)}
    order = [places[text] for text in texts]
    facts = [prompt_facts(encoder, engine.manner, names, templates) for encoder in encoders]
    found = _read_once(distinct, encoders, facts, report, engine)
    return [rows[order].view(len(names), len(templates), -1) for rows in found]


def _read_once(
    texts: Sequence[str], encoders: Sequence[Encoder], facts: Sequence[Facts], report: Report, engine: Engine
) -> list[Tensor]:  # (t, d) each
    """Read distinct texts with every model that isn't in the cache."""

    def read(missing: Sequence[int]) -> list[Features]:
        readers = [shortened(encoders[number], texts) for number in missing]
        parts: list[list[Tensor]] = [[] for _ in missing]
        for start in range(0, len(texts), CHUNK):
            for reader, part in zip(readers, parts, strict=True):
                with engine.running(reader.device):
                    part.append(reader.read(texts[start : start + CHUNK]).cpu())
            report(min(start + CHUNK, len(texts)), "texts")
        made = [torch.cat(part).numpy() for part in parts]
        return [Features(rows, np.arange(len(rows))) for rows in made]

    found = known_or_made(engine.cache, facts, read, lambda: report(len(texts), "texts from the cache"))
    return [torch.from_numpy(features.embeddings) for features in found]


def shortened(encoder: Encoder, texts: Sequence[str]) -> Encoder:
    """Return a reader that leaves padding out, if that is the same on some of the texts; else the encoder.

    The padding is most of what a tower reads in prompts. It is proved in float32, whatever texts are read in.
    """
    if len(texts) <= TRIED or why_uncut(encoder.model):
        return encoder
    some = texts[:: len(texts) // TRIED][:TRIED]
    reader = encoder.without_padding()
    with torch.inference_mode():
        largest = float((encoder.read(some) - reader.read(some)).abs().max())
    return reader if largest <= ROUNDING else encoder
