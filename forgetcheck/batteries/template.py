"""A battery to start from, written from a folder of images."""

from collections import Counter
from pathlib import Path

from forgetcheck import catalog
from forgetcheck.batteries.battery import Expected, TaskEntry
from forgetcheck.batteries.names import some
from forgetcheck.batteries.toml import battery_text, source_text
from forgetcheck.errors import InputError
from forgetcheck.tasks.base import SplitName, Task
from forgetcheck.tasks.reading.naming import FALLBACK

_FEW = 30  # test images below which a class is an anecdote
_HEADING = (
    "What a tuned model must not lose: every [[task]] is a set of images with class names and prompts.",
    "Lint it with `forgetcheck battery check`; ask it with `forgetcheck audit BASE TUNED --battery FILE`.",
)


def start(images: Path, folder: Path) -> str:
    """Return a commented battery of the images, for a file that lies in `folder`.

    Raises InputError for a folder that holds no classes, or can't be written as a source.
    """
    source = source_text("folder", "path", images, folder)
    task: Task = catalog.build("tasks", source, lambda option, text: str(images))
    counts = {part: _counted(task, part) for part in ("train", "test")}
    entry = TaskEntry(
        name=images.resolve().name or "images",
        source=source,
        class_names=list(task.class_names),
        templates=list(FALLBACK),
        expected=Expected(
            classes=len(task.class_names),
            train=counts["train"].total() or None,
            test=counts["test"].total() or None,
        ),
    )
    remarks = {
        "source": "; ".join(("as seen from this file", *task.notes)),
        "class_names": "as they fill the prompts: say what the model should recognise, and keep the order",
        "templates": "say what these pictures are: several are averaged, {} is the class name",
        "expected": f"what was found; `battery check` tells when it changes{_thin(task, counts['test'])}",
    }
    return battery_text(_HEADING, [entry], {entry.name: remarks})


def _counted(task: Task, part: SplitName) -> "Counter[int]":
    """Count the images of each label; a part that isn't there has none."""
    try:
        return Counter(task.split(part).labels.tolist())
    except InputError:
        return Counter()


def _thin(task: Task, counts: "Counter[int]") -> str:
    """Name classes with too few test images to say much of them."""
    few = [f"{name} ({counts[label]})" for label, name in enumerate(task.class_names) if counts[label] < _FEW]
    return f". Fewer than {_FEW} test images: {some(few)}" if few else ""
