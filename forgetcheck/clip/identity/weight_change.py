"""How far tuned weights are from base weights: by tower and by block, one tensor at a time."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from forgetcheck.clip.model.towers import VISUAL

CHUNK = 1 << 22  # entries compared together: bounds the memory for any tensor
_TOWERS = ("visual", "text", "scale")
_SCALES = ("logit_scale", "logit_bias")
_NUMBERED = re.compile(
    r"^(?:visual\.(?:transformer\.resblocks\.|trunk\.(?:blocks|stages|layers)\.|layer)"
    r"|(?:text\.)?transformer\.(?:resblocks|encoder\.layer)\.|text_decoder\.(?:resblocks|cross_attn)\.)(\d+)\."
)
_STATISTIC = re.compile(r"(^|\.)(running_mean|running_var|num_batches_tracked)$")  # of batch norm
_IMAGE_STEM = re.compile(
    r"^visual\.(?:conv\d|bn\d|class_embedding|positional_embedding|ln_pre"
    r"|trunk\.(?:stem|patch_embed|pos_embed|cls_token|reg_token|norm_pre))"
)
_TEXT_STEM = re.compile(
    r"^(?:text\.)?(?:token_embedding|positional_embedding|cls_emb|transformer\.embeddings)"
)


@dataclass(frozen=True)
class Change:
    """How much one block or tower moved."""

    name: str  # such as visual.block.3, or visual for the tower
    tower: str  # visual, text or scale
    tensors: int
    changed: int  # tensors with at least one other bit
    distance: float  # ||tuned - base||, not finite where the weights aren't
    norm: float  # ||base||

    @property
    def equal(self) -> bool:
        """Every bit of every tensor is the same."""
        return self.changed == 0

    @property
    def relative(self) -> float:
        """||tuned - base|| / ||base||; infinite where a block of zeros moved."""
        if self.norm > 0 or self.distance == 0:
            return self.distance / self.norm if self.norm > 0 else 0.0
        return math.inf

    def as_record(self) -> dict[str, Any]:
        relative = self.relative
        return {
            "name": self.name,
            "tower": self.tower,
            "tensors": self.tensors,
            "changed": self.changed,
            "equal": self.equal,
            "relative": relative if math.isfinite(relative) else None,  # JSON has no infinity
        }


@dataclass(frozen=True)
class Comparison:
    """Where and how far two checkpoints of one architecture differ."""

    towers: tuple[Change, ...]
    blocks: tuple[Change, ...]  # from the stem to the projection, image tower first
    only_base: tuple[str, ...]  # names of tensors
    only_tuned: tuple[str, ...]
    reshaped: tuple[str, ...]  # of another shape, so not compared

    @property
    def equal(self) -> bool:
        odd = self.only_base or self.only_tuned or self.reshaped
        return not odd and all(tower.equal for tower in self.towers)

    def as_record(self) -> dict[str, Any]:
        return {
            "equal": self.equal,
            "towers": [tower.as_record() for tower in self.towers],
            "blocks": [block.as_record() for block in self.blocks],
            "only_base": list(self.only_base),
            "only_tuned": list(self.only_tuned),
            "reshaped": list(self.reshaped),
        }


@dataclass(frozen=True)
class _Moved:
    """How much one tensor moved; squared norms."""

    block: str
    changed: bool
    distance: float
    norm: float


def compare(base: Mapping[str, Tensor], tuned: Mapping[str, Tensor]) -> Comparison:
    """Measure ||tuned - base|| / ||base|| per block and per tower, in float64.

    Streams over pieces of tensors: memory doesn't grow with the model. Integers and the statistics of batch
    norm, which are no weights and would outweigh them, count as changed or not but have no distance. A
    tensor stored in another precision is unchanged if it holds the same values.
    """
    shared = [name for name in base if name in tuned]
    same = [name for name in shared if base[name].shape == tuned[name].shape]
    moved = [_measure(block_of(name), base[name], tuned[name], not _STATISTIC.search(name)) for name in same]
    blocks = tuple(sorted(_summed(moved, by_tower=False), key=lambda change: place(change.name)))
    towers = tuple(sorted(_summed(moved, by_tower=True), key=lambda change: _TOWERS.index(change.name)))
    return Comparison(
        towers=towers,
        blocks=blocks,
        only_base=tuple(name for name in base if name not in tuned),
        only_tuned=tuple(name for name in tuned if name not in base),
        reshaped=tuple(name for name in shared if base[name].shape != tuned[name].shape),
    )


def _measure(block: str, base: Tensor, tuned: Tensor, weighed: bool = True) -> _Moved:
    changed, distance, norm = False, 0.0, 0.0
    for here, there in _pieces(base, tuned):
        changed = changed or not _same_bits(here, there)
        if weighed and here.is_floating_point() and there.is_floating_point():
            before = here.double()
            norm += float(before.square().sum())
            distance += float((there.double() - before).square().sum())
    return _Moved(block, changed, distance, norm)


def _pieces(base: Tensor, tuned: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    flat = (value.detach().cpu().reshape(-1).split(CHUNK) for value in (base, tuned))
    yield from zip(*flat, strict=True)


def _same_bits(here: Tensor, there: Tensor) -> bool:
    """Compare bit for bit, so that NaN equals itself and -0.0 is not 0.0; exact also across precisions."""
    if here.dtype != there.dtype:
        here, there = here.double(), there.double()
    return torch.equal(here.view(torch.uint8), there.view(torch.uint8))


def _summed(moved: Sequence[_Moved], by_tower: bool) -> Iterator[Change]:
    groups: dict[str, list[_Moved]] = defaultdict(list)
    for item in moved:
        groups[_tower_of(item.block) if by_tower else item.block].append(item)
    for name, items in groups.items():
        yield Change(
            name=name,
            tower=_tower_of(name),
            tensors=len(items),
            changed=sum(item.changed for item in items),
            distance=math.sqrt(sum(item.distance for item in items)),
            norm=math.sqrt(sum(item.norm for item in items)),
        )


def block_of(name: str) -> str:
    """Name the block a tensor belongs to: stem, numbered block (stage of a ResNet or of timm), or end.

    The numbers are those of the encoder's intermediate features, from 1. CoCa's second text tower counts
    as `text.decoder`.
    """
    if name in _SCALES:
        return name
    side = "visual" if name.startswith(VISUAL) else "text"
    numbered = _NUMBERED.match(name)
    if numbered:
        part = "decoder" if name.startswith("text_decoder.") else "block"
        number = int(numbered.group(1)) + (0 if name.startswith("visual.layer") else 1)
        return f"{side}.{part}.{number}"
    stem = _IMAGE_STEM if side == "visual" else _TEXT_STEM
    return f"{side}.stem" if stem.match(name) else f"{side}.end"


def _tower_of(block: str) -> str:
    return "scale" if block in _SCALES or block == "scale" else block.partition(".")[0]


def place(block: str) -> tuple[int, int, int, str]:
    """Sort blocks as an image or a text passes through them."""
    parts = block.split(".")
    kinds = ("stem", "block", "decoder", "end")
    kind = kinds.index(parts[1]) if len(parts) > 1 else 0
    return _TOWERS.index(_tower_of(block)), kind, int(parts[2]) if len(parts) > 2 else 0, block
