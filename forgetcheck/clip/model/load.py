"""Load an encoder: build its architecture, read the weights into it and check that every one fits."""

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import torch
from PIL import Image
from torch import Tensor, nn

from forgetcheck.clip.formats.tokenizers import NAME, VOCABULARIES, lay_out
from forgetcheck.clip.model.adapter_files import read_adapter
from forgetcheck.clip.model.adapters import about_base, merge
from forgetcheck.clip.model.checkpoint import ARCHITECTURE, CONFIG, TEXT_MODEL, Checkpoint
from forgetcheck.clip.model.encoder import Encoder, Origin
from forgetcheck.clip.model.read import Weights, read_weights
from forgetcheck.clip.model.tensor_names import SCALARS, Shape, Shapes, harmless, renamed
from forgetcheck.clip.model.tensor_stats import TensorStats, take_census
from forgetcheck.clip.model.text_tower import MODEL
from forgetcheck.clip.model.text_tower import lay_out as lay_out_model
from forgetcheck.clip.model.towers import TOWERS, digests, tower
from forgetcheck.errors import CheckpointError, InputError
from forgetcheck.network import hub_asked, way_to_have

OF_OPEN_CLIP = "weights of open_clip"


def load_encoder(
    checkpoint: Checkpoint, device: str = "auto", finite: bool = True, words: bool = True
) -> Encoder:
    """Build the architecture, read the weights into it and check that every one fits.

    The model is in evaluation mode and fp32. Without `words` it need not be able to read: a tokenizer that
    isn't there is missed when it is asked. Raises InputError for weights of another architecture,
    truncated files, NaN or Inf (unless `finite` is off: to look at them), and tags that are neither
    cached nor reachable.
    """
    place = choose_device(device)
    read = read_whole(checkpoint, finite)
    if (
        read is not None and ARCHITECTURE not in checkpoint.inferred
    ):  # what nobody has compared with the weights yet
        _refuse_misfit(checkpoint, read)
    with quiet():
        model, tokenizer, preprocess = create(checkpoint, words=words)
    if read is None:
        origin = Origin(OF_OPEN_CLIP, census=_census_of(model.state_dict()))
    else:
        origin = _fill(model, checkpoint, read)
    return Encoder(
        name=checkpoint.name,
        config=checkpoint.config,
        model=model.float().eval().to(place),
        tokenizer=tokenizer,
        preprocess=preprocess,
        device=place,
        origin=origin,
    )


def rebuilt(encoder: Encoder, config: Mapping[str, Any]) -> Encoder:
    """Return the same weights in the model of another config, which must have the same names and shapes."""
    with quiet():
        model, _, preprocess = create(Checkpoint(encoder.name, config, None), encoder.tokenizer)
    model.load_state_dict(encoder.model.state_dict())
    return replace(
        encoder,
        config=config,
        model=model.float().eval().to(encoder.device),
        preprocess=preprocess,
    )


def _refuse_misfit(checkpoint: Checkpoint, read: Weights) -> None:
    """Compare a recorded config with the weights before anything is built: it may ask for terabytes."""
    own = shapes_of(checkpoint.name, checkpoint.config)
    tensors = scalars_shaped(renamed(read.tensors, own), own)
    _refuse_problems(checkpoint, _misfits(own, shapes(tensors)))


def read_whole(checkpoint: Checkpoint, finite: bool) -> Weights | None:
    """Read both towers, the text tower from elsewhere if the checkpoint has none; None behind a tag."""
    if checkpoint.weights is None:
        return None
    if checkpoint.adapts is not None:
        return adapted(checkpoint.weights, checkpoint.adapts, finite)
    read = read_weights(checkpoint.weights, finite, checkpoint.choice)
    if checkpoint.text_from is None:
        return read
    note = f"The text tower is that of '{checkpoint.text_from.name}': the file holds an image tower only."
    return replace(
        read,
        tensors={**_text_of(checkpoint.text_from, finite), **read.tensors},
        notes=(*read.notes, note),
    )


def _text_of(checkpoint: Checkpoint, finite: bool) -> dict[str, Tensor]:
    """Return the text tower and the logit scale."""
    return tower(_whole_of(checkpoint, finite).tensors, "text")


def _whole_of(checkpoint: Checkpoint, finite: bool) -> Weights:
    """Read both towers, also those behind a tag."""
    read = read_whole(checkpoint, finite)
    if read is None:
        with quiet():
            return Weights(create(checkpoint)[0].state_dict(), OF_OPEN_CLIP)
    return read


def adapted(path: Path, base: Checkpoint, finite: bool) -> Weights:
    """Read an adapter and its base, and merge them."""
    whole, adapter = _whole_of(base, finite), read_adapter(path, finite)
    merged = merge(whole, adapter, base.name)
    note, differs = about_base(adapter.settings.base, words_of(base), base.config)
    return replace(
        merged,
        notes=(*merged.notes, *([note] if note and not differs else [])),
        doubts=(*merged.doubts, *([f"{note} A drop may be that of the wrong pair."] if differs else [])),
        base=whole.tensors,
    )


def words_of(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what a checkpoint is called: the parts of its path, or open_clip's name and tag."""
    if checkpoint.weights is None:
        return (":".join(checkpoint.tag or ()),)
    return tuple(word for part in checkpoint.weights.resolve().parts for word in part.split("--"))


def _with_base(checkpoint: Checkpoint, read: Weights, own: Mapping[str, Tensor]) -> Mapping[str, Any]:
    """Return what is told of an adapter, with the digests of its base as the model has them; or nothing."""
    if checkpoint.adapts is None:
        return {}
    base = scalars_shaped(renamed(read.base, own), shapes(own))
    return {**read.adapter, "base": {"name": checkpoint.adapts.name, "digest": digests({**own, **base})}}


def create(checkpoint: Checkpoint, tokenizer: Any = None, words: bool = True) -> tuple[nn.Module, Any, Any]:
    """Let open_clip build the model, the tokenizer unless there is one, and the preprocessing of a config."""
    if checkpoint.tag is not None:
        return create_tagged(*checkpoint.tag, quick=bool(checkpoint.config["model_cfg"].get("quick_gelu")))
    text = checkpoint.config["model_cfg"].get("text_cfg", {})
    missing = tokenizer is None and bool(text.get(NAME)) and checkpoint.tokenizer is None
    if missing:
        tokenizer = _missing_tokenizer(checkpoint.name, text[NAME])
        if words:
            tokenizer([""])
    with tempfile.TemporaryDirectory(prefix="forgetcheck-") as folder:
        source = _lay_out_config(checkpoint.name, checkpoint.config, Path(folder))
        try:
            model, _, preprocess = open_clip.create_model_and_transforms(
                source, load_weights=False, pretrained_text=False
            )
            tokenizer = tokenizer or _make_tokenizer(text, checkpoint.tokenizer, Path(folder))
            _try_out(model.eval(), None if missing else tokenizer, preprocess)
            return model, tokenizer, preprocess
        except (MemoryError, InputError):
            raise
        except Exception as problem:  # whatever a config makes open_clip trip over, from any line of it
            why = str(problem) or "no reason given"
            raise CheckpointError(
                f"open_clip cannot build the architecture of '{checkpoint.name}' "
                f"({type(problem).__name__}: {why}): correct its config."
            ) from None


def _make_tokenizer(text: Mapping[str, Any], own: Path | None, folder: Path) -> Any:
    """Make the tokenizer of a text_cfg: CLIP's, or the one whose folder was found.

    open_clip itself looks for any but CLIP's in the folder of the config, and nowhere else.
    """
    if not text.get(NAME) or own is None:
        return open_clip.get_tokenizer(f"local-dir:{folder}")
    lay_out(own, folder)
    return open_clip.get_tokenizer(f"local-dir:{folder}", trust_remote_code=False)


def _missing_tokenizer(name: str, named: str) -> Any:
    """Stand in for a tokenizer that isn't there."""

    def refuse(_texts: list[str]) -> Tensor:
        raise CheckpointError(
            f"'{name}' has the tokenizer '{named}', whose files are neither beside the weights nor in the "
            f"hub's cache: copy {VOCABULARIES[0]} there; {way_to_have(named)}."
        )

    return refuse


def _try_out(model: nn.Module, tokenizer: Any, preprocess: Any) -> None:
    """Send one blank image and one word through: a config can be odd where building doesn't notice."""
    with torch.no_grad():
        model.encode_image(preprocess(Image.new("RGB", (64, 64)))[None])  # type: ignore[operator]
        if tokenizer is not None:
            model.encode_text(tokenizer(["a"]))  # type: ignore[operator]


def create_tagged(name: str, tag: str, quick: bool) -> tuple[nn.Module, Any, Any]:
    """Let open_clip load published weights; it only warns where a name has another activation than a tag."""
    try:
        with hub_asked():
            model, _, preprocess = open_clip.create_model_and_transforms(
                name, pretrained=tag, force_quick_gelu=quick
            )
            return model, open_clip.get_tokenizer(name), preprocess
    except Exception as problem:  # the hub client raises its own zoo of exceptions
        raise CheckpointError(
            f"cannot load '{name}:{tag}' ({type(problem).__name__}): neither in the local cache nor "
            f"reachable: {_repository_of(name, tag)}, or pass a weights file with --model."
        ) from problem


def _repository_of(name: str, tag: str) -> str:
    """Say how published weights get here: by the hub, or from an address of their own."""
    known = open_clip.pretrained.get_pretrained_cfg(name, tag)
    repository = str(known.get("hf_hub") or "").strip("/")
    return way_to_have(repository) if repository else "connect to the network once"


def _fill(model: nn.Module, checkpoint: Checkpoint, read: Weights) -> Origin:
    """Load a state dict strictly; a mismatch names the first few tensors, not all of them."""
    own = model.state_dict()
    tensors = scalars_shaped(renamed(read.tensors, own), shapes(own))
    _refuse_problems(checkpoint, [*_misfits(shapes(own), shapes(tensors)), *_not_fractions(own, tensors)])
    adapter = _with_base(checkpoint, read, own)  # before the model's own tensors are overwritten
    model.load_state_dict({**own, **tensors})
    return Origin(
        read.family,
        read.notes,
        read.doubts,
        _census_of(tensors),
        read.head,
        read.head_bias,
        read.counters,
        adapter,
    )


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    return {name: tuple(value.shape) for name, value in tensors.items()}


def scalars_shaped(tensors: Mapping[str, Tensor], own: Shapes) -> dict[str, Tensor]:
    """Give the logit scale and bias, 0-d or 1-d by age and taste, the shape that the model has."""
    return {
        name: value.reshape(own[name]) if name in SCALARS and name in own and value.numel() == 1 else value
        for name, value in tensors.items()
    }


def _refuse_problems(checkpoint: Checkpoint, problems: list[str]) -> None:
    if problems:
        raise CheckpointError(
            f"'{checkpoint.weights}' doesn't fit the architecture: {'; '.join(problems[:3])}"
            f"{f' and {len(problems) - 3} more' if len(problems) > 3 else ''}; pass the right --model NAME."
        )


def _misfits(own: Shapes, found: Shapes) -> list[str]:
    """Say in words which tensors a model misses, doesn't know, or has in another shape."""
    return [
        *(f"'{name}' is missing" for name in own if name not in found and not harmless(name)),
        *(f"'{name}' is unknown" for name in found if name not in own),
        *(
            f"'{name}' is {found[name]}, not {shape}"
            for name, shape in own.items()
            if name in found and found[name] != shape
        ),
    ]


def _not_fractions(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    """Say in words which tensors hold whole numbers where the model has fractions."""
    return [
        f"'{name}' holds {str(tensors[name].dtype).removeprefix('torch.')}, not fractions"
        for name, value in own.items()
        if name in tensors and value.is_floating_point() and not tensors[name].is_floating_point()
    ]


def _census_of(weights: Mapping[str, Tensor]) -> dict[str, TensorStats]:
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
        raise CheckpointError(
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


def _lay_out_config(name: str, config: Mapping[str, Any], folder: Path) -> str:
    """Write a config into a new folder for open_clip, and return what open_clip calls it.

    The name of a text tower that transformers builds is replaced by a folder with its config: transformers
    would look for any name on the hub, or in the working directory. Raises InputError where that config is
    not known.
    """
    model = config["model_cfg"]
    text = model.get("text_cfg", {})
    if text.get(MODEL):
        if TEXT_MODEL not in config:
            raise CheckpointError(
                f"the text tower of '{name}' is '{text[MODEL]}', whose config is neither beside the weights "
                "nor in the hub's cache."
            )
        model = {**model, "text_cfg": {**text, MODEL: lay_out_model(config[TEXT_MODEL], folder / "text")}}
    document = json.dumps({"model_cfg": model, "preprocess_cfg": config.get("preprocess_cfg", {})})
    (folder / CONFIG).write_text(document, encoding="utf-8")
    return f"local-dir:{folder}"


def shapes_of(name: str, config: Mapping[str, Any]) -> dict[str, Shape]:
    """Return the names and shapes of an architecture's state dict; nothing is allocated or fetched.

    Raises InputError for an architecture that open_clip can't build so, such as one whose text tower is
    described on the Hugging Face hub only.
    """
    with tempfile.TemporaryDirectory(prefix="forgetcheck-") as folder:
        source = _lay_out_config(name, {**config, "preprocess_cfg": {}}, Path(folder))
        try:
            with quiet(), torch.device("meta"):
                model = open_clip.create_model(
                    source, load_weights=False, pretrained_text=False, device="meta"
                )
        except MemoryError:
            raise
        except Exception as problem:  # whatever a config makes open_clip or timm trip over
            raise CheckpointError(
                f"open_clip cannot build {name} ({type(problem).__name__}: {problem})."
            ) from None
    return shapes(model.state_dict())
