"""What is odd about the data of a tuning, said before step 1: thin classes, names, labels, repeats."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from forgetcheck.batteries.names import doubtful_labels, doubtful_names
from forgetcheck.batteries.repeats import Keyed, brief, in_both_parts, two_labels
from forgetcheck.errors import InputError
from forgetcheck.progress import Progress, Steps, silent
from forgetcheck.tasks.base import Split
from forgetcheck.tuning.data import HELD_OUT, Named, hold_out, refuse_captions

_NAMED = 5  # classes that a warning names, at most


def thin_classes(task: Named) -> tuple[str, ...]:
    """Say what is odd about names and labels, and which classes have too few train images.

    Too few to be learned, or to tell how well they were. Looks at labels only, so that whoever tunes hears
    of it before step 1. Raises InputError for a task that `tune` refuses. All names are in the facts of the
    run.
    """
    refuse_captions(task)
    classes = task.thing.class_names
    what = {
        "no_train_images": "no train images to learn from",
        "too_few_to_hold_out": f"fewer than {HELD_OUT} train images, too few to hold one out for accuracy",
    }
    return (
        *(
            f"{len(names)} of {len(classes)} classes {'has' if len(names) == 1 else 'have'} {what[kind]}: "
            f"{some(names)}"
            for kind, names in thin(classes, *hold_out(task)).items()
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
    refuse_captions(task)
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


def some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:_NAMED]) + more


def thin(classes: Sequence[str], kept: Split, held: Split) -> dict[str, list[str]]:
    """Name the classes without any train image, and those that have some but none held out."""
    learned, checked = set(kept.labels.tolist()), set(held.labels.tolist())
    return {
        "no_train_images": [name for label, name in enumerate(classes) if label not in learned],
        "too_few_to_hold_out": [name for label, name in enumerate(classes) if label in learned - checked],
    }
