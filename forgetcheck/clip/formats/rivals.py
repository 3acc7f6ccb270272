"""Several sets of weights where one is wanted: equal ones are one; of different ones the user chooses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from forgetcheck.clip.formats.base import shown
from forgetcheck.clip.formats.naming import drop_constants, settle_names
from forgetcheck.errors import CheckpointError, InputError

TOP = "."  # names the set that lies in a file without any name around it
OPTION = "--weights"


@dataclass(frozen=True)
class Choice:
    """Which set of weights is meant where a file holds several, as a model beside its moving average."""

    name: str = ""  # the key or prefix it lies under; empty: there must be no choice
    required: bool = True  # whether a file that holds one set only must have it under this name


def choose(
    path: Path, found: Mapping[str, Mapping[str, Tensor]], choice: Choice, strict: bool = False
) -> tuple[str, str]:
    """Return the name of the set to read, and a note on equal ones beside it.

    `found` has the sets by name, the usual one first. What shares less than half of its names and shapes
    with the first is another thing and no rival, unless `strict` says that all are whole models. Raises
    InputError where sets differ and none is chosen.
    """
    first = next(iter(found))
    if choice.name:
        if choice.name in found:
            return choice.name, ""
        if len(found) > 1 or (choice.required and first != TOP):
            raise no_such(path, choice, list(found))
    rivals = [name for name in found if name != first and (strict or _same_model(found[first], found[name]))]
    others = [name for name in rivals if not same_weights(found[first], found[name])]
    if others:
        raise CheckpointError(
            f"'{path}' holds different weights under {_listed([first, *others])}: say which are meant, as "
            f"`{OPTION} {others[0]}`."
        )
    return first, f"The same weights are under {_listed(rivals)}." if rivals else ""


def no_such(path: Path, choice: Choice, names: Sequence[str]) -> InputError:
    return InputError(
        f"'{path}' has no weights under '{choice.name}' ({OPTION}), but under {_listed(list(names))}: "
        "name one of these."
    )


def _listed(names: Mapping[str, object] | list[str]) -> str:
    quoted = [f"'{shown(name)}'" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)


def _same_model(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Tell whether two sets may be weights of one model: at least half of their names and shapes agree."""
    shapes, others = ({name: value.shape for name, value in plain(part).items()} for part in (one, other))
    shared = sum(others.get(name) == shape for name, shape in shapes.items())
    return 2 * shared >= max(len(shapes), len(others), 1)


def same_weights(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Tell whether two sets are equal, up to the rounding of the coarser where their precision differs."""
    first, second = plain(one), plain(other)
    return first.keys() == second.keys() and all(equal(first[name], second[name]) for name in first)


def plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return settle_names(drop_constants(dict(tensors))[0]).tensors


def equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype != other.dtype:
        coarser = max(
            one.dtype, other.dtype, key=lambda kind: torch.finfo(kind).eps if kind.is_floating_point else 0
        )
        one, other = one.to(coarser), other.to(coarser)
    return bool(torch.equal(one, other))
