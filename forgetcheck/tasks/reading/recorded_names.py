"""Class names as files of a data set record them; `datasets` reads all by those of the first, or a card.

Parts that were class-encoded apart number their classes differently, and a number then means another class.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from huggingface_hub import try_to_load_from_cache

from forgetcheck.documents import parse_json
from forgetcheck.errors import DataError

_ON_HUB = re.compile(r"hf://datasets/(?P<repository>[^@]+)@(?P<revision>[^/]+)/(?P<file>.+)")
_SUFFIXES = (".parquet", ".arrow")


def refuse_disagreeing(
    where: str,
    files: Mapping[str, Sequence[str]],
    column: str,
    applied: Mapping[str, Sequence[str]],
    by_number: bool = False,
) -> None:
    """Refuse parts that were not read by the class names that their own files record.

    `files` are those of every split, `applied` the names by which the splits that are asked were read. Names
    that no file has are of the data set's card, where its owner may have worded them anew; where they are the
    same in another order nobody can know which is right, unless labels are numbers only (`by_number`).
    """
    recorded = {
        split: {name: found[column] for name in listed if column in (found := class_names_in(name))}
        for split, listed in files.items()
    }
    every = [(name, names) for part in recorded.values() for name, names in part.items()]
    asked = [(name, names) for split in applied for name, names in recorded.get(split, {}).items()]
    names = next(map(list, applied.values()), [])
    # the file whose names were applied, or else the first
    first, theirs = next((each for each in every if each[1] == names), asked[0] if asked else ("", names))
    other = next((name for name, own in asked if own != theirs), "")
    if other:
        raise DataError(
            f"{where}: '{_short(first)}' and '{_short(other)}' number the classes of '{column}' differently, "
            "and `datasets` reads both alike: write labels as names, or load each part apart and save them "
            "together with save_to_disk."
        )
    if theirs != names and sorted(theirs) == sorted(names) and not by_number:
        raise DataError(
            f"{where}: its card and '{_short(first)}' have the classes of '{column}' in different "
            "orders, and which is right can't be known: correct the card, or pass classes=FILE, a name "
            "for each number."
        )


def _short(name: str) -> str:
    return "/".join(name.split("/")[-2:])


def class_names_in(name: str) -> dict[str, list[str]]:
    """Return the class names that a file records, by column; none where it isn't here, or no such file."""
    path = _local_copy(name) if name.endswith(_SUFFIXES) else None
    if path is None:
        return {}
    from pyarrow import ArrowInvalid

    try:
        recorded = (_schema_of(path).metadata or {}).get(b"huggingface", b"{}")
        features = parse_json(recorded.decode()).get("info", {}).get("features", {})
        return {
            column: feature["names"]
            for column, feature in features.items()
            if isinstance(feature, dict) and isinstance(feature.get("names"), list)
        }
    except (ArrowInvalid, OSError, ValueError, AttributeError):  # damaged files are told by `datasets`
        return {}


def _schema_of(path: Path) -> Any:  # pyarrow's
    from pyarrow import ArrowInvalid, ipc, memory_map, parquet

    if path.suffix == ".parquet":
        return parquet.read_schema(path)
    with memory_map(str(path)) as file:
        try:
            return ipc.open_stream(file).schema
        except ArrowInvalid:
            return ipc.open_file(file).schema


def _local_copy(name: str) -> Path | None:
    """Return where a file lies on this machine; one of the hub where it was downloaded to."""
    found = _ON_HUB.fullmatch(name)
    if found is None:
        return None if "://" in name else Path(name)
    revision = unquote(found["revision"])
    path = try_to_load_from_cache(found["repository"], found["file"], revision=revision, repo_type="dataset")
    return Path(path) if isinstance(path, str) else None
