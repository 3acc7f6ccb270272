"""Whether the network may be asked: not when its user says so, and not for minutes when it isn't there."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from forgetcheck.errors import InputError

SWITCHES = (
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
)  # of the environment, as the hub's own clients read them
_CONSTANTS = (
    "huggingface_hub.constants",
    "datasets.config",
)  # where those keep what they read at their import
PATIENCE = 5.0  # seconds for the hub's first answer


def offline() -> bool:
    """Whether the environment, or `--offline`, says that nothing may be fetched."""
    said = (os.environ.get(name, "").strip().lower() for name in SWITCHES)
    return any(word in ("1", "on", "yes", "true") for word in said)


@contextmanager
def closed() -> Iterator[None]:
    """Let nothing be fetched inside, by us, by clients of the hub or by the processes we start."""
    switch = SWITCHES[0]
    before = os.environ.get(switch)
    loaded = [sys.modules[name] for name in _CONSTANTS if name in sys.modules]
    known = [(module, getattr(module, switch, False)) for module in loaded]
    os.environ[switch] = "1"
    for module in loaded:
        setattr(module, switch, True)
    try:
        yield
    finally:
        os.environ.pop(switch) if before is None else os.environ.update({switch: before})
        for module, value in known:
            setattr(module, switch, value)


@contextmanager
def hub_asked() -> Iterator[None]:
    """Keep clients of the hub from asking it inside when it doesn't answer: they would try for minutes.

    What is in their cache is found all the same.
    """
    if offline() or hub_answers():
        yield
        return
    with closed():
        yield


@cache
def hub_answers() -> bool:
    """Ask the hub once for a sign of life; a proxy of the environment is used as its clients use it."""
    said: list[bool] = []
    asking = threading.Thread(target=lambda: said.append(_sign_of_life()), daemon=True)
    asking.start()
    asking.join(PATIENCE)  # looking up a name has no time limit of its own
    return said == [True]


def _sign_of_life() -> bool:
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception:  # of the client's own zoo, and of the libraries below it
        return False
    return True


def way_to_have(repository: str, dataset: bool = False) -> str:
    """Say where a repository of the hub was looked for, and which command gets it."""
    from huggingface_hub import constants

    command = f"`hf download {repository}{' --repo-type dataset --local-dir DIR' if dataset else ''}`"
    end = "and name DIR" if dataset else "or set HF_HOME to the folder that has it"
    return f"it was looked for in '{constants.HF_HUB_CACHE}'; run {command} where there is a network, {end}"


def refuse_offline(what: str) -> None:
    """Raise InputError where something would have to be fetched and nothing may be."""
    if offline():
        raise InputError(f"{what} would have to be fetched, and this runs offline: leave --offline out once, "
                        "or unset HF_HUB_OFFLINE.")  # fmt: skip
