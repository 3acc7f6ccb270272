"""Identify bare weights: of which architecture they are, and from what that is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from forgetcheck.clip.formats.base import shown
from forgetcheck.clip.formats.lora import ADAPTER, read_settings
from forgetcheck.clip.formats.rivals import Choice
from forgetcheck.clip.formats.tokenizers import NAME, tokenizer_in
from forgetcheck.clip.identity.activation import (
    BY_OTHER,
    OF_TRANSFORMERS,
    Usual,
    by_function,
    decide,
    differ_in,
    usual_preprocessing,
)
from forgetcheck.clip.identity.architecture import SHOWN, Nearest, matching, mismatches, nearest, visual_part
from forgetcheck.clip.identity.architecture_index import index
from forgetcheck.clip.model.checkpoint import (
    ARCHITECTURE,
    CONFIG,
    PREPROCESSED,
    TEXT_MODEL,
    Checkpoint,
    architecture,
)
from forgetcheck.clip.model.load import load_encoder, shapes_of
from forgetcheck.clip.model.read import names_in
from forgetcheck.clip.model.settings import ACTIVATION, PLAIN, QUICK, activation, differences
from forgetcheck.clip.model.tensor_names import Shapes, canonical, image_alone
from forgetcheck.clip.model.text_tower import MODEL
from forgetcheck.clip.model.towers import VISUAL
from forgetcheck.errors import CheckpointError, InputError
from forgetcheck.progress import Progress, silent
from forgetcheck.tasks.base import Task

_TEXT = "text tower"  # key of what was inferred
TOLD = "--model"
_RECORDED = "the record beside the weights"
_BY_BASE = "the base that it is merged into"
BY_CLASS = "its names and shapes, and the class of its activation"


@dataclass(frozen=True)
class Bare:
    """Weights that need not say what they are: names and shapes, and a config where their format has one."""

    path: Path
    shapes: Shapes
    recorded: Mapping[str, Any] | None
    quick_gelu: bool | None = None  # whether its activation is QuickGELU, where the file names the class
    assumed: str = ""  # why the preprocessing in `recorded` is only the usual one
    choice: Choice = field(default_factory=Choice)  # of several sets of weights in one file

    @property
    def image_alone(self) -> bool:
        return image_alone(self.shapes)

    def checkpoint(self, config: Mapping[str, Any], **known: Any) -> Checkpoint:
        """Name it as the user does: a cache may keep the file under a digest."""
        name = self.path.resolve().name if self.path.is_dir() else self.path.stem
        folder = self.path if self.path.is_dir() else self.path.parent
        own = tokenizer_in(folder) if self.recorded else None
        return Checkpoint(name, config, self.path, choice=self.choice, tokenizer=own, **known)

    def open(self, why: str) -> Checkpoint:
        """Leave it open what this is; `why` is the whole refusal, should nobody know better."""
        return self.checkpoint({}, undecided=why)


@dataclass(frozen=True)
class Unmerged:
    """An adapter, which is a model only together with its base."""

    path: Path  # of its folder, or of the file of weights in it
    named: str  # as the user names it

    def onto(self, base: Checkpoint) -> Checkpoint:
        """Return the model that it makes of a base: everything but the weights is the base's."""
        if base.adapts is not None:
            raise CheckpointError(
                f"'{self.named}' is an adapter, and its base '{base.name}' as well: merge that."
            )
        name = self.path.resolve().name if self.path.is_dir() else self.path.parent.resolve().name
        inferred = {ARCHITECTURE: _BY_BASE, PREPROCESSED: _BY_BASE}
        return replace(
            base, name=name, weights=self.path, adapts=base, inferred=inferred,
            tag=None, run={}, head=None, text_from=None, choice=Choice(),
        )  # fmt: skip


def identify(found: Checkpoint | Bare | Unmerged, model: str | None, like: Checkpoint | None) -> Checkpoint:
    """Say of which architecture weights are: told, else recorded, else as `like`, else by shapes.

    Bare weights that need a tokenizer which lies beside no weights but the other's take that. An adapter is
    of the model `like` that it is merged into.
    """
    if isinstance(found, Unmerged):
        if like is None:
            raise _no_base(found)
        return found.onto(like)
    if not isinstance(found, Bare):
        return _completed_by(found, like)
    known = _identify_bare(found, model, like)
    if known.tokenizer is not None or like is None or like.tokenizer is None:
        return known
    here, there = (each.config.get("model_cfg", {}).get("text_cfg", {}) for each in (known, like))
    name = there.get(NAME)
    if here.get("vocab_size") != there.get("vocab_size") or here.get(NAME, name) != name:
        return known
    text = {**here, NAME: name}
    config = {**known.config, "model_cfg": {**known.config["model_cfg"], "text_cfg": text}}
    return replace(known, config=config, tokenizer=like.tokenizer)


def _no_base(found: Unmerged) -> InputError:
    settings = read_settings((found.path if found.path.is_dir() else found.path.parent) / ADAPTER)
    recorded = f", '{shown(settings.base)}' as it says" if settings.base else ""
    return InputError(
        f"'{found.named}' is an adapter ({settings.describe()}) and no whole model: name it behind the base "
        f"that it was trained on{recorded}, as in `forgetcheck audit BASE {found.named}`; `forgetcheck "
        f"convert {found.named} OUT --base BASE` writes the merged model."
    )


def _completed_by(found: Checkpoint, like: Checkpoint | None) -> Checkpoint:
    """Let the other of the pair lend its text tower to a recorded model of which an image tower was saved."""
    if found.weights is None or not image_alone(dict.fromkeys(names_in(found.weights), ())):
        return found
    if like is None or differences(
        {**found.config, "preprocess_cfg": {}}, {**like.config, "preprocess_cfg": {}}
    ):
        raise CheckpointError(_no_text_tower(found.weights, like))
    return replace(found, text_from=like, inferred={**found.inferred, _TEXT: BY_OTHER})


def _identify_bare(found: Bare, model: str | None, like: Checkpoint | None) -> Checkpoint:
    if found.recorded:
        refuse_contradiction(f"the config of '{found.path}'", found.recorded, model)
        config, by = _preprocessed(found, like)
        return found.checkpoint(config, inferred={ARCHITECTURE: _RECORDED, PREPROCESSED: by})
    if model is not None:
        return _as_told(found, model, like)
    if like is not None and _fits(like.config, found, like.name):
        return _as_like(found, like)
    if found.image_alone:
        return found.open(_no_text_tower(found.path, like))
    return by_shapes(found, like)


def _preprocessed(found: Bare, like: Checkpoint | None) -> tuple[Mapping[str, Any], str]:
    """Return a recorded config; where it lacks the preprocessing, with that of the same model of the pair."""
    config = found.recorded or {}
    if not found.assumed:
        return config, _RECORDED
    lent = {**config, "preprocess_cfg": like.config.get("preprocess_cfg", {})} if like is not None else None
    if lent is not None and like is not None and not differences(lent, like.config):
        return lent, BY_OTHER
    return config, f"{OF_TRANSFORMERS}: {found.assumed}"


def _as_told(found: Bare, model: str, like: Checkpoint | None) -> Checkpoint:
    """Take the word of --model, if the shapes allow it; it doesn't tell the preprocessing."""
    config = architecture(model)
    layout = _layout_of(config, model)
    odd = mismatches(found.shapes, layout, found.image_alone) if layout is not None else []
    refuse_contradiction(f"the classes in '{found.path}'", _as_pickled(found, config), model)
    if odd:
        fitting = matching(found.shapes)
        hint = f"pass --model {fitting[0]}" if fitting else "leave --model out to see the nearest"
        raise CheckpointError(f"'{found.path}' is no {model}: {'; '.join(odd[:3])}; {hint}.")
    if found.image_alone and like is None:
        return found.open(_no_text_tower(found.path, like))
    usual = _usual_for(model, config, like)
    known = _completed(found, like, {ARCHITECTURE: TOLD, PREPROCESSED: usual.why})
    return found.checkpoint({"model_cfg": config["model_cfg"], "preprocess_cfg": usual.config}, **known)


def _usual_for(model: str, config: Mapping[str, Any], like: Checkpoint | None) -> Usual:
    """Take the preprocessing from the other of the pair if it is the same model, else what is usual."""
    if like is not None and not differences({**like.config, "model_cfg": config["model_cfg"]}, like.config):
        return Usual(like.config["preprocess_cfg"], BY_OTHER)
    if model in index().configs:
        return usual_preprocessing([model])
    return Usual(config["preprocess_cfg"], f"the config of {model}")


def _as_like(found: Bare, like: Checkpoint) -> Checkpoint:
    """Take everything but the weights from the other checkpoint of the pair."""
    known = _completed(found, like, {ARCHITECTURE: BY_OTHER, PREPROCESSED: BY_OTHER})
    config = _as_pickled(found, like.config)
    return found.checkpoint(config, candidates=like.candidates, undecided=like.undecided, **known)


def _as_pickled(found: Bare, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the config with the activation whose class a whole module names, where there is a choice."""
    if found.quick_gelu is None or activation(config) not in (PLAIN, QUICK):
        return config
    return {**config, "model_cfg": {**config["model_cfg"], ACTIVATION: found.quick_gelu}}


def _completed(found: Bare, like: Checkpoint | None, inferred: dict[str, str]) -> dict[str, Any]:
    """Let the other checkpoint of the pair lend its text tower to an image tower saved alone."""
    if not found.image_alone:
        return {"inferred": inferred}
    return {"inferred": {**inferred, _TEXT: BY_OTHER}, "text_from": like}


def _no_text_tower(path: Path, like: Checkpoint | None) -> str:
    if like is None:
        return (
            f"'{path}' holds an image tower only: name it in `audit` or `inspect` behind the whole "
            "checkpoint that it was tuned from, whose text tower then counts."
        )
    return f"'{path}' holds an image tower only, which is not that of '{like.name}': name its own base."


def by_shapes(found: Bare, like: Checkpoint | None) -> Checkpoint:
    """Look among all architectures of open_clip for those with these names and shapes."""
    names = matching(found.shapes)
    if not names:
        return found.open(_no_architecture(found, like))
    said = [
        name for name in names if not differences(_as_pickled(found, architecture(name)), architecture(name))
    ]
    left = tuple(said) or names
    decision = decide(left)
    usual = usual_preprocessing(names)
    config = _as_pickled(found, architecture(decision.name or left[0]))
    config = {**config, "preprocess_cfg": usual.config}
    if decision.name is None:
        refusal = f"'{found.path}' may be {' or '.join(left)}: {decision.by}; pass --model NAME."
        return found.checkpoint(
            config, inferred={PREPROCESSED: usual.why}, candidates=left, undecided=refusal
        )
    by = decision.by if found.quick_gelu is None else BY_CLASS
    return found.checkpoint(config, inferred={ARCHITECTURE: by, PREPROCESSED: usual.why})


def _no_architecture(found: Bare, like: Checkpoint | None) -> str:
    """Say what comes nearest and where it differs: an architecture of open_clip, or the rest of the pair."""
    near = nearest(found.shapes)
    layout = _layout_of(like.config, like.name) if like is not None else None
    odd = mismatches(found.shapes, layout) if layout is not None else []
    if like is not None and layout is not None and len(odd) <= near.count:
        near = Nearest(f"'{like.name}'", tuple(odd[:SHOWN]), len(odd))
    if not any(name.startswith(VISUAL) for name in found.shapes):
        some = ", ".join(f"'{shown(name)}'" for name in list(found.shapes)[:SHOWN])
        return (
            f"'{found.path}' is no CLIP (it has no image tower, but {some}): name the checkpoint of a CLIP."
        )
    more = f" and {near.count - len(near.mismatches)} more" if near.count > len(near.mismatches) else ""
    return (
        f"'{found.path}' is no architecture of open_clip; the nearest is {near.name}, but "
        f"{'; '.join(near.mismatches)}{more}: pass --model NAME, or name a folder with its {CONFIG}."
    )


def _fits(config: Mapping[str, Any], found: Bare, name: str) -> bool:
    """Tell whether weights have the names and shapes of a config, or of its image tower."""
    layout = _layout_of(config, name)
    if layout is None:  # shown when they are loaded
        return True
    wanted = canonical(found.shapes)
    return visual_part(wanted) == visual_part(layout) if found.image_alone else wanted == layout


def _layout_of(config: Mapping[str, Any], name: str) -> Shapes | None:
    """Return the canonical names and shapes of a config, None where only a hub describes it."""
    if config["model_cfg"].get("text_cfg", {}).get(MODEL) and TEXT_MODEL not in config:
        return None
    return canonical(shapes_of(name, config))


def refuse_contradiction(where: str, recorded: Mapping[str, Any], model: str | None) -> None:
    """What is recorded can't be overruled by a word: one of both is wrong, and we can't know which."""
    if model is None:
        return
    told = {**architecture(model), "preprocess_cfg": recorded["preprocess_cfg"]}
    odd = differences(told, recorded)
    if odd:
        raise CheckpointError(
            f"--model {model} contradicts {where} ({'; '.join(odd[:3])}): leave --model out, or correct it."
        )


def settled(checkpoint: Checkpoint, tasks: Sequence[Task] = (), progress: Progress = silent) -> Checkpoint:
    """Return a checkpoint whose architecture is certain, or refuse."""
    if not checkpoint.undecided:
        return checkpoint
    askable = any(task.labelled_by == "class" for task in tasks)
    if not askable or differ_in(checkpoint.candidates) != (ACTIVATION,):
        raise CheckpointError(checkpoint.undecided)
    ways = {name: _settle(checkpoint, name) for name in checkpoint.candidates}
    found = by_function({name: partial(load_encoder, way) for name, way in ways.items()}, tasks, progress)
    if found.name is None:
        raise CheckpointError(f"{checkpoint.undecided.rstrip('.')} ({found.by}).")
    sure = ways[found.name]
    return replace(sure, inferred={**sure.inferred, ARCHITECTURE: found.by})


def buildable(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint of which there is at least one way to build it, or refuse."""
    if checkpoint.undecided and not checkpoint.candidates:
        raise CheckpointError(checkpoint.undecided)
    return checkpoint


def _settle(checkpoint: Checkpoint, name: str) -> Checkpoint:
    """Take one of the candidates for granted."""
    config = {**checkpoint.config, "model_cfg": architecture(name)["model_cfg"]}
    return replace(checkpoint, config=config, candidates=(), undecided="")
