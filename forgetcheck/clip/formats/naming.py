"""From the names that training code saves to open_clip's: prefixes, leftovers, a head beside the towers."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from torch import Tensor

from forgetcheck.clip.formats.base import shown

PREFIXES = (  # of DataParallel, compile, FSDP, Lightning, wise-ft
    "module.", "_orig_mod.", "_fsdp_wrapped_module.", "model.", "net.", "clip.", "clip_model.",
    "image_encoder.",
)  # fmt: skip
_WRAPPED = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_HEAD = re.compile(r"^classification_head\.(weight|bias)$")
_ADAPTER = re.compile(r"(^|[._])lora_|\.base_layer\.|(^|\.)(hada_w|lokr_w|ia3_)")
ANY_HEAD = re.compile(r"(?:^|\.)(classification_head\.(?:weight|bias))$")
TOWER = re.compile(r"(?:^|(?<=\.))(?:visual|vision_model)\.")  # what an image tower's names begin with
_SCALARS = ("logit_scale", "logit_bias")
_CONSTANT = re.compile(  # OpenAI keeps settings among its tensors; masks and positions were once saved
    r"(^|\.)(input_resolution|context_length|vocab_size|attn_mask|position_ids)$|^n_averaged$"
)
_TEXT_LEFTOVERS = (
    "token_embedding.weight",
    "positional_embedding",
    "text_projection",
    "ln_final.weight",
    "ln_final.bias",
)


@dataclass(frozen=True)
class _Named:
    """Tensors under open_clip's names, and what it took."""

    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()
    head: Tensor | None = None
    head_bias: Tensor | None = None


def settle_names(tensors: dict[str, Tensor]) -> _Named:
    """Bring what training code saved to open_clip's names; each step says what it changed."""
    named = _take_head(_after(_Named(tensors), strip_prefixes, _drop_wrappers))
    return _after(named, strip_prefixes, _drop_text_leftovers, _make_scalars)  # a head has fewer prefixes


def _after(named: _Named, *steps: Callable[[dict[str, Tensor]], tuple[dict[str, Tensor], str]]) -> _Named:
    for step in steps:
        changed, note = step(named.tensors)
        named = replace(named, tensors=changed, notes=(*named.notes, note) if note else named.notes)
    return named


def _take_head(named: _Named) -> _Named:
    """Split off the linear head of wise-ft, FLYP and their kin."""
    tensors = named.tensors
    head = {match[1]: name for name in tensors if (match := _HEAD.match(name))}
    if "weight" not in head or tensors[head["weight"]].ndim != 2 or len(head) == len(tensors):
        return named
    rest = {name: value for name, value in tensors.items() if name not in head.values()}
    weight, bias = tensors[head["weight"]], tensors[head["bias"]] if "bias" in head else None
    note = f"Found a fine-tuned head of {len(weight)} classes beside the towers."
    return _Named(rest, (*named.notes, note), weight, bias)


def _drop_wrappers(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Take out of names what torch.compile, FSDP and activation checkpointing put there for some modules."""
    names = {name: _WRAPPED.sub("", name) for name in tensors}
    count = sum(name != new for name, new in names.items())
    if not count or len(set(names.values())) < len(names):  # two tensors must not become one
        return tensors, ""
    return {names[name]: value for name, value in tensors.items()}, (
        f"Took the wrappers of modules out of {count} names."
    )


def strip_prefixes(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Drop what wrappers put before every name; a prefix that not all names share is a part of the name."""
    stripped = ""
    while prefix := _shared_prefix(tensors):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
        stripped += prefix
    return tensors, f"Stripped '{stripped}' from every name." if stripped else ""


def _shared_prefix(names: Collection[str]) -> str:
    """Return the prefix of a wrapper that all names share, empty if there is none (or no name)."""
    found = (prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in names))
    return next(found, "") if names else ""


@dataclass(frozen=True)
class _Parts:
    """The models that lie in one state dict, each under a prefix of its own."""

    models: dict[str, dict[str, Tensor]]  # by prefix; "" where there is none
    heads: dict[str, Tensor]  # fine-tuned heads, without a prefix
    others: tuple[str, ...]  # names of what belongs to none


def take_apart(tensors: dict[str, Tensor]) -> _Parts:
    """Find where CLIPs are in a state dict, by where their image towers are, whatever is before the names."""
    tensors = _after(_Named(tensors), strip_prefixes, _drop_wrappers).tensors
    prefixes = list(dict.fromkeys(name[: match.start()] for name in tensors if (match := TOWER.search(name))))
    longest = sorted(prefixes, key=len, reverse=True)
    models: dict[str, dict[str, Tensor]] = {prefix: {} for prefix in prefixes}
    heads, others = {}, []
    for name, value in tensors.items():
        head = ANY_HEAD.search(name)
        prefix = next((prefix for prefix in longest if name.startswith(prefix)), None)
        if head:
            heads[head[1]] = value
        elif prefix is None:
            others.append(name)
        else:
            models[prefix][name.removeprefix(prefix)] = value
    return _Parts(models, heads, tuple(others))


def drop_constants(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Leave out what older releases and OpenAI save among the weights."""
    constant = [name for name in tensors if is_constant(name)]
    kept = {name: value for name, value in tensors.items() if not is_constant(name)}
    more = f" and {len(constant) - 3} more" if len(constant) > 3 else ""
    return (
        kept,
        f"Left out what is no weight: {', '.join(map(shown, constant[:3]))}{more}." if constant else "",
    )


def is_constant(name: str) -> bool:
    return bool(_CONSTANT.search(name))


def is_adapter(name: str) -> bool:
    return bool(_ADAPTER.search(name))


def _drop_text_leftovers(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """wise-ft deletes the text transformer and keeps what was around it: that is an image tower only."""
    left = [name for name in _TEXT_LEFTOVERS if name in tensors]
    visual = any(name.startswith("visual.") for name in tensors)
    if not left or not visual or any(name.startswith("transformer.") for name in tensors):
        return tensors, ""
    kept = {name: value for name, value in tensors.items() if name not in left}
    return (
        kept,
        "The text transformer is missing: an image tower only, the rest of the text tower was left out.",
    )


def _make_scalars(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Give logit_scale and logit_bias no dimension, as open_clip's models have them."""
    odd = [name for name in _SCALARS if name in tensors and tensors[name].ndim and tensors[name].numel() == 1]
    reshaped = {name: value.reshape(()) if name in odd else value for name, value in tensors.items()}
    return reshaped, f"Made a scalar of {', '.join(odd)}." if odd else ""
