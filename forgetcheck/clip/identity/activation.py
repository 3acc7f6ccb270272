"""Decide between architectures whose weights have the same shapes: by what is recorded, or by what works."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
from torch import Tensor

from forgetcheck.clip.features.encoded_task import encode_task
from forgetcheck.clip.features.runtime import Engine
from forgetcheck.clip.model.checkpoint import ARCHITECTURE, GUESS, TINY, Checkpoint, architecture
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.load import rebuilt
from forgetcheck.clip.model.settings import ACTIVATION, PLAIN, QUICK, activation, effective, plain
from forgetcheck.errors import CheckpointError, InputError
from forgetcheck.progress import Progress, silent
from forgetcheck.tasks.base import Split, SplitName, Task, size

_MIN_Z = 5.0  # of the paired difference of losses, one-sided: a chance of 3e-7
_MIN_ADVANTAGE = 0.02  # of the loss: a smaller one is no wrong activation, whatever its significance
# Asked first: where the other activation isn't even better on these, the rest isn't asked. One that would be
# just beyond doubt on MAX_IMAGES (5 standard errors) is 1.8 better here, so it is passed by 1 time in 28.
FIRST_IMAGES = 128
_MAX_IMAGES = 1000  # asked when a configured activation is doubted
_OTHER_ACTIVATION = {PLAIN: QUICK, QUICK: PLAIN}
OF_OPEN_CLIP, OF_TRANSFORMERS = f"{GUESS}, the default of open_clip", f"{GUESS}, the usual one of such models"
BY_US = "what forgetcheck ships"
BY_TAG = "what open_clip publishes"
BY_SHAPES = "the names and shapes of its weights"
BY_OTHER = "the other checkpoint of the pair"
BY_FUNCTION = "what works: its zero-shot loss"
_BEYOND_DOUBT = (BY_US, BY_TAG, BY_FUNCTION)
_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True)
class _Decision:
    """Which of several candidates it is, and why; no name where that is open."""

    name: str | None
    by: str  # what decided, or why nothing did
    candidates: tuple[str, ...]


@dataclass(frozen=True)
class Trial:
    """How one candidate does on labelled tasks."""

    losses: Tensor  # (n,) float64 cross-entropy per sample
    hits: Tensor  # (n,) whether the nearest class is the right one
    chance: Tensor  # (n,) float64, share of right answers if they had nothing to do with the images

    @property
    def beats_chance(self) -> bool:
        """Significantly: without that, a difference of losses says nothing about the activation."""
        spread = float((self.chance * (1 - self.chance)).sum().sqrt())
        return float(self.hits.sum() - self.chance.sum()) > _MIN_Z * spread


def decide(candidates: Sequence[str]) -> _Decision:
    """Choose the candidate if there is one, or if all of them compute the same."""
    names = tuple(candidates)
    if not names:
        return _Decision(None, "no architecture of open_clip has these names and shapes", ())
    if not differ_in(names):
        return _Decision(names[0], BY_SHAPES, names)
    return _Decision(None, f"they differ in {', '.join(differ_in(names))}, which weights don't show", names)


def differ_in(candidates: Sequence[str]) -> tuple[str, ...]:
    """Name the settings in which candidates differ, such as `quick_gelu` or `vision_cfg.image_size`."""
    configs = [effective(architecture(name)) for name in candidates]
    keys = sorted({key for config in configs for key in config})
    return tuple(key for key in keys if any(c.get(key) != configs[0].get(key) for c in configs))


def by_function(
    builders: Mapping[str, Callable[[], Encoder]], tasks: Sequence[Task], progress: Progress = silent
) -> _Decision:
    """Choose the candidate whose zero-shot loss over some images of `tasks` is clearly the lowest.

    `builders` load the same weights under each candidate's config; one is held at a time. Only for
    candidates that differ in their activation: another image size can do better and be wrong. Clearly
    means better than chance, and than every other by a one-sided paired z above 5 and by 2 % of the loss.
    """
    some = sampled(tasks)
    trials = {name: attempt(build(), some, progress) for name, build in builders.items()}
    names = tuple(trials)
    best = min(trials, key=lambda name: float(trials[name].losses.mean()))
    if not trials[best].beats_chance:
        return _Decision(None, "no candidate beats chance on the functional test", names)
    close = [name for name in names if name != best and not clearly_lower(trials[best], trials[name])]
    if close:
        return _Decision(None, f"{best} and {close[0]} do equally well on the functional test", names)
    return _Decision(best, BY_FUNCTION, names)


@dataclass(frozen=True)
class _Part(Task):
    """A task with every n-th of its test images, which keeps the classes in proportion."""

    whole: Task
    every: int

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.whole.class_names

    @property
    def templates(self) -> tuple[str, ...]:
        return self.whole.templates

    def split(self, name: SplitName) -> Split:
        split = self.whole.split(name)
        order = np.argsort(split.labels, kind="stable")
        return split.take(order[:: self.every])


def doubt_activation(
    checkpoint: Checkpoint,
    encoder: Encoder,
    tasks: Sequence[Task],
    progress: Progress = silent,
    engine: Engine | None = None,
) -> str:
    """Say, if it is so, that the weights clearly work better under the other activation than the configured.

    Nothing in a state dict records it, and a config may have been written by somebody who didn't know: so
    some images of `tasks` are asked. Empty where there is no doubt, no choice, or nothing to ask.
    """
    name = activation(checkpoint.config)
    if checkpoint.inferred.get(ARCHITECTURE) in _BEYOND_DOUBT or name not in _OTHER_ACTIVATION:
        return ""
    other = _OTHER_ACTIVATION[name]
    model = {**checkpoint.config["model_cfg"], ACTIVATION: other == QUICK}
    try:
        twin = rebuilt(encoder, {**checkpoint.config, "model_cfg": model})
        for most in (FIRST_IMAGES, _MAX_IMAGES):
            some = sampled(tasks, most)
            here, there = (attempt(each, some, progress, engine) for each in (encoder, twin))
            if float(there.losses.mean()) >= float(here.losses.mean()):
                return ""
    except InputError:  # the audit itself says why
        return ""
    if not there.beats_chance or not clearly_lower(there, here):
        return ""
    return (
        f"'{encoder.name}' is configured with {name}, but its weights work clearly better with {other} "
        f"(zero-shot loss {float(there.losses.mean()):.3f} against {float(here.losses.mean()):.3f} on "
        f"{len(here.losses)} images): the architecture's name is probably wrong."
    )


def sampled(tasks: Sequence[Task], most: int = _MAX_IMAGES) -> list[Task]:
    """Keep some `most` test images of all tasks together. Raises InputError if there are none."""
    tasks = [task for task in tasks if task.labelled_by == "class"]
    sizes = [size(task, "test") for task in tasks]
    if not any(sizes):
        raise CheckpointError("no task has test images: nothing would be measured.")
    every = max(1, math.ceil(sum(sizes) / most))
    return [_Part(task, every) for task, count in zip(tasks, sizes, strict=True) if count]


def attempt(
    encoder: Encoder, tasks: Sequence[Task], progress: Progress = silent, engine: Engine | None = None
) -> Trial:
    """Classify the test images of every task by its prompts."""
    parts = [_attempt_one(encoder, task, progress, engine) for task in tasks]
    return Trial(
        torch.cat([part.losses for part in parts]),
        torch.cat([part.hits for part in parts]),
        torch.cat([part.chance for part in parts]),
    )


def _attempt_one(encoder: Encoder, task: Task, progress: Progress, engine: Engine | None) -> Trial:
    (seen,) = encode_task("for the activation", task, [encoder], ("test",), progress, engine)
    split = seen.splits["test"]
    logits = encoder.scale * split.embeddings.double() @ seen.prompts.double().T
    losses = F.cross_entropy(logits, split.labels, reduction="none")
    said = logits.argmax(dim=1)
    chance = torch.full_like(losses, by_habit(said, split.labels, logits.shape[1]))
    return Trial(losses, said == split.labels, chance)


def by_habit(said: Tensor, labels: Tensor, classes: int) -> float:  # (n,), (n,)
    """Return the share that would be right if the answers had nothing to do with the images.

    A model that calls everything by the name of the commonest class is right often, and knows nothing.
    """
    shares = (torch.bincount(each, minlength=classes).double() / len(labels) for each in (said, labels))
    return float(torch.dot(*shares))


def clearly_lower(better: Trial, worse: Trial) -> bool:
    gain = worse.losses - better.losses
    error = float(gain.std()) / math.sqrt(len(gain))
    mean = float(gain.mean())
    return mean > _MIN_Z * error and mean > _MIN_ADVANTAGE * float(worse.losses.mean())


@dataclass(frozen=True)
class Usual:
    """The preprocessing of an architecture whose weights record none."""

    config: Mapping[str, Any]
    why: str

    @property
    def guessed(self) -> bool:
        """Whether it is open_clip's default, for want of anything better."""
        return self.why.startswith(GUESS)


def usual_preprocessing(names: Sequence[str]) -> Usual:
    """Return the preprocessing of bare weights of these architectures, and how that is known.

    A state dict records none, and open_clip's default is wrong for SigLIP and others: what all published
    weights of the architectures agree on is taken over.
    """
    config = {key: plain(value) for key, value in architecture(names[0])["preprocess_cfg"].items()}
    if names[0] == TINY:
        return Usual(config, BY_US)
    published = [get_pretrained_cfg(name, tag) for name in names for tag in _tags_of(name)]
    if not published:
        return Usual(config, f"{OF_OPEN_CLIP}: no weights of {names[0]} are published")
    odd = [key for key in _PREPROCESSING if len({str(plain(item.get(key))) for item in published}) > 1]
    if odd:
        return Usual(config, f"{OF_OPEN_CLIP}: published weights of {names[0]} differ in {', '.join(odd)}")
    known = {key: plain(published[0][key]) for key in _PREPROCESSING if key in published[0]}
    return Usual({**config, **known}, f"all {len(published)} published weights of {' and '.join(names)}")


def _tags_of(name: str) -> list[str]:
    return list(list_pretrained_tags_by_model(name))
