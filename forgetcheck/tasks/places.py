"""Where a battery's data lies: `${NAME}` of the environment, `~`, and paths relative to its file."""

import os
import re
from pathlib import Path

PLACES = ("path", "root")  # the options of sources that name a file or folder
VARIABLE = re.compile(r"\$\{(\w+)\}")


def settled(option: str, text: str, folder: Path) -> str:
    """Return an option of a source with its variables filled, and a path as seen from `folder`.

    A variable that isn't set stays as it is written: a battery can be read before its data is there.
    """
    filled = VARIABLE.sub(lambda found: os.environ.get(found[1]) or found[0], text)
    if not is_place(option, filled):
        return filled
    place = Path(os.path.expanduser(filled))
    return str(place if place.is_absolute() else folder / place)


def is_place(option: str, text: str) -> bool:
    """Whether an option names a local file or folder: no URL, and nothing that a variable begins."""
    return option in PLACES and "://" not in text and not VARIABLE.match(text)


def unset(source: str) -> tuple[str, ...]:
    """Name the variables in a source that the environment doesn't set, each once."""
    return tuple(name for name in dict.fromkeys(VARIABLE.findall(source)) if not os.environ.get(name))
