"""Where a battery's data lies: `${NAME}` of the environment, `~`, and paths relative to its file."""

import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from forgetcheck.errors import CannotAsk
from forgetcheck.tasks.base import Task

PLACES = ("path", "root", "classes", "prompts")  # the options of sources that name a file or folder
HUB = "huggingface"  # whose path may be a name on the hub instead
VARIABLE = re.compile(r"\$\{(\w+)\}")


def settled(option: str, text: str, source: str, folder: Path) -> str:
    """Return an option of a source with its variables filled, and a path as seen from `folder`.

    A variable that isn't set stays as it is written: a battery can be read before its data is there.
    """
    filled = os.path.expanduser(VARIABLE.sub(lambda found: os.environ.get(found[1]) or found[0], text))
    return str(folder / filled) if is_relative(option, filled, source, folder) else filled


def is_relative(option: str, text: str, source: str, folder: Path) -> bool:
    """Whether an option names a file or folder by its way from `folder`.

    A URL, an absolute path and one that a variable or `~` begins don't; nor does a name on the hub.
    """
    if option not in PLACES or not text or "://" in text or text.startswith("~") or VARIABLE.match(text):
        return False
    on_hub = source.partition(":")[0] == HUB and option == "path" and not (folder / text).exists()
    return not on_hub and not Path(text).is_absolute()


def same_data(one: Task, other: Task) -> bool:
    """Whether two tasks have the same images and labels: one source however it is spelled, or one content.

    Content is compared only where classes and numbers agree, for all images are read for it.
    """
    first, second = one.origin, other.origin
    if first == second or (type(first) is type(second) and resolved(first) == resolved(second)):
        return True
    try:
        if first.class_names != second.class_names:
            return False
        parts = [task.split("test") for task in (first, second)]
        if len(parts[0]) != len(parts[1]) or not all(part.contents for part in parts):
            return False
        return len({part.contents() for part in parts if part.contents}) == 1
    except CannotAsk:  # the data of one isn't here
        return False


def resolved(task: Task) -> dict[str, Any]:
    """Return the options of a source, with every path as its links lead."""
    options = asdict(task)
    local = {
        name: text for name, text in options.items() if name in PLACES and text and "://" not in str(text)
    }
    return {**options, **{name: os.path.realpath(text) for name, text in local.items()}}


def unset(source: str) -> tuple[str, ...]:
    """Name the variables in a source that the environment doesn't set, each once."""
    return tuple(name for name in dict.fromkeys(VARIABLE.findall(source)) if not os.environ.get(name))
