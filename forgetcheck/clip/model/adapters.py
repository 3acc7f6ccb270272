"""Adapting: an adapter that isn't merged, found by fit on the weights of its base and merged into them."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from forgetcheck.clip.formats.base import Weights, refuse_not_finite, shown
from forgetcheck.clip.formats.lora import (
    MERGE,
    Delta,
    Settings,
    changed,
    misfit,
    refuse_odd_deltas,
    take_deltas,
)
from forgetcheck.clip.formats.naming import ANY_HEAD
from forgetcheck.clip.formats.transformers_clip import Place, clip_place, whole_tensor
from forgetcheck.clip.formats.transformers_siglip import siglip_place
from forgetcheck.clip.model.tensor_names import canonical_name
from forgetcheck.clip.model.towers import VISUAL, digest
from forgetcheck.errors import CheckpointError, InputError

_BEFORE = ("", "visual.", "text.", "vision_model.", "text_model.")  # what names of a tower alone lack
_TOWERS = {"visual", "vision_model", "text", "text_model", "transformer", "trunk"}  # never a wrapper's name
_INSIDE = _TOWERS | {"encoder", "embeddings", "head"}  # what is in one of them is never outside of the CLIP
_LEAVES = {"weight": "bias", "in_proj_weight": "in_proj_bias"}  # what LoRA changes of a module
_WHOLE = ("CLIP", "CustomTextCLIP", "CoCa")  # open_clip's classes that have both towers
_TRIED = 8  # modules whose names suggest what is before all of them
_MENTIONED = 3
_LIKE_A_CLIP = re.compile(r"clip|vit|siglip|rn50|rn101|convnext", re.IGNORECASE)
_PATCH = re.compile(r"patch-?(\d+)", re.IGNORECASE)

_Spelling = Callable[[str], Place]


@dataclass(frozen=True)
class Adapter:
    """An adapter as it lies on the disk."""

    path: Path  # of its weights
    settings: Settings
    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)  # how far training was

    def record(self) -> dict[str, Any]:
        """Return what a report says of it."""
        settings = self.settings
        return {
            "kind": settings.describe(),
            "alpha": settings.alpha,
            "targets": list(settings.targets),
            "trained_on": settings.base,
            "digest": digest(self.tensors),
        }


def _own_name(name: str) -> Place:
    return Place(name, whole_tensor)


@dataclass(frozen=True)
class _Fit:
    """How names of an adapter become its base's: what is taken off, what is put before, the spelling."""

    off: str = ""
    on: str = ""
    spelling: _Spelling = _own_name

    def place(self, name: str) -> Place | None:
        """Return where a tensor lies; None for what is outside of the model that the others are of."""
        if not name.startswith(self.off):
            return None
        return self.spelling(self.on + name.removeprefix(self.off))


@dataclass
class _Draft:
    """Weights of a base while they are changed; the base's own tensors stay as they are."""

    tensors: dict[str, Tensor]
    fresh: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.own = {canonical_name(name): name for name in self.tensors}

    def find(self, place: Place | None) -> Tensor | None:
        """Return what lies at a place, None where there is nothing."""
        name = self.own.get(canonical_name(place.name)) if place is not None else None
        try:
            return None if name is None or place is None else place.view(self.tensors[name])
        except (IndexError, RuntimeError):  # a tensor of other dimensions than this place has
            return None

    def write(self, place: Place, value: Tensor) -> None:
        name = self.own[canonical_name(place.name)]
        kind = torch.promote_types(self.tensors[name].dtype, value.dtype)
        if name not in self.fresh or self.tensors[name].dtype != kind:
            self.tensors[name] = self.tensors[name].to(kind, copy=True)
            self.fresh.add(name)
        place.view(self.tensors[name]).copy_(value)

    def slot(self, fit: _Fit, module: str) -> tuple[Place, Place] | None:
        """Return where the weight and the bias of a module lie; None where it has no weight."""
        for weight, bias in _LEAVES.items():
            place, beside = fit.place(f"{module}.{weight}"), fit.place(f"{module}.{bias}")
            if place is not None and beside is not None and self.find(place) is not None:
                return place, beside
        return None


def merge(base: Weights, adapter: Adapter, name: str) -> Weights:
    """Return the weights of the base `name`, changed as `merge_and_unload` of PEFT changes them.

    The adapter's names are open_clip's or transformers', with whatever before them; the base has open_clip's.
    Raises InputError for an adapter of another model, by the first tensor that doesn't fit.
    """
    path, settings = adapter.path, adapter.settings
    taken = take_deltas(path, adapter.tensors)
    refuse_odd_deltas(path, taken.deltas, settings)
    draft = _Draft(dict(base.tensors))
    fit = _find_fit(adapter, taken.deltas, list(taken.others), draft, name)
    for delta in taken.deltas.values():
        _apply(draft, fit, delta, adapter, name)
    left = [each for each, value in taken.others.items() if not _put(draft, fit, each, value, path, name)]
    heads = {match[1]: taken.others[each] for each in left if (match := ANY_HEAD.search(each))}
    left = [each for each in left if not ANY_HEAD.search(each)]
    _refuse_strange(adapter, left, name)
    copies = len(taken.others) - len(left) - len(heads)
    return Weights(
        draft.tensors,
        f"{settings.describe()}, merged into '{name}'",
        (*adapter.notes, *_merging(taken.deltas, copies, settings, name)),
        doubts=(f"Left out what is no part of the CLIP: {some(left)}.",) if left else (),
        head=heads.get("classification_head.weight"),
        head_bias=heads.get("classification_head.bias"),
        counters=adapter.counters,
        adapter=adapter.record(),
    )


def merge_within(path: Path, tensors: Mapping[str, Tensor], settings: Settings) -> dict[str, Tensor]:
    """Merge the deltas of a whole state dict of PEFT into the weights that lie beside them."""
    adapter = Adapter(path, settings, tensors)
    taken = take_deltas(path, tensors)
    refuse_odd_deltas(path, taken.deltas, settings)
    draft = _Draft(taken.others)
    for delta in taken.deltas.values():
        _apply(draft, _Fit(), delta, adapter, path.name)
    return draft.tensors


def _merging(deltas: Mapping[str, Delta], copies: int, settings: Settings, name: str) -> Iterator[str]:
    """Say what was done."""
    whole = f" and {copies} whole tensors" if copies else ""
    yield (
        f"Merged into the weights of '{name}': {len(deltas)} changes by {settings.describe()} (alpha "
        f"{settings.alpha:g}){whole}."
    )
    if any(delta.twice for delta in deltas.values()):
        yield "The change of out_proj in torch's attention counts twice, as PEFT computes and merges it."


def _apply(draft: _Draft, fit: _Fit, delta: Delta, adapter: Adapter, name: str) -> None:
    """Change one weight."""
    slot = draft.slot(fit, delta.module)
    if slot is None:
        raise _other_base(adapter, name, f"it changes '{shown(delta.module)}', which that doesn't have")
    place, beside = slot
    weight, bias = draft.find(place), draft.find(beside)
    assert weight is not None
    if "bias" in delta.parts and place.view is whole_tensor and place.name.endswith("in_proj_weight"):
        raise CheckpointError(
            f"'{adapter.path}' has a lora_bias at torch's attention, which PEFT doesn't merge."
        )
    problem = misfit(delta, weight, bias)
    if problem:
        raise _other_base(adapter, name, f"at '{shown(delta.module)}', {problem}")
    scale = adapter.settings.scale(delta.layer, delta.rank)
    value = changed(weight, delta, scale)
    if value is not None:
        refuse_not_finite(adapter.path, {delta.module: value})
        draft.write(place, value)
    if "bias" in delta.parts and bias is not None and bool(delta.parts["bias"].any()):
        draft.write(beside, bias.float() + delta.parts["bias"].float() * scale)


def _put(draft: _Draft, fit: _Fit, name: str, value: Tensor, path: Path, base: str) -> bool:
    """Put a tensor that was trained as a whole in its place; tell whether it has one."""
    place = fit.place(name)
    there = draft.find(place)
    if place is None or there is None:
        return False
    if value.shape != there.shape and not (value.numel() == there.numel() == 1):
        raise CheckpointError(
            f"'{path}' is of another model than '{base}': '{shown(name)}' is {tuple(value.shape)}, not "
            f"{tuple(there.shape)}; name the base that it was trained on."
        )
    value = value.reshape(there.shape)
    if not torch.equal(there.float(), value.float()):
        draft.write(place, value)
    return True


def _find_fit(
    adapter: Adapter, deltas: Mapping[str, Delta], others: list[str], draft: _Draft, name: str
) -> _Fit:
    """Find what an adapter's names must lose or gain to be those of the base."""
    modules = list(deltas) or [other.rpartition(".")[0] for other in others]
    fits = [
        _Fit(off, on, spelling)
        for module in islice(modules, _TRIED)
        for off, on in _cuts(module)
        for spelling in (_own_name, clip_place, siglip_place)
        if _lands(adapter.settings, draft.slot(_Fit(off, on, spelling), module))
    ]
    if not fits:
        raise _other_base(
            adapter,
            name,
            f"it changes '{shown(modules[0]) if modules else 'nothing'}', which that doesn't have",
        )
    marked = [(_marks(fit, modules, deltas, draft), fit) for fit in dict.fromkeys(fits)]
    best = max(mark for mark, _ in marked)
    places = {_landing(fit, modules, draft): fit for mark, fit in marked if mark == best}
    if len(places) > 1 and adapter.settings.model in _WHOLE:
        places = {where: fit for where, fit in places.items() if not fit.on} or places
    if len(places) > 1:
        raise CheckpointError(
            f"'{adapter.path}' fits both towers of '{name}', and doesn't say which it was trained on: "
            f"{MERGE}."
        )
    return next(iter(places.values()))


def _cuts(module: str) -> Iterator[tuple[str, str]]:
    """Yield what may be taken off a name and put before it: wrappers go, and the tower of one alone comes."""
    parts = module.split(".")
    for count in range(len(parts)):
        if _TOWERS & set(parts[:count]):
            return
        yield from (("".join(f"{part}." for part in parts[:count]), on) for on in _BEFORE)


def _lands(settings: Settings, slot: tuple[Place, Place] | None) -> bool:
    """Tell whether a module is there, in the tower that the config names by its class, if it names one."""
    if slot is None:
        return False
    in_image = slot[0].name.startswith(VISUAL)
    return not ("Vision" in settings.model and not in_image) and not ("Text" in settings.model and in_image)


def _marks(fit: _Fit, modules: list[str], deltas: Mapping[str, Delta], draft: _Draft) -> tuple[int, int, int]:
    """Count the modules that fit by name and shape, and by name; the least taken off is best."""
    shaped = named = 0
    for module in modules:
        slot = draft.slot(fit, module)
        if slot is None:
            continue
        named += 1
        weight = draft.find(slot[0])
        fits = module not in deltas or (
            weight is not None and not misfit(deltas[module], weight, draft.find(slot[1]))
        )
        shaped += fits
    return shaped, named, -len(fit.off)


def _landing(fit: _Fit, modules: list[str], draft: _Draft) -> str:
    slots = (draft.slot(fit, module) for module in modules)
    return next(canonical_name(slot[0].name) for slot in slots if slot is not None)


def _refuse_strange(adapter: Adapter, left: list[str], name: str) -> None:
    """What lies in no tower may be a head; anything else that the base lacks is of another model."""
    settings = adapter.settings
    for each in left:
        outside = not _INSIDE & set(each.split("."))
        trained = settings.saved or each.endswith("bias")
        if not (outside and trained):
            raise _other_base(adapter, name, f"it holds '{shown(each)}', which that doesn't have")


def _other_base(adapter: Adapter, name: str, why: str) -> InputError:
    recorded = adapter.settings.base
    hint = f" (it says '{shown(recorded)}')" if recorded else ""
    return InputError(
        f"'{adapter.path}' is of another model than '{name}': {why}; name the base that it was trained "
        f"on{hint}."
    )


def some(names: list[str]) -> str:
    more = f" and {len(names) - _MENTIONED:,} more" if names[_MENTIONED:] else ""
    return f"{', '.join(map(shown, names[:_MENTIONED]))}{more}"


def about_base(recorded: str, words: tuple[str, ...], config: Mapping[str, Any]) -> tuple[str, bool]:
    """Compare the base that an adapter records with the one that the user named; nothing is opened.

    `words` are what the user's is called: the parts of its path, or open_clip's name and tag. Returns a note,
    and whether they plainly differ.
    """
    called = re.split(r"[/\\]", recorded.rstrip("/\\"))[-1].casefold()
    named = [word.casefold() for word in words]
    if not called or called in named:
        return "", False
    patch, own = _PATCH.search(called), config.get("model_cfg", {}).get("vision_cfg", {}).get("patch_size")
    differs = bool(patch and type(own) is int and int(patch[1]) != own) or bool(
        len(named) > 1 and _LIKE_A_CLIP.search(called) and _LIKE_A_CLIP.search(named[-1])
    )
    return f"It says that it was trained on '{shown(recorded)}', not '{shown(words[-1])}'.", differs
