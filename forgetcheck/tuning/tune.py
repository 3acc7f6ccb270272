"""tune(): start -> step -> finish. The only place where weights change."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from forgetcheck import provenance
from forgetcheck.batteries.names import doubtful_labels, doubtful_names
from forgetcheck.batteries.repeats import Keyed, brief, in_both_parts, two_labels
from forgetcheck.clip.identity.activation import doubt_activation
from forgetcheck.clip.model.checkpoint import Checkpoint
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.forward_pass import ForwardPass
from forgetcheck.clip.model.heads import Head
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.clip.saving.run_folder import Run
from forgetcheck.errors import InputError
from forgetcheck.progress import Progress, Steps, silent
from forgetcheck.regularizers.base import Regularizer
from forgetcheck.tasks.base import Split, Unreadable, dealt

HELD_OUT = 10  # every tenth training sample of a class is for validation, never for training
_NAMED = 5  # classes that a warning names, at most
_MEMORY = 2**30  # bytes of prepared images to keep between epochs


@dataclass(frozen=True)
class Schedule:
    """How to train with AdamW.

    Rate, weight decay, batch size and gradient clip are by default those of arXiv:2308.13320 for CLIP
    ViT-B/32. docs/methods.md lists where the rest differs from that protocol.
    """

    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-5
    weight_decay: float = 0.1
    warmup_steps: int = 500  # at most a tenth of all steps
    gradient_clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "gradient_clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name.replace('_', '-')} is {getattr(self, name)}: it must be above 0.")
        for name in ("weight_decay", "warmup_steps", "seed"):
            if not 0 <= getattr(self, name) < 2**63:
                raise InputError(
                    f"{name.replace('_', '-')} is {getattr(self, name)}: it must be from 0 to 2**63 - 1."
                )


def schedule_for(checkpoint: Checkpoint, **asked: Any) -> Schedule:
    """Return the schedule asked for; what was left open comes from the checkpoint, then the defaults.

    A checkpoint far from the usual size can recommend a schedule in its config, as forgetcheck:tiny does.
    """
    recorded = checkpoint.config.get("schedule", {})
    kinds = {each.name: type(each.default) for each in fields(Schedule)}
    if not isinstance(recorded, Mapping) or any(
        type(value) not in {kinds.get(name), int} or name not in kinds for name, value in recorded.items()
    ):
        raise InputError(
            f"the schedule in the config of '{checkpoint.name}' is damaged ({recorded!r:.80}): correct it."
        )
    return Schedule(**{**recorded, **asked})


@dataclass(frozen=True)
class Named:
    """A thing built from a spec, and the spec for the record."""

    spec: str
    thing: Any


class Pictures:
    """Prepared images of a split by index; kept in memory while they fit."""

    def __init__(self, split: Split, preprocess: Callable[[Any], Tensor]) -> None:
        self.split = split
        self.preprocess = preprocess
        self.labels = torch.from_numpy(split.labels)
        self.kept: dict[int, Tensor] = {}

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return images (n, 3, h, w) and labels (n,)."""
        return torch.stack([self.image(int(i)) for i in chosen]), self.labels[chosen]

    def image(self, index: int) -> Tensor:
        if index in self.kept:
            return self.kept[index]
        image = self.preprocess(self.decoded(index))
        if (len(self.kept) + 1) * image.numel() * image.element_size() <= _MEMORY:
            self.kept[index] = image
        return image

    def decoded(self, index: int) -> Image.Image:
        """Decode one image. Training on what is left would be another task: what can't be read is refused."""
        try:
            return self.split.image(index)
        except Unreadable as problem:
            raise InputError(
                f"image '{self.split.ids[index]}' can't be read ({problem}): restore it, or remove it."
            ) from None


def tune(
    checkpoint: Checkpoint,
    task: Named,
    regularizer: Named,
    schedule: Schedule,
    device: str = "auto",
    progress: Progress = silent,
) -> Run:
    """Fine-tune a checkpoint on a task and return everything worth keeping.

    Deterministic on one machine, device and thread count. Batch-norm statistics stay as they are,
    so that the features of an image never depend on its neighbours in the batch.
    """
    method: Regularizer = regularizer.thing
    _refuse_captions(task)
    base = load_encoder(checkpoint, device)
    doubt = doubt_activation(checkpoint, base, (task.thing,), progress)
    if doubt:
        raise InputError(f"{doubt} Pass --model NAME, or correct its config.")
    tuned = base.twin()
    head = method.start_head(base, task.thing).to(base.device)
    training, validation = split_off(task, base)
    optimizer = _make_optimizer(tuned, head, method, schedule)
    started = time.monotonic()
    history = []
    for row in steps(base, tuned, head, training, optimizer, method, schedule, progress):
        if row["last_of_epoch"]:
            row["validation_accuracy"] = accuracy(tuned, head, validation)
        del row["last_of_epoch"]
        history.append(row)
    seconds = time.monotonic() - started
    weights = method.finish(_snapshot(base), _snapshot(tuned))
    return Run(
        config=checkpoint.config,
        weights=weights,
        head=head.weight,
        tokenizer=base.tokenizer,
        history=history,
        facts={
            "base": {"name": checkpoint.name, "digest": base.digests},
            "task": {
                "source": task.spec,
                "class_names": list(task.thing.class_names),
                "folder": str(Path.cwd()),  # where its paths begin
            },
            "regularizer": {"spec": regularizer.spec, "options": asdict(method)},
            "schedule": asdict(schedule),
            "validation_accuracy": history[-1]["validation_accuracy"],
            "samples": {
                "train": len(training.labels),
                "validation": len(validation.labels),
                **_thin(task.thing.class_names, training.split, validation.split),
            },
            "seconds": round(seconds, 3),
            "device": str(base.device),
            "threads": torch.get_num_threads(),
            "environment": provenance.environment(),
        },
    )


def thin_classes(task: Named) -> tuple[str, ...]:
    """Say what is odd about names and labels, and which classes have too few train images.

    Too few to be learned, or to tell how well they were. Looks at labels only, so that whoever tunes hears
    of it before step 1. Raises InputError for a task that `tune` refuses. All names are in the facts of the
    run.
    """
    _refuse_captions(task)
    classes = task.thing.class_names
    what = {
        "no_train_images": "no train images to learn from",
        "too_few_to_hold_out": f"fewer than {HELD_OUT} train images, too few to hold one out for accuracy",
    }
    return (
        *(
            f"{len(names)} of {len(classes)} classes {'has' if len(names) == 1 else 'have'} {what[kind]}: "
            f"{_some(names)}"
            for kind, names in _thin(classes, *_hold_out(task)).items()
            if names
        ),
        *doubtful_names(classes),
        *doubtful_labels(classes, [task.thing.split("train").labels]),
    )


def keyed_parts(task: Named, progress: Progress = silent) -> dict[str, Keyed]:
    """Tell the images of train, and of test where it is at hand, apart by their bytes.

    Reads every file once, and decodes none; a test part that isn't on this machine is left alone, for
    nothing else of `tune` needs it. Raises InputError for a task that `tune` refuses.
    """
    _refuse_captions(task)
    splits = {"train": task.thing.split("train")}
    if "://" not in task.spec:
        with suppress(InputError):
            splits["test"] = task.thing.split("test")
    steps = Steps(progress, "comparing", sum(map(len, splits.values())))
    return {name: _keyed(split, split.mark, steps) for name, split in splits.items() if split.mark}


def repeated_images(task: Named, progress: Progress = silent) -> tuple[str, ...]:
    """Say which images are there twice, by their bytes: under two labels, or in test and in train."""
    return repeats_of(task, keyed_parts(task, progress))


def repeats_of(task: Named, parts: Mapping[str, Keyed]) -> tuple[str, ...]:
    """Say it of parts whose files were read."""
    told = [two_labels(name, part, task.thing, "bytes") for name, part in parts.items()]
    both = in_both_parts(parts["test"], parts["train"], "byte by byte") if len(parts) > 1 else ""
    return tuple(filter(None, (*told, both)))


def images_of(parts: Mapping[str, Keyed]) -> NDArray[np.uint64] | None:
    """Return which images a run sees, those held out as well; None where their bytes aren't at hand."""
    if "train" not in parts:
        return None
    return np.unique(brief(key for key in parts["train"].keys if isinstance(key, bytes)))


def _keyed(split: Split, mark: Callable[[int], bytes | None], steps: Steps) -> Keyed:
    """Tell the samples of a part apart by their bytes."""
    report, keys = steps.step(len(split), len(split)), []
    for place in range(len(split)):
        keys.append(mark(place))
        report(place + 1, "")
    return Keyed(split.ids, split.labels.tolist(), keys)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:_NAMED]) + more


def _refuse_captions(task: Named) -> None:
    if task.thing.labelled_by != "class":
        raise InputError(f"'{task.spec}' has captions and no classes, which a head learns: tune on another.")


def _thin(classes: Sequence[str], kept: Split, held: Split) -> dict[str, list[str]]:
    """Name the classes without any train image, and those that have some but none held out."""
    learned, checked = set(kept.labels.tolist()), set(held.labels.tolist())
    return {
        "no_train_images": [name for label, name in enumerate(classes) if label not in learned],
        "too_few_to_hold_out": [name for label, name in enumerate(classes) if label in learned - checked],
    }


def split_off(task: Named, encoder: Encoder) -> tuple[Pictures, Pictures]:
    """Return what is trained on and what is held out, as the encoder takes it."""
    kept, held = _hold_out(task)
    return Pictures(kept, encoder.preprocess), Pictures(held, encoder.preprocess)


def _hold_out(task: Named) -> tuple[Split, Split]:
    """Hold out a stratified tenth of train; the test part is not touched."""
    split = task.thing.split("train")
    held = dealt(split.labels, HELD_OUT)
    if held.all() or not held.any():
        raise InputError(
            f"task '{task.spec}' has {len(split)} train images: too few to hold out a tenth of a class "
            "for validation; bring at least 10 images of a class."
        )
    kept, out = (split.take(mask.nonzero()[0]) for mask in (~held, held))
    return kept, out


def _make_optimizer(
    tuned: Encoder, head: Head, method: Regularizer, schedule: Schedule
) -> torch.optim.Optimizer:
    """Let only what may move require a gradient, and decay matrices only."""
    for name, weight in tuned.model.named_parameters():
        weight.requires_grad_(method.may_move(name))
    moving = [weight for weight in tuned.model.parameters() if weight.requires_grad]
    decay = method.weight_decay(schedule.weight_decay)
    return torch.optim.AdamW(
        [
            {"params": [w for w in moving if w.ndim >= 2], "weight_decay": decay},
            {"params": [w for w in moving if w.ndim < 2], "weight_decay": 0.0},
            {"params": [head.weight], "weight_decay": schedule.weight_decay},
        ],
        lr=schedule.learning_rate,
    )


def steps(
    base: Encoder,
    tuned: Encoder,
    head: Head,
    training: Pictures,
    optimizer: torch.optim.Optimizer,
    method: Regularizer,
    schedule: Schedule,
    progress: Progress,
) -> Iterator[dict[str, Any]]:
    """Take every step and yield a row of history for each."""
    total = schedule.epochs * math.ceil(len(training.labels) / schedule.batch_size)
    depths = method.depths(base)
    started, seen = time.monotonic(), 0
    for number, (chosen, last) in enumerate(order(len(training.labels), schedule)):
        images, labels = training.batch(chosen)
        now = ForwardPass(tuned, images, depths, head, frozen=False)
        then = ForwardPass(base, images, depths, head, frozen=True)
        rate = learning_rate(number, total, schedule)
        row = step(optimizer, method, now, then, labels.to(base.device), rate, schedule.gradient_clip)
        if not math.isfinite(row["loss"] + row["penalty"]):
            raise InputError(
                f"the loss became {row['loss'] + row['penalty']} at step {number + 1} of {total}: "
                "nothing was written; use a smaller --learning-rate or strength. Its batch is "
                f"{_some([training.split.ids[int(i)] for i in chosen])}: look at them if that doesn't help."
            )
        seen += len(labels)
        speed = seen / (time.monotonic() - started)
        note = f"loss {row['loss']:.3f} penalty {row['penalty']:.4f} {speed:.0f} img/s"
        progress("tuning", number + 1, total, note)
        yield {"step": number + 1, "learning_rate": rate, **row, "last_of_epoch": last}


def order(count: int, schedule: Schedule) -> Iterator[tuple[Tensor, bool]]:
    """Yield the indices of every batch of every epoch, and whether it ends its epoch."""
    generator = torch.Generator().manual_seed(schedule.seed)
    for _ in range(schedule.epochs):
        parts = torch.randperm(count, generator=generator).split(min(schedule.batch_size, count))
        for part in parts:
            yield part, part is parts[-1]


def step(
    optimizer: torch.optim.Optimizer,
    method: Regularizer,
    tuned: ForwardPass,
    base: ForwardPass,
    labels: Tensor,
    rate: float,
    gradient_clip: float,
) -> dict[str, float]:
    """Move the weights once; return loss, penalty and gradient norm before clipping."""
    loss = method.task_loss(tuned, labels)
    penalty = method.penalty(tuned, base)
    optimizer.zero_grad(set_to_none=True)
    (loss + penalty).backward()
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    norm = nn.utils.clip_grad_norm_(weights, gradient_clip)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return {"loss": loss.item(), "penalty": penalty.item(), "gradient_norm": norm.item()}


def learning_rate(number: int, total: int, schedule: Schedule) -> float:
    """Linear warm-up, then cosine to zero. `number` counts from 0."""
    warmup = min(schedule.warmup_steps, total // 10)
    if number < warmup:
        return schedule.learning_rate * (number + 1) / warmup
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * (number - warmup) / (total - warmup)))


def accuracy(encoder: Encoder, head: Head, pictures: Pictures) -> float:
    """Return the share of right answers of encoder and head."""
    right = 0
    with torch.no_grad():
        for chosen in torch.arange(len(pictures.labels)).split(256):
            images, labels = pictures.batch(chosen)
            right += int((head(encoder.see(images)).argmax(dim=1).cpu() == labels).sum())
    return right / len(pictures.labels)


def _snapshot(encoder: Encoder) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in encoder.weights.items()}
