"""A text tower that transformers builds: its config and its tokenizer, wherever they may be taken from.

Of such a tower open_clip's config says a name only. A name out of a file is a stranger's: it is looked up in
the hub's cache on this machine, and fetched only where open_clip's own configs have it, or the user said so.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any

from forgetcheck.clip.formats.tokenizers import FILES, NAME, VOCABULARIES, tokenizer_in
from forgetcheck.clip.model.checkpoint import MAX_LAYERS, MAX_TOKENS, TEXT_MODEL, Checkpoint, refuse_more
from forgetcheck.clip.model.hub import cached_file, fetched
from forgetcheck.documents import parse_json, read_text, reason
from forgetcheck.errors import CheckpointError
from forgetcheck.network import hub_asked, way_to_have

MODEL = "hf_model_name"  # of a text_cfg: what makes open_clip let transformers build the text tower
FILE = "text_config.json"  # of that tower, beside the weights; `tune` and `convert` write it
CONFIG = "config.json"  # what transformers calls it, in a folder of its own
_KINDS = ("bert", "roberta", "xlm-roberta", "mt5", "m2m_100")  # which open_clip makes a tower of
_LARGEST = 2**20  # bytes of a config
# what says nothing of the numbers, or names something that would be looked for
_LEFT_OUT = (
    "_name_or_path", "architectures", "dtype", "transformers_version", "output_attentions",
    "output_hidden_states", "return_dict", "id2label", "label2id", "problem_type", "use_cache",
)  # fmt: skip
_REPOSITORY = re.compile(r"(\w[\w.-]{0,95}/)?\w[\w.-]{0,95}", re.ASCII)  # as the hub allows
_DECODERS = ("decoder_layers", "num_decoder_layers")  # of which open_clip keeps nothing
_POSITIONS = "position_embedding_type"  # which today's transformers ignores, unless it is the usual one


class Ask(IntEnum):
    """Which names of files may be asked of the hub, beyond those in its cache."""

    NONE = 0
    SHIPPED = 1  # those that open_clip's own configs have
    ANY = 2  # --allow-download

    @classmethod
    def of(cls, allow_download: bool) -> "Ask":
        return cls.ANY if allow_download else cls.SHIPPED


def complete(checkpoint: Checkpoint, like: Checkpoint | None, ask: Ask) -> Checkpoint:
    """Return a checkpoint with the config of its text tower and its tokenizer, where its own aren't CLIP's.

    They are those beside its weights, else those of `like`, the base of the pair, else the hub's. Where
    nothing may be asked, what isn't found stays open. Raises InputError for what can't be found otherwise.
    """
    text = checkpoint.config.get("model_cfg", {}).get("text_cfg", {})
    if text.get(MODEL):
        model = text_model(checkpoint, like, ask)
        checkpoint = replace(checkpoint, config={**checkpoint.config, **model})
    if text.get(NAME) and checkpoint.tokenizer is None and checkpoint.tag is None:
        checkpoint = replace(checkpoint, tokenizer=tokenizer(checkpoint, like, ask))
    return checkpoint


def text_model(checkpoint: Checkpoint, like: Checkpoint | None, ask: Ask) -> dict[str, Any]:
    """Return the entry of a config that describes its text tower; none where it is not found."""
    name = checkpoint.config["model_cfg"]["text_cfg"][MODEL]
    recorded = checkpoint.config.get(TEXT_MODEL)
    if recorded is not None:
        return {TEXT_MODEL: checked(recorded, f"the {TEXT_MODEL} of '{checkpoint.name}'")}
    beside = _config_beside(checkpoint)
    if beside:
        return {TEXT_MODEL: beside}
    if like is not None and like.config["model_cfg"].get("text_cfg", {}).get(MODEL) == name:
        return {TEXT_MODEL: like.config[TEXT_MODEL]} if TEXT_MODEL in like.config else {}
    path = _of_hub(name, (CONFIG,), ask)
    if path is not None:
        return {TEXT_MODEL: read(path)}
    if ask is Ask.NONE:
        return {}
    raise CheckpointError(
        f"the text tower of '{checkpoint.name}' is '{name}', whose config is neither beside the weights "
        f"({FILE}) nor in the hub's cache: {way_out(name)}, or put its {CONFIG} there as {FILE}."
    )


def _config_beside(checkpoint: Checkpoint) -> dict[str, Any] | None:
    if checkpoint.weights is None:
        return None
    folder = checkpoint.weights if checkpoint.weights.is_dir() else checkpoint.weights.parent
    if (folder / FILE).is_file():
        return read(folder / FILE)
    # in a folder of transformers' own this would be the config of the whole model
    if (folder / CONFIG).is_file() and _document(folder / CONFIG).get("model_type") in _KINDS:
        return read(folder / CONFIG)
    return None


def tokenizer(checkpoint: Checkpoint, like: Checkpoint | None, ask: Ask) -> Path | None:
    """Return the folder of a tokenizer that isn't beside the weights; None where it is not found."""
    name = checkpoint.config["model_cfg"]["text_cfg"][NAME]
    theirs = like.config["model_cfg"].get("text_cfg", {}) if like is not None else {}
    if like is not None and like.tokenizer is not None and theirs.get(NAME) == name:
        return like.tokenizer
    path = _of_hub(name, FILES, ask)
    if path is not None and tokenizer_in(path.parent):
        return path.parent
    if ask is Ask.NONE:
        return None
    raise CheckpointError(
        f"'{checkpoint.name}' has the tokenizer '{name}', whose files are neither beside the weights nor in "
        f"the hub's cache: {way_out(name)}, or copy {VOCABULARIES[0]} there."
    )


def way_out(name: str) -> str:
    if name in _shipped_names():
        return way_to_have(name)
    return (
        f"add --allow-download if you trust that name; {way_to_have(name)}"
        if is_repository(name)
        else "it is no name of the hub"
    )


def _of_hub(name: str, files: tuple[str, ...], ask: Ask) -> Path | None:
    """Return the first of some files of a repository, from the cache; or fetched with the others."""
    if not is_repository(name):
        return None
    found = [path for file in files if (path := cached_file(name, file)) is not None]
    if not found and ask >= (Ask.SHIPPED if name in _shipped_names() else Ask.ANY):
        with hub_asked():
            found = [path for file in files if (path := _tried(name, file)) is not None]
    return found[0] if found else None


def _tried(name: str, file: str) -> Path | None:
    try:
        return fetched(name, file, "")
    except Exception:  # the hub client's own zoo: not reachable, gone, forbidden
        return None


def is_repository(name: Any) -> bool:
    """Whether a word can be a repository of the hub: never a path."""
    if not isinstance(name, str) or "--" in name or ".." in name:
        return False
    return _REPOSITORY.fullmatch(name) is not None


@cache
def _shipped_names() -> frozenset[str]:
    """Return the names of text models and tokenizers in the configs that open_clip ships."""
    import open_clip

    configs = (open_clip.get_model_config(model) or {} for model in open_clip.list_models())
    texts = [config.get("text_cfg", {}) for config in configs]
    return frozenset(text[key] for text in texts for key in (MODEL, NAME) if text.get(key))


def read(path: Path) -> dict[str, Any]:
    """Read the config of a text tower; raises InputError for one that open_clip can't build."""
    return checked(_document(path), f"'{path}'")


def _document(path: Path) -> dict[str, Any]:
    try:
        return parse_json(read_text(path, _LARGEST))
    except (OSError, ValueError) as problem:
        raise CheckpointError(f"cannot read '{path}': {reason(problem)}; copy the file again.") from None


def checked(config: Any, where: str) -> dict[str, Any]:
    """Return what a config says of the numbers, defaults filled in: it comes from a stranger.

    What names code, another model or a kernel is left out, and so are the layers of a decoder.
    """
    kind = config.get("model_type") if isinstance(config, Mapping) else None
    if kind not in _KINDS:
        raise CheckpointError(
            f"{where} is no text tower that open_clip builds: those are {', '.join(_KINDS)}."
        )
    if config.get(_POSITIONS, "absolute") != "absolute":
        raise CheckpointError(
            f"{where} has {_POSITIONS} '{config[_POSITIONS]}', which transformers no longer builds."
        )
    try:
        from transformers import AutoConfig
    except ImportError:
        raise CheckpointError(
            f"{where} is of a model that transformers builds: pip install transformers."
        ) from None

    known = set(AutoConfig.for_model(kind).to_dict()) - {*_LEFT_OUT, "model_type"}
    told = {key: config[key] for key in known if key in config and _is_plain(config[key])}
    _refuse_extravagant(told, where)
    try:
        filled = AutoConfig.for_model(
            kind, **{**told, **{key: 0 for key in _DECODERS if key in known}}
        ).to_dict()
    except Exception as problem:  # whatever transformers makes of odd values
        raise CheckpointError(
            f"{where}: transformers refuses it ({type(problem).__name__}: {problem})."
        ) from None
    return {key: filled[key] for key in sorted(known) if _is_plain(filled[key])} | {"model_type": kind}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _refuse_extravagant(told: Mapping[str, Any], where: str) -> None:
    """Refuse what would fill the memory beside the weights, which are compared with the rest."""
    for key, value in told.items():
        if "layers" in key:
            refuse_more(where, key, value, MAX_LAYERS)
    refuse_more(where, "max_position_embeddings", told.get("max_position_embeddings"), MAX_TOKENS)


def lay_out(config: Mapping[str, Any], folder: Path) -> str:
    """Write the config of a text tower for transformers into a new folder, and return what to call it."""
    folder.mkdir()
    (folder / CONFIG).write_text(json.dumps(dict(config)), encoding="utf-8")
    return str(folder)
