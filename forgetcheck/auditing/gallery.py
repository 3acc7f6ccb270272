"""The gallery: a few samples that were lost, to look at."""

import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice, zip_longest

import numpy as np
from PIL import Image

from forgetcheck.retention.answers import LostSample, PairedPredictions
from forgetcheck.tasks.base import Split

SIDE = 96  # pixels of the longer side of a thumbnail
_SMALL = 64  # pixels up to which PNG keeps every one
_QUALITY = 80  # of JPEG beyond
_PROBE = "zero-shot"  # whose answers are shown, where it was asked

_Tests = Mapping[tuple[str, str], Split]  # the samples that are asked about, by task and probe


def collect(answers: Sequence[PairedPredictions], tests: _Tests, count: int) -> tuple[LostSample, ...]:
    """Return at most `count` samples per checkpoint that the base got right and the tuned model gets wrong.

    The concepts that lost most come first, one sample of each in turn; of a concept, those that the
    base was surest of. The task a checkpoint was tuned on is left out. Of each task one probe is shown.
    """
    checkpoints = dict.fromkeys(item.checkpoint for item in answers)
    return tuple(
        chain.from_iterable(islice(_lost_by(name, answers, tests), count) for name in checkpoints if count)
    )


def _lost_by(checkpoint: str, answers: Sequence[PairedPredictions], tests: _Tests) -> Iterator[LostSample]:
    shown: dict[str, PairedPredictions] = {}
    for item in answers:
        preferred = item.probe == _PROBE or item.task not in shown
        if item.checkpoint == checkpoint and not item.target and preferred:
            shown[item.task] = item
    queues = [(item, queue) for item in shown.values() for queue in _queues_of(item)]
    queues.sort(key=lambda pair: -len(pair[1]))
    for turn in zip_longest(*(queue for _, queue in queues)):
        for (item, _), sample in zip(queues, turn, strict=True):
            if sample is not None:
                yield _look_at(item, tests[item.task, item.probe], int(sample))


def _queues_of(item: PairedPredictions) -> Iterator[list[int]]:
    """Yield for each concept its lost samples, those first that the base was surest of."""
    lost = np.flatnonzero((item.base.label == item.labels) & (item.tuned.label != item.labels))
    lost = lost[np.argsort(-item.base.confidence[lost], kind="stable")]
    for label in np.unique(item.labels[lost]):
        yield lost[item.labels[lost] == label].tolist()


def _look_at(item: PairedPredictions, split: Split, sample: int) -> LostSample:
    return LostSample(
        checkpoint=item.checkpoint,
        task=item.task,
        probe=item.probe,
        sample=split.ids[sample],
        concept=item.class_names[item.labels[sample]],
        said=item.class_names[item.tuned.label[sample]],
        image=thumbnail(split.image(sample)),
    )


def thumbnail(image: Image.Image) -> bytes:
    """Return a small picture as a file's bytes: PNG if it was small, else JPEG."""
    small = image.convert("RGB")
    exact = max(small.size) <= _SMALL
    small.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    if exact:
        small.save(file, "PNG", optimize=True)
    else:
        small.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
