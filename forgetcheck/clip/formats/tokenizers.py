"""The tokenizer beside weights: the one that its text tower was trained with, whatever its class is called.

Weights of a text tower mean something to one vocabulary only. So a folder's own files are what counts, a
built-in tokenizer only where they agree with it.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from forgetcheck.documents import parse_json, read_text, reason
from forgetcheck.errors import CheckpointError

FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model",
)  # fmt: skip
VOCABULARIES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
_ENDS = ("<|startoftext|>", "<|endoftext|>")  # which open_clip calls otherwise
_SETTINGS = "tokenizer_config.json"
_CODE = ("auto_map", "custom_pipelines")  # keys of settings that name code to be run
_PATHS = ("_file", "_files", "name_or_path")  # endings of keys that name what would be opened
_LARGEST = 2**27  # bytes of a file; the largest vocabularies have 30 MB
NAME = "hf_tokenizer_name"  # of a text_cfg: what makes open_clip use a tokenizer of transformers


def tokenizer_in(folder: Path) -> Path | None:
    """Return the folder if it holds a tokenizer of transformers."""
    return folder if any((folder / name).is_file() for name in VOCABULARIES) else None


def is_clips_own(folder: Path) -> bool:
    """Whether the vocabulary and merges in a folder are those of CLIP, which open_clip has built in."""
    try:
        vocabulary, merges = _byte_pairs(folder)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as problem:
        raise CheckpointError(
            f"cannot read the tokenizer in '{folder}': {reason(problem)}; copy the folder again."
        ) from None
    known, ranks = _built_in()
    return vocabulary == known and (not merges or merges == ranks)


def _byte_pairs(folder: Path) -> tuple[Mapping[str, int], list[tuple[str, ...]]]:
    """Read the vocabulary of byte pairs, and the merges in their order."""
    if (folder / "vocab.json").is_file():
        vocabulary = parse_json(read_text(folder / "vocab.json", _LARGEST))
        lines = (
            read_text(folder / "merges.txt", _LARGEST).splitlines()
            if (folder / "merges.txt").is_file()
            else []
        )
        return vocabulary, [tuple(line.split()) for line in lines if line and not line.startswith("#version")]
    model = parse_json(read_text(folder / "tokenizer.json", _LARGEST))["model"]
    merges = [
        tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in model.get("merges", [])
    ]
    return dict(model["vocab"]), merges


@cache
def _built_in() -> tuple[Mapping[str, int], list[tuple[str, ...]]]:
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    words = dict(sorted(tokenizer.encoder.items(), key=lambda pair: pair[1])[: -len(_ENDS)])
    return words | {end: len(words) + place for place, end in enumerate(_ENDS)}, list(tokenizer.bpe_ranks)


def named(folder: Path) -> str:
    """Name the tokenizer of a folder by its content: two checkpoints of one pair must have the same.

    What is hashed is vocabulary and merges, however they are written down.
    """
    try:
        vocabulary, merges = _byte_pairs(folder)
        content = json.dumps([sorted(vocabulary.items()), merges]).encode()
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # a model of another kind
        content = b"".join(
            name.encode() + _beginning(folder / name) for name in VOCABULARIES if (folder / name).is_file()
        )
    return f"its own, {hashlib.sha256(content).hexdigest()[:12]}"


def _beginning(path: Path) -> bytes:
    """Return a file as far as any tokenizer goes; what is longer is refused when it is laid out."""
    with path.open("rb") as file:
        return file.read(_LARGEST)


def lay_out(source: Path, target: Path) -> None:
    """Put the files of a tokenizer where open_clip looks for them, without what names code."""
    for name in FILES:
        path = source / name
        if not path.is_file():
            continue
        if path.stat().st_size > _LARGEST:
            raise CheckpointError(f"'{path}' is too large for a tokenizer: check what it is.")
        if name == _SETTINGS:
            (target / name).write_text(json.dumps(_without_code(path)), encoding="utf-8")
        else:
            (target / name).write_bytes(path.read_bytes())


def _without_code(path: Path) -> dict[str, Any]:
    try:
        settings = parse_json(read_text(path, _LARGEST))
    except (OSError, ValueError) as problem:
        raise CheckpointError(f"cannot read '{path}': {reason(problem)}; copy the folder again.") from None
    return {key: value for key, value in settings.items() if not (key in _CODE or key.endswith(_PATHS))}
