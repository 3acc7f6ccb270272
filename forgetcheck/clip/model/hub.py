"""Fetch a checkpoint's folder from the Hugging Face hub, or from its cache on this machine."""

from pathlib import Path

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError

from forgetcheck.clip.formats.lora import ADAPTER
from forgetcheck.clip.formats.safetensors_files import INDEXES, read_index
from forgetcheck.clip.formats.tokenizers import FILES as TOKENIZER_FILES
from forgetcheck.clip.model.adapter_files import FILES as ADAPTERS
from forgetcheck.clip.model.checkpoint import CONFIG
from forgetcheck.clip.model.read import FILES
from forgetcheck.errors import InputError
from forgetcheck.network import hub_asked, offline, way_to_have

_DESCRIPTIONS = (CONFIG, "config.json", "preprocessor_config.json", ADAPTER)  # each may be missing


def download(name: str) -> Path:
    """Return the folder with what describes the model `ORGANISATION/NAME[@REVISION]`, and its weights.

    Of several files of weights the first in open_clip's order is fetched. Raises InputError for what is
    neither in the cache nor reachable.
    """
    repository, _, revision = name.partition("@")
    try:
        with hub_asked():
            away = offline()
            described = [fetched(repository, file, revision) for file in _DESCRIPTIONS]
            weights = _fetched_first(repository, revision)
            for file in TOKENIZER_FILES:  # its own vocabulary is the one that its text tower knows
                fetched(repository, file, revision)
    except Exception as problem:  # the hub client raises its own zoo of exceptions
        raise _unreachable(name, f"{type(problem).__name__}") from None
    if weights is None or not any(described):
        nothing = "nothing of it is in the cache, and the hub isn't asked or doesn't answer"
        empty = away and weights is None and not any(described)
        raise _unreachable(name, nothing if empty else "it has no weights and config that can be read")
    return weights.parent


def _fetched_first(repository: str, revision: str) -> Path | None:
    """Fetch the first file of weights there is, with its parts if it is an index."""
    for file in (*FILES, *INDEXES, *ADAPTERS):
        path = fetched(repository, file, revision)
        if path is not None:
            parts = read_index(path) if file in INDEXES else {}
            for part in parts:
                fetched(repository, part.name, revision)
            return path
    return None


def fetched(repository: str, file: str, revision: str) -> Path | None:
    try:
        return Path(hf_hub_download(repository, file, revision=revision or None))
    except EntryNotFoundError:  # also what is not in the cache while offline
        return None


def cached_file(repository: str, file: str) -> Path | None:
    """Return a file of a repository's main revision from the cache on this machine, if it is there."""
    path = try_to_load_from_cache(repository, file)
    return Path(path) if isinstance(path, str) else None


def _unreachable(name: str, why: str) -> InputError:
    repository, _, revision = name.partition("@")
    wanted = f"{repository} --revision {revision}" if revision else repository
    return InputError(
        f"cannot load 'hf-hub:{name}' ({why}): neither in the local cache nor reachable as a CLIP; check the "
        f"name: {way_to_have(wanted)}."
    )
