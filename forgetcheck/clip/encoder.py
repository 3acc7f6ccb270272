"""Encoder: a loaded CLIP, both towers. The only file that knows open_clip's insides."""

import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.func import functional_call

from forgetcheck.clip.census import Census, take_census
from forgetcheck.clip.checkpoint import CONFIG, Checkpoint
from forgetcheck.clip.reading import Weights, read_weights
from forgetcheck.clip.spelling import harmless, renamed
from forgetcheck.clip.towers import TOWERS, digests, tower
from forgetcheck.errors import CannotAsk

TEXT_BATCH = 256  # prompts per forward


@dataclass(frozen=True)
class Origin:
    """What the weights of an encoder were, as they lay on the disk."""

    family: str = ""  # how they were read, such as "training checkpoint"
    notes: tuple[str, ...] = ()  # what the reading stripped, renamed or left out
    census: Mapping[str, Census] = field(default_factory=dict)  # by tower, in the stored precision
    head: Tensor | None = None  # (c, d) a fine-tuned head found beside the towers
    head_bias: Tensor | None = None  # (c,)


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
        return float(self.model.logit_scale.detach().exp())  # type: ignore[operator]

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
        raise CannotAsk(
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
        with stem_watched(visual) as stem:
            output = visual.forward_intermediates(
                images.to(self.device),
                indices=[depth if hasattr(visual, "layer4") else depth - 1 for depth in inner],
                output_extra_tokens=has_extra_tokens(visual),
            )
        layers = output["image_intermediates"]
        prefixes = output.get("image_intermediates_prefix", [None] * len(layers))
        found = {
            depth: as_tokens(layer, prefix)
            for depth, layer, prefix in zip(inner, layers, prefixes, strict=True)
        }
        if stem:
            found[0] = as_tokens(stem[0], None)
        embedding = F.normalize(output["image_features"].float(), dim=-1)
        return embedding, tuple(found[depth] for depth in depths)

    def read(self, texts: Sequence[str]) -> Tensor:
        """Embed texts -> (t, d); equal texts are read once."""
        distinct = sorted(set(texts))
        parts = []
        for start in range(0, len(distinct), TEXT_BATCH):
            tokens = self.tokenizer(distinct[start : start + TEXT_BATCH]).to(self.device)
            parts.append(self.model.encode_text(tokens).float())  # type: ignore[operator]
        row = {text: number for number, text in enumerate(distinct)}
        return F.normalize(torch.cat(parts), dim=-1)[[row[text] for text in texts]]

    def read_cut(self, texts: Sequence[str]) -> Tensor:
        """Embed texts -> (t, d) as `read` does, but without the padding after the longest of a batch.

        Raises CannotAsk for a text tower that has no meaning without its padding.
        """
        why = why_uncut(self.model)
        if why:
            raise CannotAsk(f"the text tower of '{self.name}' cannot be cut: {why}.")
        return replace(self, model=CutText(self.model, self.padding)).read(texts)

    def places(self, texts: Sequence[str]) -> tuple[int, int]:
        """Return how many tokens the longest text takes, and how many `read` always reads."""
        tokens = self.tokenizer(sorted(set(texts)))
        return used(tokens, self.padding), tokens.shape[1]

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
        length = used(tokens, self.padding)
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


def used(tokens: Tensor, padding: int) -> int:
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
def stem_watched(visual: Any) -> Iterator[list[Tensor]]:
    """Collect what enters the first block, which open_clip's intermediates leave out for ViTs."""
    caught: list[Tensor] = []
    handle = stem_of(visual).register_forward_hook(lambda _module, _inputs, output: caught.append(output))
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
    return next(module for module in candidates if isinstance(module, nn.Module))


def has_extra_tokens(visual: Any) -> bool:
    return (
        hasattr(visual, "class_embedding")
        or getattr(getattr(visual, "trunk", None), "num_prefix_tokens", 0) > 0
    )


def as_tokens(layer: Tensor, prefix: Tensor | None) -> Tensor:
    """Bring (n, width, h, w) or (n, t, width) to (n, t, width), class token first."""
    tokens = layer.flatten(2).transpose(1, 2) if layer.ndim == 4 else layer
    return tokens if prefix is None else torch.cat([prefix, tokens], dim=1)


def load_encoder(checkpoint: Checkpoint, device: str = "auto", finite: bool = True) -> Encoder:
    """Build the architecture, read the weights into it and check that every one fits.

    The model is in evaluation mode and fp32. Raises CannotAsk for weights of another architecture,
    truncated files, NaN or Inf (unless `finite` is off: to look at them), and tags that are neither
    cached nor reachable.
    """
    place = choose_device(device)
    with quiet():
        model, tokenizer, preprocess = create(checkpoint)
    read = read_whole(checkpoint, finite)
    if read is None:
        origin = Origin("weights of open_clip", census=census_of(model.state_dict()))
    else:
        origin = fill(model, checkpoint, read)
    return Encoder(
        name=checkpoint.name,
        config=checkpoint.config,
        model=model.float().eval().to(place),
        tokenizer=tokenizer,
        preprocess=preprocess,
        device=place,
        origin=origin,
    )


def read_whole(checkpoint: Checkpoint, finite: bool) -> Weights | None:
    """Read both towers, the text tower from elsewhere if the checkpoint has none; None behind a tag."""
    if checkpoint.weights is None:
        return None
    read = read_weights(checkpoint.weights, finite)
    if checkpoint.text_from is None:
        return read
    note = f"The text tower is that of '{checkpoint.text_from.name}': the file holds an image tower only."
    return replace(
        read,
        tensors={**text_of(checkpoint.text_from, finite), **read.tensors},
        notes=(*read.notes, note),
    )


def text_of(checkpoint: Checkpoint, finite: bool) -> dict[str, Tensor]:
    """Return the text tower and the logit scale."""
    read = read_whole(checkpoint, finite)
    if read is None:
        with quiet():
            return tower(create(checkpoint)[0].state_dict(), "text")
    return tower(read.tensors, "text")


def create(checkpoint: Checkpoint) -> tuple[nn.Module, Any, Any]:
    """Let open_clip build the model, the tokenizer and the preprocessing of a config."""
    if checkpoint.tag is not None:
        return create_tagged(*checkpoint.tag)
    with tempfile.TemporaryDirectory(prefix="forgetcheck-") as folder:
        (Path(folder) / CONFIG).write_text(json.dumps(dict(checkpoint.config)), encoding="utf-8")
        source = f"local-dir:{folder}"
        try:
            model, _, preprocess = open_clip.create_model_and_transforms(
                source, load_weights=False, pretrained_text=False
            )
            tokenizer = open_clip.get_tokenizer(source)
            try_out(model.eval(), tokenizer, preprocess)
            return model, tokenizer, preprocess
        except MemoryError:
            raise
        except Exception as problem:  # whatever a config makes open_clip trip over, from any line of it
            raise CannotAsk(
                f"open_clip cannot build the architecture of '{checkpoint.name}': {problem}."
            ) from None


def try_out(model: nn.Module, tokenizer: Any, preprocess: Any) -> None:
    """Send one blank image and one word through: a config can be odd where building doesn't notice."""
    with torch.no_grad():
        model.encode_image(preprocess(Image.new("RGB", (64, 64)))[None])  # type: ignore[operator]
        model.encode_text(tokenizer(["a"]))  # type: ignore[operator]


def create_tagged(name: str, tag: str) -> tuple[nn.Module, Any, Any]:
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=tag)
        return model, open_clip.get_tokenizer(name), preprocess
    except Exception as problem:  # the hub client raises its own zoo of exceptions
        raise CannotAsk(
            f"cannot load '{name}:{tag}' ({type(problem).__name__}): neither in the local cache nor "
            "reachable; connect to the network once, or pass a weights file with --model."
        ) from problem


def fill(model: nn.Module, checkpoint: Checkpoint, read: Weights) -> Origin:
    """Load a state dict strictly; a mismatch names the first few tensors, not all of them."""
    own = model.state_dict()
    tensors = renamed(read.tensors, own)
    for name in ("logit_scale", "logit_bias"):
        if name in own and name in tensors and tensors[name].numel() == own[name].numel():
            tensors[name] = tensors[name].reshape(own[name].shape)
    problems = misfits(own, tensors)
    if problems:
        raise CannotAsk(
            f"'{checkpoint.weights}' doesn't fit the architecture: {'; '.join(problems[:3])}"
            f"{f' and {len(problems) - 3} more' if len(problems) > 3 else ''}; pass the right --model NAME."
        )
    model.load_state_dict({**own, **tensors})
    return Origin(read.family, read.notes, census_of(tensors), read.head, read.head_bias)


def misfits(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    """Say in words which tensors a model misses, doesn't know, or has in another kind or shape."""
    shared = [name for name in own if name in tensors]
    return [
        *(f"'{name}' is missing" for name in own if name not in tensors and not harmless(name)),
        *(f"'{name}' is unknown" for name in tensors if name not in own),
        *(
            f"'{name}' holds {str(tensors[name].dtype).removeprefix('torch.')}, not fractions"
            for name in shared
            if own[name].is_floating_point() and not tensors[name].is_floating_point()
        ),
        *(
            f"'{name}' is {tuple(tensors[name].shape)}, not {tuple(own[name].shape)}"
            for name in shared
            if tensors[name].shape != own[name].shape
        ),
    ]


def census_of(weights: Mapping[str, Tensor]) -> dict[str, Census]:
    return {part: take_census(tower(weights, part)) for part in TOWERS}


def share_towers(encoder: Encoder, base: Encoder) -> None:
    """Let an encoder use the base's memory for every tower that is the same, bit for bit.

    Neither may be trained afterwards.
    """
    own, theirs = encoder.model.state_dict(keep_vars=True), base.model.state_dict(keep_vars=True)
    for part in TOWERS:
        if encoder.digests[part] == base.digests[part]:
            for name, value in tower(own, part).items():
                value.data = theirs[name].data


def choose_device(device: str) -> torch.device:
    """Pick the fastest device there is, or the one asked for."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.zeros(1, device=place).item()  # the meta device has room for everything and holds nothing
    except (RuntimeError, AssertionError, NotImplementedError, ImportError):
        raise CannotAsk(
            f"device '{device}' is not available here: use --device cpu, or leave it out."
        ) from None
    return place


@contextmanager
def quiet() -> Iterator[None]:
    """Keep open_clip from logging to the root logger that no weights were loaded: we load them."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd about a config is refused, in one line
            yield
    finally:
        logging.disable(before)
