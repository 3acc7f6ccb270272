"""tune(): start -> step -> finish. The only place where weights change."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from forgetcheck import provenance
from forgetcheck.clip.identity.activation import doubt_activation
from forgetcheck.clip.model.checkpoint import Checkpoint
from forgetcheck.clip.model.heads import Head, prompt_head
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.clip.model.towers import VISUAL
from forgetcheck.clip.model.view import HEAD_NAME, Learner, Pair, View
from forgetcheck.clip.saving.run_folder import Run
from forgetcheck.errors import InputError
from forgetcheck.progress import Progress, silent
from forgetcheck.regularizers.base import NEW, Memory, Regularizer
from forgetcheck.tasks.base import Task
from forgetcheck.tuning.data import Named, Pictures, Stream, refuse_captions, split_off, streams_of
from forgetcheck.tuning.data_warnings import some, thin
from forgetcheck.tuning.schedule import Schedule, learning_rate
from forgetcheck.tuning.snapshot import Snapshot, restore, taken
from forgetcheck.tuning.together import Together


def tune(
    checkpoint: Checkpoint,
    task: Named,
    regularizer: Named,
    schedule: Schedule,
    device: str = "auto",
    progress: Progress = silent,
    since: Snapshot | None = None,
    keep: Callable[[Snapshot], None] | None = None,
    every: int = 1,
) -> Run:
    """Fine-tune a checkpoint on a task and return everything worth keeping.

    Deterministic on one machine, device and thread count. Batch-norm statistics stay as they are,
    so that the features of an image never depend on its neighbours in the batch. `keep` is handed a snapshot
    `every` so many steps; from one of them, `since`, the same arguments lead to the same weights.
    """
    method: Regularizer = regularizer.thing
    refuse_captions(task)
    base = start(checkpoint, task.thing, device, progress)
    tuned = method.prepare(base.twin(), task.thing)
    training, validation = split_off(task, base.encoder)
    streams = streams_of(method.streams(), training, base.encoder, schedule)
    optimizer = make_optimizer(tuned, method, schedule)
    if since:
        restore(since, tuned, optimizer)
    memory = since.memory if since else method.remember(base, streams, {})
    history = [dict(row) for row in since.history] if since else []
    started = time.monotonic()
    for row in steps(base, tuned, streams, optimizer, method, memory, schedule, progress, len(history)):
        history.append(row)
        if row["step"] % streams[NEW].steps_per_epoch == 0:
            row["validation_accuracy"] = accuracy(kept(method, base, tuned), validation)
        if keep and row["step"] % every == 0:
            keep(taken(row["step"], tuned, optimizer, memory, history))
    seconds = time.monotonic() - started
    finished = kept(method, base, tuned)
    return Run(
        config=checkpoint.config,
        weights=finished.encoder.weights,
        head=finished.head.weight.detach(),
        tokenizer=base.encoder.tokenizer,
        history=history,
        facts={
            "base": {"name": checkpoint.name, "digest": base.encoder.digests},
            "task": _task_record(task),
            "regularizer": _regularizer_record(regularizer),
            "schedule": asdict(schedule),
            "validation_accuracy": history[-1]["validation_accuracy"],
            "samples": _samples_record(task, training, validation),
            "seconds": round(seconds, 3),
            "device": str(base.encoder.device),
            "threads": torch.get_num_threads(),
            "environment": provenance.environment(),
        },
    )


def start(checkpoint: Checkpoint, task: Task, device: str, progress: Progress) -> Learner:
    """Load the base and give it the zero-shot head of the task."""
    encoder = load_encoder(checkpoint, device)
    doubt = doubt_activation(checkpoint, encoder, (task,), progress)
    if doubt:
        raise InputError(f"{doubt} Pass --model NAME, or correct its config.")
    return Learner(encoder, prompt_head(encoder, task.class_names, task.templates).to(encoder.device))


def _task_record(task: Named) -> dict[str, Any]:
    classes = list(task.thing.class_names)
    return {"source": task.spec, "class_names": classes, "folder": str(Path.cwd())}  # where its paths begin


def _samples_record(task: Named, training: Pictures, validation: Pictures) -> dict[str, Any]:
    return {
        "train": len(training.labels),
        "validation": len(validation.labels),
        **thin(task.thing.class_names, training.split, validation.split),
    }


def _regularizer_record(regularizer: Named) -> dict[str, Any]:
    """Say what was used; of several each by itself, under a spec that names them all."""
    method = regularizer.thing
    if isinstance(method, Together):
        parts = [{"spec": each.spec, "options": asdict(each)} for each in method.regularizers]
        return {"spec": regularizer.spec, "options": {}, "together": parts}
    return {"spec": regularizer.spec, "options": asdict(method)}


def make_optimizer(tuned: Learner, method: Regularizer, schedule: Schedule) -> torch.optim.Optimizer:
    """Let only what is trained require a gradient, and decay matrices only."""
    for name, weight in tuned.parameters().items():
        opinion = method.trains(name)
        usual = name.startswith((VISUAL, HEAD_NAME))
        weight.requires_grad_(usual if opinion is None else opinion)
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, weight in trained(tuned).items():
        opinion = method.decays(name)
        groups[weight.ndim >= 2 if opinion is None else opinion].append(weight)
    return torch.optim.AdamW(
        [
            {"params": groups[True], "weight_decay": schedule.weight_decay},
            {"params": groups[False], "weight_decay": 0.0},
        ],
        lr=schedule.learning_rate,
    )


def trained(tuned: Learner) -> dict[str, nn.Parameter]:
    """Return what moves: the towers' matrices, their vectors, the head.

    The norm of the gradient is a sum in this order, and its last bits depend on it.
    """
    moving = {name: weight for name, weight in tuned.parameters().items() if weight.requires_grad}
    return dict(sorted(moving.items(), key=lambda each: (each[0].startswith(HEAD_NAME), each[1].ndim < 2)))


def steps(
    base: Learner,
    tuned: Learner,
    streams: Mapping[str, Stream],
    optimizer: torch.optim.Optimizer,
    method: Regularizer,
    memory: Memory,
    schedule: Schedule,
    progress: Progress,
    since: int,
) -> Iterator[dict[str, Any]]:
    """Take every step that is left and yield a row of history for each."""
    total = schedule.epochs * streams[NEW].steps_per_epoch
    depths = method.depths(base.encoder)
    batches = {name: stream.since(since) for name, stream in streams.items()}
    started, seen = time.monotonic(), 0
    for number in range(since, total):
        on = {
            name: Pair(View(tuned, batch, depths), View(base, batch, depths, frozen=True))
            for name, batch in ((name, next(batches[name])) for name in batches)
        }
        rate = learning_rate(number, total, schedule)
        row = step(optimizer, method, on, memory, rate, schedule.gradient_clip)
        batch = on[NEW].tuned.batch
        if not math.isfinite(row["loss"] + row["penalty"]):
            raise InputError(
                f"the loss became {row['loss'] + row['penalty']} at step {number + 1} of {total}: "
                "nothing was written; use a smaller --learning-rate or strength. Its batch is "
                f"{some(batch.ids)}: look at them if that doesn't help."
            )
        seen += len(batch.labels)
        speed = seen / (time.monotonic() - started)
        note = f"loss {row['loss']:.3f} penalty {row['penalty']:.4f} {speed:.0f} img/s"
        progress("tuning", number + 1, total, note)
        yield {"step": number + 1, "learning_rate": rate, **row}


def step(
    optimizer: torch.optim.Optimizer,
    method: Regularizer,
    on: Mapping[str, Pair],
    memory: Memory,
    rate: float,
    gradient_clip: float,
) -> dict[str, float]:
    """Move the weights once; return loss, penalty and gradient norm before clipping."""
    tuned = on[NEW].tuned
    loss = task_loss(method, tuned)
    penalty = method.penalty(on, memory)
    optimizer.zero_grad(set_to_none=True)
    (loss + penalty).backward()
    norm = nn.utils.clip_grad_norm_(trained(tuned.learner).values(), gradient_clip)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return {"loss": loss.item(), "penalty": penalty.item(), "gradient_norm": norm.item()}


def task_loss(method: Regularizer, tuned: View) -> Tensor:
    """Return the loss on the new task, (): the method's own, or cross-entropy of the head."""
    own = method.task_loss(tuned)
    if own is not None:
        return own
    return F.cross_entropy(tuned.logits, tuned.batch.labels.to(tuned.learner.encoder.device))


def kept(method: Regularizer, base: Learner, tuned: Learner) -> Learner:
    """Return what would be kept if it ended here, independent of what goes on being trained."""
    weights = method.finish(base.weights(), tuned.weights())
    finished = Learner(base.encoder.twin(), Head(weights[HEAD_NAME]))
    finished.load(weights)
    return finished


def accuracy(learner: Learner, pictures: Pictures) -> float:
    """Return the share of right answers of encoder and head."""
    right = 0
    with torch.no_grad():
        for chosen in torch.arange(len(pictures.labels)).split(256):
            batch = pictures.batch(chosen)
            answers = learner.head(learner.encoder.see(batch.images)).argmax(dim=1).cpu()
            right += int((answers == batch.labels).sum())
    return right / len(pictures.labels)
