"""A checkpoint of any kind as a whole CLIP: read, tried in its model, under its model's own names."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from forgetcheck.clip.formats.base import shown
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.load import OF_OPEN_CLIP, load_encoder, read_whole, scalars_shaped, shapes
from forgetcheck.clip.model.read import Weights, read_metadata
from forgetcheck.clip.model.tensor_names import harmless, renamed
from forgetcheck.clip.model.towers import digests
from forgetcheck.clip.saving.write import LINEAGE, SCHEMA, Clip
from forgetcheck.documents import parse_json
from forgetcheck.errors import CheckpointError

_OWN = ("schema", "forgetcheck", "digests", "read")  # of a lineage, said anew by whoever writes it


@dataclass(frozen=True)
class _Found:
    """A whole CLIP and how it was read."""

    clip: Clip
    family: str
    notes: tuple[str, ...]

    @property
    def precision(self) -> str:
        """The stored precision, the one of most tensors first."""
        kinds = Counter(value.dtype for value in self.clip.tensors.values() if value.is_floating_point())
        return " and ".join(str(kind).removeprefix("torch.") for kind, _ in kinds.most_common())


def read_clip(
    text: str,
    model: str | None = None,
    weights: str = "",
    base: str = "",
    allow_download: bool = False,
) -> _Found:
    """Read the checkpoint that `text` names and load it; raises InputError for what doesn't fit its model.

    `base` names the whole model that an adapter is merged into, or whose text tower an image tower takes.
    """
    whole = find_checkpoint(base, model, allow_download=allow_download) if base else None
    checkpoint = find_checkpoint(text, model, whole, weights=weights, allow_download=allow_download)
    if base and checkpoint.adapts is None and checkpoint.text_from is None:
        raise CheckpointError(f"'{text}' is a whole model, which needs no --base: leave it out.")
    encoder = load_encoder(checkpoint, "cpu")
    own, path = encoder.model.state_dict(), checkpoint.weights
    stored = read_whole(checkpoint, finite=True) or Weights(own, OF_OPEN_CLIP)
    tensors = fitted(checkpoint.name, stored.tensors, own)
    made, notes = earlier(path, digests(tensors))
    made = made_of(encoder.origin.adapter) or made
    if stored.head is not None or checkpoint.head is not None:
        notes = (*notes, "Left out the fine-tuned head: what is written is the CLIP alone.")
    read = {"name": checkpoint.name, "family": stored.family, "notes": stored.notes}
    clip = Clip(checkpoint.config, tensors, {**made, "read": read}, tokenizer=encoder.tokenizer)
    return _Found(clip, stored.family, (*stored.notes, *notes))


def made_of(adapter: Mapping[str, Any]) -> dict[str, Any]:
    """Return the lineage of merged weights: their base and the adapter, each with its digest."""
    if not adapter:
        return {}
    return {"base": adapter["base"], "adapter": {key: adapter[key] for key in adapter if key != "base"}}


def fitted(name: str, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return stored tensors under the names of the model that they were tried in, in its order.

    A buffer that no prediction depends on may be the model's own; everything else must have been stored.
    """
    stored = scalars_shaped(renamed(tensors, own), shapes(own))
    missing = [key for key in own if key not in stored and not harmless(key)]
    unknown = [key for key in stored if key not in own]
    if missing or unknown:
        lack = f"lacks '{missing[0]}'" if missing else f"has '{shown(unknown[0])}', which its model lacks"
        raise CheckpointError(f"'{name}' {lack}: only a whole CLIP with both towers is converted.")
    return {key: stored.get(key, value) for key, value in own.items()}


def earlier(path: Path | None, found: Mapping[str, str]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return what the file says its weights were made from, if it speaks of those found in it; and a note."""
    text = read_metadata(path).get(LINEAGE) if path is not None and path.is_file() else None
    if text is None:
        return {}, ()
    try:
        record = parse_json(text)
    except ValueError:
        record = {}
    if record.get("schema") != SCHEMA or record.get("digests") != found:
        return {}, ("Left out what the file says of its making: it speaks of other weights.",)
    return {key: value for key, value in record.items() if key not in _OWN}, ()
