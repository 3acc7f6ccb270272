"""What a reader must know of the data of a question: warnings that travel with its answers."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from forgetcheck.batteries.brightness import brightest
from forgetcheck.batteries.names import doubtful_labels, doubtful_names, some
from forgetcheck.batteries.repeats import Keyed, in_both_parts, tuned_on
from forgetcheck.clip.features.encoded_task import EncodedTask
from forgetcheck.clip.model.heads import equal_rows
from forgetcheck.retention.answers import Predictions
from forgetcheck.tasks.base import SplitName


def of_data(base: EncodedTask) -> tuple[str, ...]:
    """Say what is odd about images and labels, whoever is asked about them."""
    told = brightest(base.task.split("test"))
    return (
        *(f"left out: {text}" for text in base.task.left_out),
        *_untested(base),
        *([f"images: {told}"] if told else []),
        *_mislabelled(base),
    )


def of_tuning(base: EncodedTask, seen: NDArray[np.uint64] | None) -> list[str]:
    """Say which test images a checkpoint has `seen` while it was tuned, where their bytes are at hand."""
    if seen is None or "test" not in base.splits:
        return []
    split = base.task.split("test")
    if split.mark is None or split.contents is None:
        return []
    split.contents()  # which every audit takes, and which reads each of them once
    told = tuned_on(split.ids, [split.mark(place) for place in range(len(split))], seen)
    return [f"images: {told}"] if told else []


def of_reading(base: EncodedTask, tuned: EncodedTask) -> Iterator[str]:
    """Say which images could not be read, and which captions are longer than a model reads."""
    yield from (f"left out: {part.unread}" for part in base.splits.values() if part.unread)
    parts = [part for model in (base, tuned) for part in model.splits.values()]
    told = dict.fromkeys(part.captions.cut_short for part in parts if part.captions)
    yield from (f"not read: {text}" for text in told if text)


def of_prompts(seen: EncodedTask, who: str = "the model") -> list[str]:
    """Name classes whose prompts are one and the same to the text tower: cut alike, or but for case."""
    names, pairs = seen.task.class_names, seen.equal_prompts
    if not pairs:
        return []
    i, j = pairs[0]
    return [
        f"{len(pairs):,} class names read the same as another to {who}, such as '{names[i]}' and "
        f"'{names[j]}': the first of them always wins; name them apart"
    ]


def of_tuned_prompts(reader: EncodedTask, base: EncodedTask) -> list[str]:
    """Name classes that only the tuned text tower can't tell apart; `reader` is who reads the prompts."""
    return [] if reader is base or base.equal_prompts else of_prompts(reader, "the tuned model")


def of_training(who: str, reply: Predictions) -> list[str]:
    """Say where a probe that learns stopped before it was done."""
    if reply.notes.get("converged", True):
        return []
    return [f"the {who} probe stopped at gradient {reply.notes['gradient']:.1e}, short of its tolerance"]


def _untested(seen: EncodedTask) -> list[str]:
    """Say which classes nothing is measured of, since none of their images is asked."""
    if seen.task.labelled_by != "class" or "test" not in seen.splits:
        return []
    names = seen.task.class_names
    missing = sorted(set(range(len(names))) - set(seen.splits["test"].labels.tolist()))
    if not missing:
        return []
    return [
        f"left out: {len(missing):,} of {len(names):,} classes have no test images, such as "
        f"{some([repr(names[place]) for place in missing])}: nothing is measured of them"
    ]


def _mislabelled(seen: EncodedTask) -> list[str]:
    """Say what is odd about the labels of a task: their names, and equal images where none should be."""
    if seen.task.labelled_by != "class":
        return []
    names, parts = seen.task.class_names, _as_seen(seen)
    told = [
        *doubtful_names(names),
        *doubtful_labels(names, [np.array(part.labels) for part in parts.values()]),
    ]
    for name, part in parts.items():
        twice = part.contradicted()
        if twice:
            i, j = twice[0]
            told.append(
                f"{len(twice):,} {name} images are equal to another with another label, such as one of "
                f"'{names[part.labels[i]]}' and one of '{names[part.labels[j]]}': whatever is answered, one "
                "is wrong"
            )
    both = in_both_parts(parts["test"], parts["train"], "as the model sees them") if len(parts) > 1 else ""
    return [*(f"labels: {text}" for text in told), *([f"images: {both}"] if both else [])]


def _as_seen(seen: EncodedTask) -> dict[SplitName, Keyed]:
    """Number the images of all parts, so that what looks one to the model has one number."""
    rows = np.concatenate([part.embeddings.numpy() for part in seen.splits.values()])
    numbers = list(range(len(rows)))
    for first, place in equal_rows(rows):
        numbers[place] = first
    parts, start = {}, 0
    for name, part in seen.splits.items():
        ids, end = seen.task.split(name).ids, start + len(part.labels)
        kept = ids if part.kept is None else [ids[place] for place in part.kept]
        parts[name] = Keyed(kept, part.labels.tolist(), numbers[start:end])
        start = end
    return parts
