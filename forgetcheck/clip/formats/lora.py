"""LoRA of PEFT: what its config says, which tensors change which weight, and the changed weight."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from forgetcheck.clip.formats.base import shown
from forgetcheck.documents import parse_json, read_text, reason
from forgetcheck.errors import CheckpointError

ADAPTER = "adapter_config.json"
MERGE = "merge it into the weights (`model.merge_and_unload()`) and save the whole model"
_MAX_CONFIG = 2**22  # bytes
_AROUND = "base_model.model."  # what PEFT puts before every name
_WRAPPED = re.compile(r"(?<![^.])base_layer\.")
_PART = re.compile(
    r"^(?P<module>.+?)\.lora_(?P<part>A|B|embedding_A|embedding_B|magnitude_vector)"
    r"(?:\.(?P<adapter>[^.]+))??(?:\.(?P<kind>weight|bias))?$"
)
_ANY_PART = re.compile(r"(^|[._])lora_")
_SAVED = re.compile(r"^(?P<module>.+)\.modules_to_save\.(?P<adapter>[^.]+)\.(?P<leaf>.+)$")
_REPLACED = re.compile(r"^(?P<module>.+)\.original_module\.(?P<leaf>.+)$")
_WITHOUT_EFFECT = frozenset((  # once the tensors are there: where they came from, and how training goes
    "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision",
    "inference_mode", "r", "target_modules", "exclude_modules", "lora_alpha", "lora_dropout",
    "fan_in_fan_out",  # PEFT itself ignores it for the layers that a CLIP has
    "bias", "use_rslora", "modules_to_save", "init_lora_weights", "layers_to_transform", "layers_pattern",
    "rank_pattern", "alpha_pattern", "megatron_config", "megatron_core", "loftq_config", "eva_config",
    "corda_config", "lora_ga_config", "use_dora", "qalora_group_size", "velora_config", "runtime_config",
    "lora_bias", "ensure_weight_tying", "ephemeral_gpu_offload", "merge_weights",
))  # fmt: skip
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")  # the others change the base's weights
_PATTERN = re.compile(r"[\w.\\^$*+|()\[\]-]{1,200}")
MOST_REPEATED, MOST_ALTERNATIVES = 2, 4  # of a pattern: bounds the time that matching takes


@dataclass(frozen=True)
class Settings:
    """What adapter_config.json says; nothing that it names is opened or imported."""

    where: Path
    alpha: float
    ranks: frozenset[int]  # that layers may have
    root: bool  # rsLoRA: divided by the root of the rank
    dora: bool
    alphas: tuple[tuple[re.Pattern[str], float], ...] = ()  # of layers by name
    base: str = ""  # the model that it was trained on, as it was called there
    model: str = ""  # the class of that model
    targets: tuple[str, ...] = ()
    saved: tuple[str, ...] = ()  # modules that were trained as a whole

    def scale(self, module: str, rank: int) -> float:
        """Return what the product of the two matrices is multiplied by."""
        own = (alpha for pattern, alpha in self.alphas if pattern.match(module.removeprefix(_AROUND)))
        return next(own, self.alpha) / (math.sqrt(rank) if self.root else rank)

    def describe(self) -> str:
        return f"{'DoRA' if self.dora else 'LoRA'} of rank {', '.join(map(str, sorted(self.ranks)))}"


def read_settings(path: Path) -> Settings:
    """Read adapter_config.json. Raises InputError for any other kind of adapter, which it names."""
    try:
        config = parse_json(read_text(path, _MAX_CONFIG))
    except (OSError, ValueError) as problem:
        raise CheckpointError(f"cannot read '{path}': {reason(problem)}; copy the adapter again.") from None
    _refuse_other_kinds(path, config)
    alpha, rank = config.get("lora_alpha"), config.get("r")
    if alpha is None or not _is_number(alpha) or type(rank) is not int or rank < 1:
        raise CheckpointError(
            f"'{path}' doesn't say lora_alpha and r, the scale of the adapter: copy it again."
        )
    ranks, alphas = _table(path, config, "rank_pattern"), _table(path, config, "alpha_pattern")
    named, mapping = config.get("base_model_name_or_path"), config.get("auto_mapping")
    model = mapping.get("base_model_class") if isinstance(mapping, dict) else None
    return Settings(
        where=path,
        alpha=float(alpha),
        ranks=frozenset((rank, *(int(value) for value in ranks.values()))),
        root=config.get("use_rslora") is True,
        dora=config.get("use_dora") is True,
        alphas=tuple((_compiled(path, key), float(value)) for key, value in alphas.items()),
        base=named if isinstance(named, str) else "",
        model=model if isinstance(model, str) else "",
        targets=_words(config.get("target_modules")),
        saved=_words(config.get("modules_to_save")),
    )


def _refuse_other_kinds(path: Path, config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        said = f"of the kind '{shown(kind)}'" if isinstance(kind, str) else "that doesn't say its kind"
        raise CheckpointError(f"'{path}' is of an adapter {said}, of which only LoRA is read: {MERGE}.")
    start = config.get("init_lora_weights")
    if not any(start is plain or (isinstance(start, str) and start == plain) for plain in _PLAIN_STARTS):
        raise CheckpointError(
            f"'{path}' began with init_lora_weights '{shown(str(start))}', which changes the weights of the "
            f"base as well: {MERGE}."
        )
    odd = [key for key, value in config.items() if value and key not in _WITHOUT_EFFECT]
    if odd:
        raise CheckpointError(f"'{path}' sets '{shown(odd[0])}', which is not plain LoRA or DoRA: {MERGE}.")


def _table(path: Path, config: Mapping[str, Any], key: str) -> dict[str, float]:
    """Return a table of numbers by pattern."""
    found = config.get(key) or {}
    if not isinstance(found, dict) or not all(_is_number(value) for value in found.values()):
        raise CheckpointError(f"'{path}': {key} is no table of numbers; copy the adapter again.")
    return found


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) < 2**31


def _words(value: Any) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else [value]
    return tuple(sorted(item for item in listed if isinstance(item, str)))


def _compiled(path: Path, text: str) -> re.Pattern[str]:
    """Return PEFT's pattern for the end of a name, if its search is sure to come to an end soon."""
    repeated, alternatives = sum(map(text.count, "*+")), text.count("|")
    simple = _PATTERN.fullmatch(text) and repeated <= MOST_REPEATED and alternatives <= MOST_ALTERNATIVES
    try:
        if simple and not re.search(r"\)[*+]", text):
            return re.compile(rf"(.*\.)?({text})$")
    except re.error:
        pass
    raise CheckpointError(f"'{path}': the pattern '{shown(text)}' in alpha_pattern is not read: {MERGE}.")


@dataclass
class Delta:
    """The tensors of LoRA that change one weight."""

    module: str  # whose weight, as the trained model calls it, without PEFT's wrappers
    layer: str  # whose name decides the scale
    parts: dict[str, Tensor] = field(default_factory=dict)  # A, B, magnitude, bias
    embedding: bool = False
    twice: bool = False  # PEFT adds it twice to the out_proj of torch's attention, when it runs and merges

    @property
    def rank(self) -> int:
        return self.parts["A"].shape[0]


@dataclass(frozen=True)
class _Taken:
    """A state dict of PEFT, taken apart."""

    deltas: dict[str, Delta]  # by module
    others: dict[str, Tensor]  # whole tensors, without PEFT's wrappers in their names


def take_deltas(path: Path, tensors: Mapping[str, Tensor]) -> _Taken:
    """Part the tensors of LoRA from whole ones. Raises InputError for what isn't PEFT's."""
    deltas: dict[str, Delta] = {}
    others: dict[str, Tensor] = {}
    adapters: dict[str, None] = {}
    for name, value in tensors.items():
        match = _PART.match(name)
        if match is None or (match["part"] in ("A", "B") and match["kind"] is None):
            if _ANY_PART.search(name):
                raise CheckpointError(
                    f"'{path}' holds '{shown(name)}', which is no adapter of PEFT: {MERGE}."
                )
            plain = _WRAPPED.sub("", name)
            if plain in others:
                raise CheckpointError(
                    f"'{path}' holds '{shown(plain)}' twice, once in a layer of PEFT: {MERGE}."
                )
            others[plain] = value
            continue
        wrapped = match["module"]
        module = _WRAPPED.sub("", wrapped)
        twice = wrapped.endswith(".base_layer.out_proj")
        layer = wrapped.removesuffix(".base_layer.out_proj") if twice else module
        delta = deltas.setdefault(module, Delta(module, layer))
        part = "bias" if match["kind"] == "bias" else match["part"].removeprefix("embedding_")
        delta.embedding |= match["part"].startswith("embedding_")
        delta.twice |= twice
        delta.parts["magnitude" if part == "magnitude_vector" else part] = value
        adapters[match["adapter"] or ""] = None
    if len(adapters) > 1:
        named = " and ".join(f"'{shown(name)}'" for name in adapters)
        raise CheckpointError(f"'{path}' holds several adapters ({named}), and not which is used: {MERGE}.")
    return _Taken(deltas, others)


def with_saved_copies(path: Path, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Put the trained copies of modules (modules_to_save) where PEFT keeps the original; and a note."""
    copies: dict[str, dict[str, Tensor]] = {}
    rest: dict[str, Tensor] = {}
    originals: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if match := _SAVED.match(name):
            copies.setdefault(f"{match['module']}.{match['leaf']}", {})[match["adapter"]] = value
        elif match := _REPLACED.match(name):
            originals[f"{match['module']}.{match['leaf']}"] = value
        else:
            rest[name] = value
    if not copies and not originals:
        return tensors, ""
    for name, found in copies.items():
        first, *others = found.values()
        if not all(first.shape == other.shape and torch.equal(first, other) for other in others):
            named = " and ".join(f"'{shown(each)}'" for each in found)
            raise CheckpointError(
                f"'{path}' holds '{shown(name)}' as it was trained with {named}, and not which is used: "
                f"{MERGE}."
            )
    trained = {name: next(iter(found.values())) for name, found in copies.items()}
    note = f"Read {len(trained)} tensors as they were trained (modules_to_save)." if trained else ""
    return {**rest, **originals, **trained}, note


def refuse_odd_deltas(path: Path, deltas: Mapping[str, Delta], settings: Settings) -> None:
    """Compare the tensors with the config before anything is computed from them."""
    for module, delta in deltas.items():
        lacking = [part for part in ("A", "B") if part not in delta.parts]
        if lacking:
            raise CheckpointError(
                f"'{path}' lacks lora_{lacking[0]} of '{shown(module)}': copy or save it again."
            )
        if ("magnitude" in delta.parts) != settings.dora:
            said = "lacks" if settings.dora else "holds"
            raise CheckpointError(
                f"'{path}' {said} the magnitude of '{shown(module)}', which {settings.where.name} "
                "contradicts (use_dora): the files belong to two adapters; copy both again."
            )
        if min(map(len, map(Tensor.size, delta.parts.values())), default=1) == 0 or delta.rank == 0:
            raise CheckpointError(f"'{path}' holds nothing of '{shown(module)}': it was saved in parts.")
        if delta.rank not in settings.ranks:
            raise CheckpointError(
                f"'{path}' has rank {delta.rank} at '{shown(module)}', {settings.where.name} says "
                f"{', '.join(map(str, sorted(settings.ranks)))}: the files belong to two adapters; copy both."
            )


def misfit(delta: Delta, weight: Tensor, bias: Tensor | None) -> str:
    """Name the first tensor that doesn't fit the weight it changes, with both shapes; empty if all fit."""
    shape, rank = tuple(weight.shape), delta.rank
    if len(shape) < 2 or (delta.embedding and len(shape) > 2):
        return f"LoRA changes no weight of {shape}"
    rows, columns = (shape[1], shape[:1]) if delta.embedding else (shape[0], shape[1:])
    wanted = {"A": (rank, *columns), "B": (rows, rank, *(1,) * (len(shape) - 2))}
    for part, expected in wanted.items():
        found = tuple(delta.parts[part].shape)
        if found != expected:
            return f"lora_{part} is {found}, where a weight of {shape} takes {expected}"
    if "magnitude" in delta.parts and delta.parts["magnitude"].numel() != rows:
        found = tuple(delta.parts["magnitude"].shape)
        return f"lora_magnitude_vector is {found}, where a weight of {shape} takes ({rows},)"
    if "bias" in delta.parts and (bias is None or bias.shape != delta.parts["bias"].shape):
        found = tuple(delta.parts["bias"].shape)
        return f"lora_B.bias is {found}, where the base has {'none' if bias is None else tuple(bias.shape)}"
    return ""


def changed(weight: Tensor, delta: Delta, scale: float) -> Tensor | None:
    """Return the weight as `merge_and_unload` of PEFT leaves it, float32; None if nothing changes it."""
    low, high = delta.parts["A"].float(), delta.parts["B"].float()
    product = (high @ low).T if delta.embedding else high.flatten(1) @ low.flatten(1)
    change = product.reshape(weight.shape) * (scale * (2 if delta.twice else 1))
    if "magnitude" not in delta.parts:
        return weight.float() + change if bool(change.any()) else None  # adding 0 would turn -0 into 0
    moved = weight.float().contiguous() + change
    rows = moved.T.contiguous() if delta.embedding else moved.flatten(1)
    factor: Tensor = delta.parts["magnitude"].float().flatten() / torch.linalg.norm(rows, dim=1)
    return moved * (factor if delta.embedding else factor.view(-1, *(1,) * (moved.ndim - 1)))
