"""The passport of a checkpoint: what it is, how that is known, and what its tensors hold."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from forgetcheck.clip.identity.architecture import matching
from forgetcheck.clip.model.checkpoint import Checkpoint, architecture
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.settings import activation, effective, listed, preprocessing, tokenizer
from forgetcheck.clip.model.tensor_stats import TensorStats


@dataclass(frozen=True)
class ModelInfo:
    """Everything about a checkpoint that decides what its predictions are."""

    name: str
    family: str  # how it was read, such as "state dict"
    architectures: tuple[str, ...]  # as open_clip names it; several while it is open, none for a custom one
    inferred: Mapping[str, str]  # what was not told -> what it was concluded from
    undecided: str  # why the architecture is open, empty if it isn't
    activation: str
    image_size: Any  # one number, or height and width
    preprocessing: Mapping[str, Any]  # mean, std, interpolation, resize mode, ...
    tokenizer: str
    context_length: Any
    digests: Mapping[str, str]  # tower -> SHA-256, independent of the stored precision
    census: Mapping[str, TensorStats]  # by tower, of the stored precision
    head: tuple[int, ...] | None  # (c, d) of a fine-tuned head found beside the towers
    notes: tuple[str, ...]  # what the reading stripped, renamed or left out
    adapter: Mapping[str, Any] = field(default_factory=dict)  # what was merged, its digest and its base's

    @property
    def parameters(self) -> int:
        return sum(census.parameters for census in self.census.values())

    def as_record(self) -> dict[str, Any]:
        """Return what audit.json stores: strings, numbers, lists and tables only."""
        return {key: listed(value) for key, value in asdict(self).items()}


def issue(checkpoint: Checkpoint, encoder: Encoder) -> ModelInfo:
    """Write the passport of a checkpoint and of the encoder that was loaded from it."""
    config, origin = checkpoint.config, encoder.origin
    settings = effective(config)
    return ModelInfo(
        name=checkpoint.name,
        family=origin.family,
        architectures=checkpoint.candidates or _names_of(config, encoder),
        inferred=dict(checkpoint.inferred),
        undecided=checkpoint.undecided,
        activation=" or ".join(_activations(checkpoint)),
        image_size=settings["vision_cfg.image_size"],
        preprocessing=preprocessing(config),
        tokenizer=tokenizer(config),
        context_length=settings["text_cfg.context_length"],
        digests=encoder.digests,
        census=origin.census,
        head=None if origin.head is None else tuple(origin.head.shape),
        notes=origin.notes,
        adapter=origin.adapter,
    )


def _activations(checkpoint: Checkpoint) -> list[str]:
    """Return the activation, or those of all candidates while it is open."""
    configs = [*map(architecture, checkpoint.candidates)] or [dict(checkpoint.config)]
    return list(dict.fromkeys(map(activation, configs)))


def _names_of(config: Mapping[str, Any], encoder: Encoder) -> tuple[str, ...]:
    """Return the shortest of open_clip's names for an architecture that does what this config does."""
    shapes = {name: tuple(value.shape) for name, value in encoder.model.state_dict().items()}
    named = [name for name in matching(shapes) if effective(architecture(name)) == effective(config)]
    return tuple(sorted(named, key=lambda name: (len(name), name))[:1])
