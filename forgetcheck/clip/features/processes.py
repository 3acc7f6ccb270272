"""Team: the processes that torchrun started for one audit. One leads, the others do what it orders."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as torch_distributed

from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.errors import ForgetcheckError, InputError
from forgetcheck.tasks.base import Task

_PATIENCE = timedelta(days=7)  # the others wait while the leader puts its probes; who dies is noticed at once
_BUG = 3
_MOST = 2**20  # processes
_NUMBERS = {  # of torchrun, each with the least and the most that it can be
    "RANK": (0, _MOST),
    "WORLD_SIZE": (1, _MOST),
    "LOCAL_RANK": (0, _MOST),
    "LOCAL_WORLD_SIZE": (1, _MOST),
    "GROUP_RANK": (0, _MOST),
    "GROUP_WORLD_SIZE": (1, _MOST),
    "ROLE_RANK": (0, _MOST),
    "ROLE_WORLD_SIZE": (1, _MOST),
    "MASTER_PORT": (0, 65535),
    "TORCHELASTIC_RESTART_COUNT": (0, _MOST),
    "TORCHELASTIC_MAX_RESTARTS": (0, _MOST),
}


class Dismissed(ForgetcheckError):
    """The leader has ended, with this exit code: so does everybody."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"process 0 of this audit ended with exit code {exit_code}.")
        self.exit_code = exit_code


@dataclass
class Team:
    """How many processes there are, and which of them this is. By itself it is one that leads nobody."""

    rank: int = 0
    size: int = 1
    encoders: Sequence[Encoder] = ()  # everybody's, in one order, so that orders can name them
    tasks: Sequence[Task] = ()
    released: bool = field(default=False, init=False)

    def register(self, encoders: Sequence[Encoder], tasks: Sequence[Task]) -> None:
        """Know what orders are about: everybody has the same, in the same order."""
        self.encoders, self.tasks = encoders, tasks

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def device(self, asked: str) -> str:
        """Give each process of a machine a GPU of its own, where there are GPUs."""
        if self.size == 1 or asked not in ("auto", "cuda") or not torch.cuda.is_available():
            return asked
        return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"

    @contextmanager
    def barrier(self) -> Iterator[None]:
        """Go on together, or refuse together what one of the processes can't do."""
        problem = ""
        try:
            yield
        except InputError as found:
            if self.size == 1:
                raise
            problem = str(found)
        if self.size == 1:
            return
        told: list[Any] = [None] * self.size
        torch_distributed.all_gather_object(told, problem)
        refused = next((text for text in told if text), "")
        if refused:
            raise InputError(refused)

    def order(self, what: Any) -> None:
        """Tell everybody what to do next: something to work on, or the exit code."""
        torch_distributed.broadcast_object_list([what], src=0)

    def ordered(self) -> Any:
        """Wait for the next order. Raises Dismissed for the last one."""
        box: list[Any] = [None]
        torch_distributed.broadcast_object_list(box, src=0)
        if isinstance(box[0], int):
            self.released = True
            raise Dismissed(box[0])
        return box[0]

    def gather(self, own: Any) -> list[Any]:
        """Bring everybody's part to the leader, in order of rank; the others get nothing."""
        everything: list[Any] | None = [None] * self.size if self.leads else None
        torch_distributed.gather_object(own, everything, dst=0)
        return everything or []

    def shutdown(self, exit_code: int) -> None:
        """End everybody with the exit code of the leader; to be called by everybody."""
        if self.released:
            return
        self.released = True
        if self.leads:
            self.order(exit_code)
        else:
            self.ordered()


def _refuse_odd_numbers() -> None:
    """Refuse what torchrun would not have set: torch tells a number that is none by a traceback."""
    numbers = {}
    for name, (least, most) in _NUMBERS.items():
        text = os.environ.get(name, "")
        if text and not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
            raise InputError(
                f"{name}={text}: expected a whole number from {least} to {most:,}, as torchrun sets it; "
                "start with torchrun, or unset TORCHELASTIC_RUN_ID to run alone."
            )
        if text:
            numbers[name] = int(text)
    rank, size = numbers.get("RANK", 0), numbers.get("WORLD_SIZE", _MOST + 1)
    if rank >= size:
        raise InputError(
            f"RANK={rank}: expected less than WORLD_SIZE={size}; start with torchrun, or unset "
            "TORCHELASTIC_RUN_ID to run alone."
        )


@contextmanager
def joined() -> Iterator[Team]:
    """Find the other processes, if torchrun started any, and leave with the exit code of the first."""
    if not torch_distributed.is_available() or not torch_distributed.is_torchelastic_launched():
        yield Team()
        return
    _refuse_odd_numbers()
    try:
        torch_distributed.init_process_group("gloo", timeout=_PATIENCE)
    except (ValueError, RuntimeError) as problem:  # a variable that is missing, an address that nobody has
        why = " ".join(str(problem).split())[:200]
        raise InputError(
            f"the processes of torchrun can't find each other ({why}): start them anew."
        ) from None
    team = Team(torch_distributed.get_rank(), torch_distributed.get_world_size())
    try:
        yield team
        team.shutdown(0)
    except ForgetcheckError as refusal:
        team.shutdown(refusal.exit_code)
        raise
    except Exception:
        if team.leads:
            with suppress(RuntimeError):  # the others may be gone
                team.shutdown(_BUG)
        raise
    finally:
        torch_distributed.destroy_process_group()
