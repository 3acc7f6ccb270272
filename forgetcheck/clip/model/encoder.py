"""Encoder: a loaded CLIP, both towers. The only file that knows open_clip's insides."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.func import functional_call

from forgetcheck.clip.model.tensor_stats import TensorStats
from forgetcheck.clip.model.towers import digests
from forgetcheck.errors import CheckpointError

_TEXT_BATCH = 256  # prompts per forward
_STEM_LAYERS = 4  # of a container that is a stem and not a whole tower: convolution, norm, activation, pool


@dataclass(frozen=True)
class Origin:
    """What the weights of an encoder were, as they lay on the disk."""

    family: str = ""  # how they were read, such as "training checkpoint"
    notes: tuple[str, ...] = ()  # what the reading stripped, renamed or left out
    doubts: tuple[str, ...] = ()  # what the reading assumed and a reader of the numbers must know
    census: Mapping[str, TensorStats] = field(default_factory=dict)  # by tower, in the stored precision
    head: Tensor | None = None  # (c, d) a fine-tuned head found beside the towers
    head_bias: Tensor | None = None  # (c,)
    counters: Mapping[str, int] = field(default_factory=dict)  # how far training was: epoch, global_step
    adapter: Mapping[str, Any] = field(default_factory=dict)  # what was merged, and into which base


@dataclass
class Encoder:
    """One CLIP ready to run. `see` and `read` return L2-normalised float32 embeddings."""

    name: str
    config: Mapping[str, Any]
    model: nn.Module
    tokenizer: Callable[[list[str]], Tensor]
    preprocess: Callable[[Image.Image], Tensor]  # RGB image -> (3, h, w)
    device: torch.device
    origin: Origin = field(default_factory=Origin)

    @property
    def weights(self) -> dict[str, Tensor]:
        """Parameters and persistent buffers under open_clip's names; the live tensors, not copies."""
        return self.model.state_dict(keep_vars=True)

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the weights of each tower. Taken once: only for encoders that don't train."""
        return digests(self.model.state_dict())

    @property
    def scale(self) -> float:
        """What cosines are multiplied by to become logits."""
        return float(self.logit_scale.detach().exp())

    @property
    def logit_scale(self) -> Tensor:
        """The logarithm of `scale` as it is trained, ()."""
        learned: Tensor = self.model.logit_scale  # type: ignore[assignment]
        return learned

    @property
    def blocks(self) -> int:
        """How many blocks (transformer layers, ResNet or timm stages) the image tower has."""
        visual: Any = self.model.visual
        if hasattr(visual, "transformer"):
            return len(visual.transformer.resblocks)
        if hasattr(visual, "layer4"):
            return 4
        if hasattr(visual, "trunk") and hasattr(visual.trunk, "feature_info"):
            return len(visual.trunk.feature_info)
        raise CheckpointError(
            f"the image tower of '{self.name}' ({type(visual).__name__}) shows no intermediate features."
        )

    def see(self, images: Tensor) -> Tensor:
        """Embed images (n, 3, h, w) -> (n, d)."""
        features: Tensor = self.model.encode_image(images.to(self.device))  # type: ignore[operator]
        return F.normalize(features.float(), dim=-1)

    def see_through(self, images: Tensor, depths: Sequence[int]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Embed images and return what passes between the blocks, in one forward.

        `depths` count blocks: 0 is what enters the first block, `blocks` what leaves the last.
        Returns the embedding (n, d) and one tensor (n, t, width) per depth, in the order asked for;
        t counts the class token where the tower has one.
        """
        visual: Any = self.model.visual
        # the last block is always asked for: open_clip's ResNet stops at the last index of the list
        inner = sorted({depth for depth in depths if depth > 0} | {self.blocks})
        with _stem_watched(visual) as stem:
            output = visual.forward_intermediates(
                images.to(self.device),
                indices=[depth if hasattr(visual, "layer4") else depth - 1 for depth in inner],
                output_extra_tokens=_has_extra_tokens(visual),
            )
        layers = output["image_intermediates"]
        prefixes = output.get("image_intermediates_prefix", [None] * len(layers))
        found = {
            depth: _as_tokens(layer, prefix)
            for depth, layer, prefix in zip(inner, layers, prefixes, strict=True)
        }
        if stem:
            found[0] = _as_tokens(stem[0], None)
        embedding = F.normalize(output["image_features"].float(), dim=-1)
        return embedding, tuple(found[depth] for depth in depths)

    def read(self, texts: Sequence[str]) -> Tensor:
        """Embed texts -> (t, d); equal texts are read once."""
        distinct = sorted(set(texts), key=lambda text: (len(text), text))  # texts of a batch are as long
        parts = []
        for start in range(0, len(distinct), _TEXT_BATCH):
            tokens = self.tokenizer(distinct[start : start + _TEXT_BATCH]).to(self.device)
            parts.append(self.model.encode_text(tokens).float())  # type: ignore[operator]
        row = {text: number for number, text in enumerate(distinct)}
        return F.normalize(torch.cat(parts), dim=-1)[[row[text] for text in texts]]

    def read_cut(self, texts: Sequence[str]) -> Tensor:
        """Embed texts -> (t, d) as `read` does, but without the padding after the longest of a batch.

        Raises InputError for a text tower that has no meaning without its padding.
        """
        why = why_uncut(self.model)
        if why:
            raise CheckpointError(f"the text tower of '{self.name}' cannot be cut: {why}.")
        return self.without_padding().read(texts)

    def without_padding(self) -> "Encoder":
        """Return an encoder that reads texts so and sees nothing; the weights are shared."""
        return replace(self, model=CutText(self.model, self.padding))

    def places(self, texts: Sequence[str]) -> tuple[int, int]:
        """Return how many tokens the longest text takes, and how many `read` always reads."""
        tokens = self.tokenizer(sorted(set(texts)))
        return _used(tokens, self.padding), tokens.shape[1]

    def cut_short(self, texts: Sequence[str]) -> tuple[int, int]:
        """Return how many texts end beyond what `read` reads, and how many tokens that is.

        Of such a text nothing changes with a word more, nor without its last character.
        """
        most = self.tokenizer([""]).shape[1]
        long = [text for text in texts if len(text.encode()) > most - 2]  # a token is a byte or more
        if not long:
            return 0, most
        tokens = self.tokenizer(long)
        more = self.tokenizer([f"{text} a" for text in long])
        less = self.tokenizer([text[:-1] for text in long])
        same = (tokens == more).all(dim=1) & (tokens == less).all(dim=1)
        return int(same.sum()), most

    @cached_property
    def padding(self) -> int:
        """The token that fills a text up. An empty text ends with it, whatever the tokenizer."""
        return int(self.tokenizer([""])[0, -1])

    def twin(self) -> "Encoder":
        """Return an independent copy, weights included."""
        return replace(self, model=deepcopy(self.model))


class CutText(nn.Module):
    """A CLIP that reads no padding after the longest text of a batch; the weights are shared."""

    def __init__(self, model: nn.Module, padding: int) -> None:
        super().__init__()
        self.model = model
        self.padding = padding

    def encode_text(self, tokens: Tensor) -> Tensor:  # (t, context) -> (t, d)
        length = _used(tokens, self.padding)
        # open_clip adds every positional embedding to the tokens, so the weights are cut with them
        features: Tensor = functional_call(self, self.cut(length), (tokens[:, :length],))
        return features

    def forward(self, tokens: Tensor) -> Tensor:
        features: Tensor = self.model.encode_text(tokens)  # type: ignore[operator]
        return features

    def cut(self, length: int) -> dict[str, Tensor]:
        """Return what depends on the number of tokens, shortened, under its name here."""
        prefix = "model.text" if hasattr(self.model, "text") else "model"
        text: Any = text_part(self.model)
        found = {f"{prefix}.positional_embedding": text.positional_embedding[:length]}
        if text.attn_mask is not None:
            found[f"{prefix}.attn_mask"] = text.attn_mask[:length, :length]
        return found


def _used(tokens: Tensor, padding: int) -> int:
    """Return how many places of tokens (t, context) hold more than padding in some text."""
    return int((tokens != padding).any(dim=0).nonzero().max()) + 1


def text_part(model: nn.Module) -> Any:
    """Return the text tower; a plain CLIP has no module of its own for it."""
    return getattr(model, "text", model)


def why_uncut(model: nn.Module) -> str:
    """Say why the padding cannot be left out of this text tower's texts; nothing where it can."""
    text = text_part(model)
    if not hasattr(text, "positional_embedding"):
        return f"it is a model of its own ({type(text).__name__}), not one of open_clip's towers"
    if getattr(text, "pool_type", getattr(text, "text_pool_type", None)) == "last":
        return "it takes the meaning from the last place, which is padding"
    if getattr(text, "cls_emb", None) is not None:
        return "its class token stands after the padding"
    return ""


@contextmanager
def _stem_watched(visual: Any) -> Iterator[list[Tensor]]:
    """Collect what enters the first block, which open_clip's intermediates leave out for ViTs."""
    caught: list[Tensor] = []
    stem = stem_of(visual)
    if isinstance(stem, nn.Sequential) and len(stem):
        stem = stem[-1]  # timm runs some of them layer by layer
    handle = stem.register_forward_hook(
        lambda _module, _inputs, output: caught.append(output[0] if isinstance(output, tuple) else output)
    )
    try:
        yield caught
    finally:
        handle.remove()


def stem_of(visual: Any) -> nn.Module:
    """Return the last module before the first block."""
    trunk = getattr(visual, "trunk", None)
    candidates = [
        getattr(visual, "ln_pre", None),
        getattr(visual, "avgpool", None),  # ResNet: the end of the stem
        *(getattr(trunk, name, None) for name in ("stem", "norm_pre", "patch_embed")),
    ]
    found = next((module for module in candidates if isinstance(module, nn.Module)), None)
    return _entrance(trunk) if found is None and isinstance(trunk, nn.Module) else found or visual


def _entrance(module: nn.Module) -> nn.Module:
    """Find the stem of a tower that names none: the layers before the first block, by how they are nested.

    Layers before the first container end with the stem; a small container of layers before others is one.
    """
    children = list(module.children())
    layers = list(takewhile(lambda child: not list(child.children()), children))
    if layers:
        return layers[-1] if len(layers) < len(children) else layers[0]
    if not children:
        return module
    first, inner = children[0], list(children[0].children())
    small = len(inner) <= _STEM_LAYERS and not any(list(layer.children()) for layer in inner)
    return first if small and len(children) > 1 else _entrance(first)


def _has_extra_tokens(visual: Any) -> bool:
    return (
        hasattr(visual, "class_embedding")
        or getattr(getattr(visual, "trunk", None), "num_prefix_tokens", 0) > 0
    )


def _as_tokens(layer: Tensor, prefix: Tensor | None) -> Tensor:
    """Bring (n, width, h, w) or (n, t, width) to (n, t, width), class token first."""
    tokens = layer.flatten(2).transpose(1, 2) if layer.ndim == 4 else layer
    return tokens if prefix is None else torch.cat([prefix, tokens], dim=1)
