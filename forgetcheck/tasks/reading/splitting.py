"""Which part a sample belongs to: by the name of a folder or column, or by the hash of its content."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from forgetcheck.errors import DataError
from forgetcheck.tasks.base import SplitName
from forgetcheck.tasks.reading.samples import Samples

_ACCEPTED: Mapping[SplitName, tuple[str, ...]] = {  # the first that is there is meant
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation"),
}
SHORT = {"training": "train", "testing": "test", "valid": "val", "validation": "val"}  # that mean the same
EVERY = tuple(name for names in _ACCEPTED.values() for name in names)
_TEST_SHARE = 3  # one in three is test where the source doesn't say
SPLIT_BY_CONTENT = (
    "it has no parts of its own: a third of each class, chosen by the hash of the content, is test, and "
    "equal images are always in the same part"
)


def parts_among(found: Iterable[str]) -> dict[SplitName, str]:
    """Return the name that each part has in the source, where it has one; case doesn't matter.

    Raises InputError where two names mean one part: which is stale can't be known.
    """
    names = [name for name in found if is_part(name)]
    chosen: dict[SplitName, str] = {}
    for part, accepted in _ACCEPTED.items():
        for meant in dict.fromkeys(map(short, accepted)):
            same = [name for name in names if short(name) == meant]
            if len(same) > 1:
                raise DataError(f"'{same[0]}' and '{same[1]}' are both called {meant}: rename or remove one.")
            if same:
                chosen[part] = same[0]
                break
    return chosen


def short(name: str) -> str:
    """Write the name of a part one way, for tables, whose rows may each spell it otherwise."""
    return SHORT.get(name.casefold(), name.casefold())


def numbered(groups: Sequence[str]) -> NDArray[np.int64] | None:  # (n,)
    """Number the groups that images are in; an image without one is its own. None: no image has any."""
    if not any(groups):
        return None
    numbers: dict[str | int, int] = {}
    keys = (group or place for place, group in enumerate(groups))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def is_part(name: str) -> bool:
    return name.casefold() in EVERY


def left_out(found: Iterable[str], chosen: Mapping[SplitName, str]) -> tuple[str, ...]:
    """Say which parts of a source are not asked."""
    others = [f"'{name}'" for name in found if is_part(name) and name not in chosen.values()]
    return (f"not read, beside '{chosen['test']}': {', '.join(others)}",) if others and chosen else ()


def held_out(samples: Samples) -> NDArray[np.bool_]:
    """Mark the samples that are test: in each class, the third with the lowest hashes. (n,)

    The same bytes, and samples of one group, are always in one part. A new image moves at most one other,
    and a class with a single image is in train.
    """
    units = _units_of(samples)
    chosen = [
        unit
        for members in _units_by_class(samples, units).values()
        for unit in members[: round(len(members) / _TEST_SHARE)]
    ]
    held: NDArray[np.bool_] = np.isin(units, chosen)
    return held


def _units_of(samples: Samples) -> NDArray[np.int64]:
    """Number what may not be torn apart: equal bytes, and what groups tie to them. (n,)"""
    numbers: dict[bytes, int] = {}
    equal = np.array(
        [numbers.setdefault(mark, len(numbers)) for mark in samples.fingerprints], dtype=np.int64
    )
    if samples.groups is None or not len(samples):
        return equal
    from scipy.sparse import coo_array  # a third of a second, which most tasks don't need
    from scipy.sparse.csgraph import connected_components

    groups = np.unique(samples.groups, return_inverse=True)[1] + len(numbers)
    nodes = int(groups.max()) + 1
    ties = coo_array((np.ones(len(equal)), (equal, groups)), shape=(nodes, nodes))
    component = connected_components(ties, directed=False)[1]
    return component[equal].astype(np.int64)


def _units_by_class(samples: Samples, units: NDArray[np.int64]) -> dict[int, list[int]]:
    """List each unit once, under the class of its lowest hash, in the order of those hashes."""
    labels, marks = samples.labels.tolist(), samples.fingerprints
    listed: dict[int, list[int]] = defaultdict(list)
    seen = set()
    for i in sorted(range(len(samples)), key=lambda i: (marks[i], labels[i])):
        if units[i] not in seen:
            seen.add(units[i])
            listed[labels[i]].append(int(units[i]))
    return listed
