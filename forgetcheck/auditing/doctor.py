"""examine(): whether forgetcheck's measurements on a checkpoint can be trusted on this machine."""

from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from forgetcheck.auditing.audit import PROBES, audit
from forgetcheck.batteries.battery import Battery
from forgetcheck.clip.features.preprocess import prepare
from forgetcheck.clip.features.runtime import computing
from forgetcheck.clip.features.text_pass import ROUNDING
from forgetcheck.clip.identity.activation import BY_FUNCTION, doubt_activation
from forgetcheck.clip.model.checkpoint import ARCHITECTURE, Checkpoint
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.heads import class_embeddings
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.clip.model.settings import activation
from forgetcheck.errors import InputError
from forgetcheck.progress import Progress, silent
from forgetcheck.retention.answers import Audit, PairedPredictions
from forgetcheck.tasks.base import Task, Unreadable

_ASKED = tuple(probe for probe in PROBES if "text=base" not in probe)  # the texts of a copy are its own
_MOST = 50  # captions that an image is compared with
SAMPLES = 256  # images that are computed in several ways
_BATCH = 64
HALVES = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was examined."""

    name: str
    meaning: str  # what follows for the person who asked
    measured: str  # in words, with numbers and units
    passed: bool | None  # None: it informs and cannot fail


@dataclass(frozen=True)
class Examination:
    """What was examined on one checkpoint, and where."""

    checkpoint: str
    device: str
    diagnoses: tuple[Diagnosis, ...]

    @property
    def checked(self) -> tuple[Diagnosis, ...]:
        return tuple(diagnosis for diagnosis in self.diagnoses if diagnosis.passed is not None)

    @property
    def failed(self) -> tuple[Diagnosis, ...]:
        return tuple(diagnosis for diagnosis in self.diagnoses if diagnosis.passed is False)


def examine(
    checkpoint: Checkpoint,
    battery: Battery,
    samples: int = SAMPLES,
    device: str = "auto",
    progress: Progress = silent,
) -> Examination:
    """Audit a checkpoint against itself, then compute embeddings in several ways and compare them.

    The comparisons use `samples` images, of all tasks of the battery. Raises InputError where nothing
    could be measured.
    """
    # a run's own head would be compared with its prompts, and its activation is examined apart
    copy = replace(checkpoint, run={}, head=None, inferred={**checkpoint.inferred, ARCHITECTURE: BY_FUNCTION})
    itself = examine_itself(audit(copy, [copy], battery, _ASKED, device, progress))
    encoder = load_encoder(checkpoint, device)
    drawn = draw(encoder, battery, samples)
    usual = look(encoder, drawn, progress, f"{_BATCH} at a time")
    return Examination(
        checkpoint.name,
        str(encoder.device),
        (
            itself,
            examine_activation(checkpoint, encoder, battery, progress),
            examine_batches(encoder, drawn, usual, progress),
            examine_neighbours(encoder, drawn, progress),
            *(examine_half(encoder, drawn, usual, half, progress) for half in HALVES),
            examine_padding(encoder, drawn),
        ),
    )


def examine_itself(found: Audit) -> Diagnosis:
    """Compare what two copies, each loaded by itself, said: not even one sample may differ."""
    asked = found.answers
    wrong = sum(int((item.base.label != item.tuned.label).sum()) for item in asked)
    worst = max(asked, key=lambda item: abs(drop(item)))
    passed = wrong == 0 and drop(worst) == 0
    size = (
        "exactly 0 in each"
        if drop(worst) == 0
        else f"up to {100 * abs(drop(worst)):.1f} points ({worst.task})"
    )
    measured = f"{wrong:,} of {sum(len(item.labels) for item in asked):,} answers differ; drop {size}"
    left = f"; {len(found.unasked)} could not be asked" if found.unasked else ""
    return Diagnosis(
        "self-audit",
        "the same weights forget nothing" if passed else "two copies of the same weights answer differently",
        f"two copies, {len(asked)} questions: {measured}{left}",
        passed,
    )


def examine_activation(
    checkpoint: Checkpoint, encoder: Encoder, battery: Battery, progress: Progress
) -> Diagnosis:
    """Ask some images under the other activation as well: nothing in weights says which one is right."""
    doubt = doubt_activation(checkpoint, encoder, tuple(battery.tasks.values()), progress)
    found = activation(checkpoint.config)
    return Diagnosis(
        "activation",
        "the architecture's name is probably wrong" if doubt else "the architecture computes as it should",
        doubt.rstrip(".") or f"{found}; no other that may be meant does clearly better",
        not doubt,
    )


def drop(item: PairedPredictions) -> float:
    return float(np.mean(item.base.label == item.labels) - np.mean(item.tuned.label == item.labels))


@dataclass(frozen=True)
class _Words:
    """What the images of a task may be called: its classes in its templates, or captions as they are."""

    class_names: tuple[str, ...]
    templates: tuple[str, ...]

    @classmethod
    def of(cls, task: Task) -> "_Words":
        captions = task.split("test").captions
        return (
            cls(task.class_names, task.templates)
            if captions is None
            else cls(captions.distinct[:_MOST], ("{}",))
        )


@dataclass(frozen=True)
class _Drawn:
    """Some test images of every task, prepared for one model."""

    images: Tensor  # (n, 3, h, w), task after task
    tasks: tuple[tuple[_Words, int], ...]  # each with how many of the images are its own

    @property
    def prompts(self) -> list[str]:
        """Every prompt of zero-shot, once."""
        filled = (
            template.replace("{}", name)
            for words, _ in self.tasks
            for name in words.class_names
            for template in words.templates
        )
        return list(dict.fromkeys(filled))


def draw(encoder: Encoder, battery: Battery, samples: int) -> _Drawn:
    """Take as many images of each task. What cannot be asked, the audit has told already."""
    images, tasks = [], []
    for number, task in enumerate(battery.tasks.values()):
        share = (samples + number) // len(battery.tasks)  # the shares add up to `samples`
        with suppress(InputError):
            part = _draw_from(task, share, encoder)
            images.append(part)
            tasks.append((_Words.of(task), len(part)))
    drawn = _Drawn(torch.cat(images), tuple(tasks)) if images else None
    if drawn is None or len(drawn.images) < 2:
        raise InputError(f"battery '{battery.name}' has too few test images: two are needed to compare.")
    return drawn


def _draw_from(task: Task, count: int, encoder: Encoder) -> Tensor:  # (n, 3, h, w)
    """Prepare `count` test images from all over the part, which may be sorted by class."""
    split = task.split("test")
    chosen = np.linspace(0, len(split) - 1, min(count, len(split))).round().astype(int)
    images = []
    for place in chosen:
        with suppress(Unreadable):  # which ones, the audit has told already
            images.append(split.image(int(place)))
    if not images:
        raise InputError("no image to draw.")
    return prepare(images, encoder.preprocess)


@dataclass(frozen=True)
class _Look:
    """What a model sees in the drawn images, in one of the ways to compute it."""

    embeddings: Tensor  # (n, d), L2-normalised, on the CPU
    prompts: tuple[Tensor, ...]  # of every task (c, d)
    labels: Tensor  # (n,) the zero-shot predictions
    margins: Tensor  # (n,) how much cosine lies between a prediction and the next class


def look(encoder: Encoder, drawn: _Drawn, progress: Progress, note: str) -> _Look:
    embeddings = see(encoder, drawn.images, _BATCH, progress, note)
    prompts = tuple(
        class_embeddings(encoder, words.class_names, words.templates).cpu() for words, _ in drawn.tasks
    )
    return _decide(drawn, embeddings, prompts)


def see(encoder: Encoder, images: Tensor, batch: int, progress: Progress, note: str) -> Tensor:
    """Embed images (n, 3, h, w) -> (n, d), so many at a time."""
    found: list[Tensor] = []
    with torch.inference_mode():
        for part in images.split(batch):
            found.append(encoder.see(part).cpu())
            progress("examining", sum(map(len, found)), len(images), note)
    return torch.cat(found)


def _decide(drawn: _Drawn, embeddings: Tensor, prompts: tuple[Tensor, ...]) -> _Look:
    """Ask zero-shot: of each image's own task, the class whose prompts lie nearest."""
    parts = embeddings.split([count for _, count in drawn.tasks])
    nearest = [
        (part @ classes.T).topk(min(2, len(classes)), dim=1)
        for part, classes in zip(parts, prompts, strict=True)
    ]
    return _Look(
        embeddings,
        prompts,
        torch.cat([found.indices[:, 0] for found in nearest]),
        torch.cat([found.values[:, 0] - found.values[:, -1] for found in nearest]),
    )


@dataclass(frozen=True)
class Difference:
    """Two ways of computing the same thing, compared."""

    n: int
    flips: int  # predictions that differ
    margin: float  # the largest of a prediction that flips, in cosine
    largest: float  # between entries of L2-normalised embeddings
    angle: float  # the largest between two embeddings, in degrees
    broken: int  # embeddings that hold NaN or Inf

    def __str__(self) -> str:
        if self.broken:
            return f"{self.broken} of {self.n} embeddings are NaN or Inf"
        margin = f", at margins up to {self.margin:.2g}" if self.flips else ""
        return (
            f"{self.flips} of {self.n} predictions flip{margin}; embeddings differ by up to "
            f"{self.largest:.2g}, {self.angle:.2g} degrees"
        )


def compare(usual: _Look, other: _Look) -> Difference:
    apart = usual.embeddings - other.embeddings
    flipped = usual.labels != other.labels
    return Difference(
        n=len(apart),
        flips=int(flipped.sum()),
        margin=float(usual.margins[flipped].max()) if bool(flipped.any()) else 0.0,
        largest=float(apart.abs().max()),
        # of a chord: the arc cosine of two near vectors would be rounding alone
        angle=float(torch.rad2deg(2 * (apart.norm(dim=1) / 2).clamp(max=1).asin()).max()),
        broken=int((~torch.isfinite(apart)).any(dim=1).sum()),
    )


def examine_batches(encoder: Encoder, drawn: _Drawn, usual: _Look, progress: Progress) -> Diagnosis:
    """Compare images seen one at a time with the same images seen together."""
    alone = see(encoder, drawn.images, 1, progress, "one at a time")
    found = compare(usual, _decide(drawn, alone, usual.prompts))
    passed = found.flips == 0 and found.broken == 0
    return Diagnosis(
        "batch size",
        "answers don't depend on how images are put into batches"
        if passed
        else "a drop may come from the batch size, not from forgetting",
        f"batches of 1 and of {_BATCH}: {found}",
        passed,
    )


def examine_neighbours(encoder: Encoder, drawn: _Drawn, progress: Progress) -> Diagnosis:
    """Compare images among others with the same images, at the same places, among the others' negatives."""
    negatives = drawn.images.clone()
    negatives[1::2] *= -1  # shuffled neighbours would leave the mean of the batch as it was
    found = [
        see(encoder, images, _BATCH, progress, "other neighbours")[::2]
        for images in (drawn.images, negatives)
    ]
    largest = float((found[0] - found[1]).abs().max())
    passed = largest <= ROUNDING  # also False for NaN
    return Diagnosis(
        "neighbours",
        "every image is measured by itself"
        if passed
        else "answers depend on the other images: batch norm in training mode?",
        f"{len(found[0])} images, each with other images around it: embeddings differ by up to "
        f"{largest:.2g}, allowed {ROUNDING:g}",
        passed,
    )


def examine_half(
    encoder: Encoder, drawn: _Drawn, usual: _Look, half: torch.dtype, progress: Progress
) -> Diagnosis:
    """Compare fp32 with half precision, both towers. It informs: forgetcheck computes in fp32."""
    name = str(half).removeprefix("torch.")
    try:
        with computing(encoder.device, half):
            found = compare(usual, look(encoder, drawn, progress, name))
    except (RuntimeError, UserWarning) as problem:  # whatever this device's library lacks
        why = " ".join(str(problem).split())[:100]
        return Diagnosis(name, "stay with fp32: this device cannot", f"{encoder.device}: {why}", None)
    return Diagnosis(name, advice(found), f"against fp32: {found}", None)


def advice(found: Difference) -> str:
    if found.broken:
        return "stay with fp32: this is too narrow for the checkpoint"
    if found.flips:
        return f"stay with fp32: rounding alone changes {100 * found.flips / found.n:.1f} % of answers"
    most = 100 * (1 - 0.05 ** (1 / found.n))  # a share that would show no flip 1 time in 20
    return f"usable: fewer than {most:.1f} % of answers change (95 % sure)"


def examine_padding(encoder: Encoder, drawn: _Drawn) -> Diagnosis:
    """Compare prompts with the same prompts read without the padding after the longest."""
    prompts = drawn.prompts
    longest, context = encoder.places(prompts)
    if longest == context:
        return Diagnosis(
            "padding", "not examined", f"a prompt fills all {context} tokens: nothing to cut", None
        )
    try:
        with torch.inference_mode():
            largest = float((encoder.read(prompts) - encoder.read_cut(prompts)).abs().max())
    except InputError as problem:
        _, _, why = str(problem).partition(" cannot be cut: ")
        return Diagnosis("padding", "prompts must be read at full length", f"cannot be cut: {why}", None)
    return Diagnosis(
        "padding",
        "prompts may be read without their padding"
        if largest <= ROUNDING
        else "prompts must be read at full length: the padding matters",
        f"{len(prompts)} prompts cut from {context} to {longest} tokens: {exactness(largest)}",
        None,
    )


def exactness(largest: float) -> str:
    if largest == 0:
        return "exact"
    rounding = "rounding, " if largest <= ROUNDING else ""
    return f"not exact ({rounding}largest difference {largest:.2g})"
