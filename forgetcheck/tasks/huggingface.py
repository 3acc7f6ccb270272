"""A data set of the Hugging Face hub, or a local folder of parquet files or images, read by `datasets`.

Columns and splits are found where there is one choice: the image column, the label column, train, and test or
else a validation split. Class names are those of the label column, or the lines of the file `classes`. A data
set with nothing but train is split by content hash. Needs forgetcheck[huggingface].
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from huggingface_hub import constants

from forgetcheck.catalog import Share, White
from forgetcheck.errors import DataError
from forgetcheck.network import hub_asked, way_to_have
from forgetcheck.tasks.base import SplitName, Task, Unreadable
from forgetcheck.tasks.indexed import Index, Indexed
from forgetcheck.tasks.reading import naming
from forgetcheck.tasks.reading.decode import WHITE, read_file, refuse_large
from forgetcheck.tasks.reading.reach import Reach, data_folders, library_said, reach_of, refuse_strange_texts
from forgetcheck.tasks.reading.recorded_names import refuse_disagreeing
from forgetcheck.tasks.reading.samples import Samples, is_below
from forgetcheck.tasks.reading.splitting import left_out, parts_among
from forgetcheck.tasks.reading.stretches import Stretch

_INSTALL = "install it with `pip install 'forgetcheck[huggingface]'`"
OLDEST = 4  # earlier releases execute code that comes with the data
_SHUFFLED = "its classes are numbers, which it has in another order: here they are in that of their values"
_LONGEST_CARD = 2**20  # characters that are looked at
_CARDS = ("README.md", ".huggingface.yaml")  # in which a data set says which files it consists of
_SAVED = ("dataset_dict.json", "state.json")  # what save_to_disk leaves


@dataclass(frozen=True)
class Huggingface(Indexed, Task):
    """One row per image; what is left empty is found if there is one choice."""

    path: str  # of the hub, or a folder
    config: str = ""
    revision: str = ""
    image: str = ""  # the names of the columns
    label: str = ""
    train: str = ""  # the names of the splits
    test: str = ""
    names: Literal["humanised", "as-is"] = "humanised"
    classes: str = ""  # a file with one class name a line
    prompts: str = ""  # a file of templates
    unreadable: Share = 0.0
    white: White = WHITE  # the brightest level of 16-bit gray: 4095 where 12 bits of them are used

    @cached_property
    def index(self) -> Index:
        where = f"'{self.path}'"
        loaded = load(self.path, self.config, self.revision, reach_of(self))
        found = loaded.splits
        parts = _choose_parts(where, list(found), self.train, self.test)
        tables = {
            part: Table(
                where,
                part,
                found[name],
                Columns.of(f"{where} {name}", found[name].features, self.image, self.label),
                self.trusted,
            )
            for part, name in parts.items()
        }
        applied = {parts[part]: table.columns.names for part, table in tables.items() if table.columns.names}
        column = next(iter(tables.values())).columns.label
        refuse_disagreeing(where, loaded.files, column, applied, by_number=bool(self.classes))
        names = self.names_of(where, list(tables.values()))
        samples = {part: table.samples(names) for part, table in tables.items()}
        shown = naming.humanised(names) if self.names == "humanised" and not self.classes else names
        whole = samples["train"] if set(samples) == {"train"} else None
        raw = () if self.classes else tuple(names)
        named = naming.checked(where, shown, exact=self.names == "as-is" and not self.classes)
        shuffled = any(_is_shuffled(table.columns.names) for table in tables.values())
        remarks = (*left_out(found, parts), *([_SHUFFLED] if shuffled else []))
        return Index(where, named, samples, whole, remarks, raw=raw)

    def around(self, text: Path) -> Sequence[Path]:
        return data_folders(Path(self.path)) if _is_local(self.path) else ()

    def names_of(self, where: str, tables: Sequence["Table"]) -> Sequence[str]:
        """Return the class names; each part numbers them as it likes, so they are what counts."""
        told = [table.columns.names for table in tables]
        if self.classes:
            if any(names != told[0] for names in told):
                raise DataError(
                    f"{where}: its parts number their classes differently, so one classes= can't name both: "
                    "leave it out."
                )
            path = Path(self.classes)
            listed = naming.read_lines(path, reach_of(self), self.around(path))
            if _is_shuffled(told[0]) and not set(told[0] or ()) <= set(listed):
                raise DataError(
                    f"{where}: its classes are numbers in another order than that of their values, so the "
                    "lines of classes= could be meant in either: leave it out, and name classes by label, "
                    "with a table or a file as class_names of a battery."
                )
            return listed
        known = [names for names in told if names is not None]
        if len(known) == len(told):
            longest = max(known, key=len)
            every = list(dict.fromkeys([*longest, *(name for names in known for name in names)]))
            return naming.in_order(every) if naming.are_numbers(every) else every
        labels = [label for table in tables for label in table.named]
        if not all(isinstance(label, str) for label in labels):
            column = tables[0].columns.label
            raise DataError(f"{where}: the column '{column}' has no class names: pass classes=FILE.")
        return naming.in_order(labels)

    @property
    def trusted(self) -> tuple[str, ...]:
        """Folders that rows may name files in: that of the data set, or where `datasets` keeps downloads."""
        if _is_local(self.path):
            return (os.path.realpath(self.path),)
        config = _load_library().config
        kept = (config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, constants.HF_HUB_CACHE)
        return tuple(map(os.path.realpath, kept))


def _is_shuffled(names: Sequence[str] | None) -> bool:
    """Whether class names are numbers in another order than that of their values."""
    return (
        bool(names) and naming.are_numbers(names or ()) and naming.in_order(names or ()) != list(names or ())
    )


@dataclass(frozen=True)
class Columns:
    """Where a row has its image and its label, and what the labels are called."""

    image: str
    label: str
    names: Sequence[str] | None  # None: the labels are the names

    @classmethod
    def of(cls, where: str, features: Mapping[str, Any], image: str, label: str) -> "Columns":
        library = _load_library()
        image = _choose(where, "image", image, features, lambda kind: isinstance(kind, library.Image))
        label = _choose(where, "label", label, features, lambda kind: isinstance(kind, library.ClassLabel))
        return cls(image, label, getattr(features[label], "names", None))


def _choose(
    where: str, option: str, asked: str, features: Mapping[str, Any], fits: Callable[[Any], bool]
) -> str:
    """Return the column that was asked for, or the only one of the right type, or the one of that name."""
    fitting = [name for name, kind in features.items() if fits(kind)]
    if asked in features:
        return asked
    if not asked and len(fitting) == 1:
        return fitting[0]
    if not asked and not fitting and option in features:
        return option
    what = f"no column '{asked}'" if asked else f"{len(fitting) or 'no'} columns of {option}s"
    # without images it may be any table, even any text: its first line is not shown
    known = fitting or (
        features if any(isinstance(kind, _load_library().Image) for kind in features.values()) else ()
    )
    listed = " one of " + ", ".join(f"'{name}'" for name in known) if known else "NAME"
    raise DataError(f"{where} has {what}: pass {option}={listed}.")


def _choose_parts(where: str, found: Sequence[str], train: str, test: str) -> dict[SplitName, str]:
    """Return which split is which part."""
    asked: dict[SplitName, str] = {"train": train, "test": test}
    for part, name in asked.items():
        if name and name not in found:
            raise DataError(f"{where} has no split '{name}': pass {part}= one of {', '.join(found)}.")
    if train and train == test:
        raise DataError(f"{where}: train and test are both '{train}': name two splits, or leave out test.")
    rest = [name for name in found if name not in asked.values()]
    chosen = {**parts_among(rest), **{part: name for part, name in asked.items() if name}}
    if not chosen:
        raise DataError(f"{where} has neither train nor test: pass train= and test= of {', '.join(found)}.")
    return chosen


@dataclass(frozen=True)
class Table:
    """One split of the data set, which `datasets` keeps on the disk."""

    where: str
    part: SplitName
    rows: Any  # datasets.Dataset
    columns: Columns
    trusted: Sequence[str]

    @cached_property
    def labels(self) -> list[Any]:  # (n,)
        """The labels as they are stored. Raises InputError where a row has none, or more than one."""
        found = list(self.rows.select_columns([self.columns.label])[:][self.columns.label])
        # where one is missing, whole numbers were read as fractions by whoever wrote the table
        found = [int(label) if isinstance(label, float) and label.is_integer() else label for label in found]
        for row, label in enumerate(found):
            if not isinstance(label, str | int):
                raise DataError(
                    f"{self.where}: row {row} of {self.part} has the label {label!r}, which is no name or "
                    "whole number: name another column with label=..., or leave such rows out."
                )
        return found

    @cached_property
    def named(self) -> list[Any]:  # (n,)
        """The labels by this part's own class names, where it has any; -1 is how `datasets` says none."""
        names = self.columns.names
        if names is None:
            return [naming.tidied(label) if isinstance(label, str) else label for label in self.labels]
        return [names[label] if 0 <= label < len(names) else label for label in self.labels]

    @cached_property
    def images(self) -> Any:
        """The rows with nothing but the image, as its bytes or its path."""
        name = self.columns.image
        try:
            return self.rows.select_columns([name]).cast_column(name, _load_library().Image(decode=False))
        except Exception as problem:  # pyarrow's and the library's own
            raise DataError(
                f"{self.where}: the column '{name}' holds no images: {library_said(problem)}."
            ) from None

    def samples(self, names: Sequence[str]) -> Samples:
        places: dict[Any, int] = {name: place for place, name in enumerate(names)}
        given = self.named
        if not all(label in places for label in given):
            places = {place: place for place in range(len(names))}  # numbers, or none of these
            given = self.labels
        for row, label in enumerate(given):
            if label not in places:
                raise DataError(
                    f"{self.where}: row {row} of {self.part} has the label {label!r}, which is none of the "
                    f"{len(names)} classes: name another split with {self.part}=..., or correct it."
                )
        ids = tuple(f"{self.part}/{row}" for row in range(len(self.labels)))
        labels = np.array([places[label] for label in given], dtype=np.int64)
        assert len(self.images) == len(ids)  # made now: what is wrong with the column shows before the work
        return Samples(ids, labels, self.read)

    def read(self, i: int) -> bytes | Stretch:
        try:
            stored = self.images[i][self.columns.image] or {}
        except Exception as problem:  # pyarrow's: a damaged file
            raise Unreadable(library_said(problem)) from None
        if stored.get("bytes") is not None:
            refuse_large(len(stored["bytes"]))
            return bytes(stored["bytes"])
        path = Path(stored.get("path") or "\0")
        if not any(is_below(folder, path) for folder in self.trusted):  # a row may name any file of yours
            raise Unreadable("the data set neither holds nor comes with it")
        return read_file(path)


@dataclass(frozen=True)
class _Loaded:
    """Every split by name, and the files that each was made from, where the library says so."""

    splits: Mapping[str, Any]
    files: Mapping[str, Sequence[str]]


def load(path: str, config: str, revision: str, reach: Reach) -> _Loaded:
    """Return every split by name. Raises InputError in one line, whatever the library ran into."""
    library = _load_library()
    if _is_local(path):
        refuse_strange_texts(reach, Path(path))
        _refuse_leading_out(Path(path))
    elif Path(path).is_absolute():  # no name of the hub: it isn't asked
        raise DataError(f"no folder at '{path}': check the path.")
    shown = library.utils.are_progress_bars_disabled()
    library.disable_progress_bars()
    try:
        if any((Path(path) / name).is_file() for name in _SAVED):
            found, files = library.load_from_disk(path), {}  # each part with the names it was saved with
        else:
            with nullcontext() if _is_local(path) else hub_asked():
                builder = library.load_dataset_builder(path, config or None, revision=revision or None)
                builder.download_and_prepare()
            found, files = builder.as_dataset(), dict(builder.config.data_files or {})
    except Exception as problem:  # OSError, ValueError, pyarrow's, the library's own ...
        kind = "folder" if _is_local(path) else "folder, nor a data set of the hub,"
        why = library_said(problem, reach)[:300].rstrip(".")
        way = (
            "the network is there" if _is_local(path) else f"the network is there: {way_to_have(path, True)}"
        )
        raise DataError(
            f"cannot load '{path}' with `datasets`: {why}. Check that it is the name of a {kind} "
            f"and that {way}."
        ) from None
    finally:
        if not shown:
            library.enable_progress_bars()
    return _Loaded(found if isinstance(found, Mapping) else {"train": found}, files)


def _refuse_leading_out(folder: Path) -> None:
    """The card of a data set may name any file, or an address, as its data."""
    for name in _CARDS:
        card = folder / name
        if card.is_file() and any(_leads_out(text) for text in _texts_in(card)):
            raise DataError(
                f"'{card}' names data outside of its folder: correct its data_files and data_dir."
            )


def _leads_out(text: str) -> bool:
    return "://" in text or "::" in text or ".." in Path(text).parts or text.startswith(("/", "~", "\\"))


def _texts_in(card: Path) -> Iterator[str]:
    """Yield what a card says of where the files of the data set lie."""
    import yaml

    with card.open(encoding="utf-8", errors="replace") as file:
        text = file.read(_LONGEST_CARD)
    front = text.split("---", 2)[1] if text.startswith("---") else text if card.suffix == ".yaml" else ""
    try:
        found = yaml.safe_load(front)
    except (yaml.YAMLError, RecursionError):  # `datasets` says so
        return
    waiting = [found.get("configs")] if isinstance(found, dict) else []
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += [inner for key, inner in value.items() if key != "description"]
        elif isinstance(value, list):
            waiting += value


def _load_library() -> Any:
    """Import `datasets`, which takes seconds. Raises InputError if it is missing or too old."""
    try:
        import datasets
    except ImportError:
        raise DataError(f"the source 'huggingface' needs the library `datasets`: {_INSTALL}.") from None
    if int(datasets.__version__.split(".")[0]) < OLDEST:
        raise DataError(f"`datasets` {datasets.__version__} executes code that comes with data: {_INSTALL}.")
    return datasets


def _is_local(path: str) -> bool:
    return Path(path).exists()
