"""Parts of a sharded checkpoint that are named alone, or missing: told before anything else goes wrong."""

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from forgetcheck.clip.formats.safetensors_files import INDEXES, read_index
from forgetcheck.errors import CheckpointError, InputError

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})\.(safetensors|bin)")
_WHOLE = ("token_embedding.weight", "logit_scale", "conv1.weight", "patch_embedding.weight")
_SHOWN = 3


def refuse_missing(index: Path, parts: Sequence[Path]) -> None:
    """Refuse an index whose parts aren't all there, and name those that are missing."""
    missing = [part.name for part in parts if not part.exists()]
    if missing:
        more = f" and {len(missing) - _SHOWN:,} more" if missing[_SHOWN:] else ""
        listed = ", ".join(f"'{name}'" for name in missing[:_SHOWN])
        raise CheckpointError(
            f"'{index}' lists {len(parts)} parts, of which {len(missing)} are missing: {listed}{more}; copy "
            "or download them into its folder."
        )


def refuse_part(path: Path, names: Collection[str]) -> None:
    """Refuse a part of a checkpoint in the place of the whole, unless it has what only a whole has.

    An index beside it says what it is a part of; without one its name says so.
    """
    for listing in (path.parent / name for name in INDEXES):
        parts = _parts_in(listing)
        if path in parts and len(parts) > 1:
            raise CheckpointError(
                f"'{path}' is one of {len(parts)} parts of a checkpoint: name their index, '{listing}', or "
                "the folder."
            )
    found = _PART.fullmatch(path.name)
    ends = {ending for ending in _WHOLE for name in names if name.endswith(ending)}
    if found and int(found["total"]) > 1 and not (len(ends) > 2 and set(_WHOLE[:2]) <= ends):
        index = f"{found['stem']}{path.suffix}.index.json"
        raise CheckpointError(
            f"'{path}' is part {int(found['number'])} of {int(found['total'])} of a checkpoint, and no index "
            f"that can be read ({index}) is beside it: copy it and the other parts there."
        )


def _parts_in(index: Path) -> Collection[Path]:
    """List the parts of an index; none where it can't be read, which is told to whoever names it."""
    with suppress(InputError, OSError):
        return read_index(index)
    return ()
