"""A classification data set of torchvision by its class name (CIFAR10, DTD ...), with its own splits.

Nothing is downloaded unless download=true. A data set that torchvision gives no splits (EuroSAT, SUN397,
Caltech101 ...) is split by content hash. Some are kept in memory by torchvision itself (CIFAR, MNIST, SVHN).
"""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forgetcheck.catalog import Share, White
from forgetcheck.errors import DataError, InputError, unknown_name
from forgetcheck.tasks.base import SplitName, Task, Unreadable
from forgetcheck.tasks.indexed import Index, Indexed
from forgetcheck.tasks.reading import naming
from forgetcheck.tasks.reading.decode import WHITE, as_rgb, refusing
from forgetcheck.tasks.reading.limiting import limited
from forgetcheck.tasks.reading.reach import Reach, data_folders, library_said, reach_of, refuse_strange_texts
from forgetcheck.tasks.reading.samples import Samples, file_samples
from forgetcheck.tasks.reading.torchvision_sets import KINDS, Kind

_LABELS = ("targets", "labels", "_labels", "y")  # where data sets without a loader keep them
PAIRS = "_samples"
_CHECKED = 16  # samples whose label is compared with what the data set itself says
_ADVICE = re.compile(r"\.? You can (use|set) download=True to download it")  # here it is called otherwise
NAMES = ("classes", "categories", "all_categories", "_characters", "class_to_idx")


@dataclass(frozen=True)
class Torchvision(Indexed, Task):
    """`torchvision.datasets.<name>(root)`; `variant` is what else a few of them must be told."""

    name: str
    root: str
    download: bool = False
    variant: str = ""  # EMNIST: its split, FGVCAircraft: the level, DTD: the partition, Imagenette: the size
    classes: str = ""  # a file with one class name a line
    prompts: str = ""  # a file of templates
    unreadable: Share = 0.0
    white: White = WHITE  # the brightest level of 16-bit gray, where the data set is one of image files

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise unknown_name(
                "classification data set of torchvision", self.name, KINDS, "forgetcheck list tasks"
            )

    @cached_property
    def index(self) -> Index:
        kind = KINDS[self.name]
        with limited(Path(self.root)) if self.download else nullcontext():
            found = {part: self.open(options) for part, options in kind.parts.items()}
        first = next(iter(found.values()))
        where = f"torchvision's {self.name}"
        samples = {part: self.samples(part, kind, dataset) for part, dataset in found.items()}
        names = () if self.classes and not kind.shuffled else _names_of(where, kind, first)
        if kind.shuffled:
            samples, names = _numbered_by_name(samples, names), tuple(sorted(names))
        if self.classes:
            path = Path(self.classes)
            names = naming.read_lines(path, reach_of(self), self.around(path))
        for part in samples.values():
            _refuse_odd(where, part.labels, names)
        whole = samples["train"] if set(samples) == {"train"} else None
        return Index(where, naming.checked(where, names, exact=not self.classes), samples, whole)

    def around(self, text: Path) -> Sequence[Path]:
        return data_folders(Path(self.root))

    def open(self, options: Mapping[str, Any]) -> Any:
        """Make the data set. Raises InputError with the way to get it."""
        from torchvision import datasets  # seconds, and it brings torch: only when asked

        maker, kind = getattr(datasets, self.name, None), KINDS[self.name]
        if maker is None:
            raise DataError(f"this torchvision has no {self.name}: update it.")
        way = _way_to_get(kind, maker)
        if not (self.download or Path(self.root).is_dir()):
            raise DataError(f"no folder at '{self.root}': {way}.")
        refuse_strange_texts(reach_of(self), Path(self.root))
        chosen = {**options, **kind.variant_options(self.variant)}
        if accepts(maker, "loader"):
            chosen["loader"] = str  # paths instead of pictures: they are read and decoded here
        if accepts(maker, "download"):
            chosen["download"] = self.download
        try:
            return maker(self.root, **chosen)
        except InputError:
            raise
        except Exception as problem:  # RuntimeError, OSError, ValueError, what a damaged file leads to ...
            text = _ADVICE.sub("", library_said(problem, reach_of(self)))[:300].rstrip(".")
            raise DataError(f"torchvision cannot read {self.name} in '{self.root}': {text}; {way}.") from None

    def samples(self, part: str, kind: Kind, dataset: Any) -> Samples:
        if kind.files:
            return _listed_files(Path(self.root), kind, kind.files(dataset), reach_of(self))
        if accepts(type(dataset), "loader"):
            pairs = (dataset[i] for i in range(len(dataset)))
            return _listed_files(Path(self.root), kind, pairs, reach_of(self))
        if self.white != WHITE:
            raise DataError(
                f"white={self.white}: torchvision itself decodes {self.name}, to 8 bits; leave out white."
            )
        labels = np.array(_labels_of(kind, dataset), dtype=np.int64) - kind.first
        return Samples(
            tuple(f"{part}/{i}" for i in range(len(dataset))),
            labels,
            _Pictures(dataset).read,
            show=_Pictures(dataset).show,
        )


@dataclass(frozen=True)
class _Pictures:
    """A data set that gives pictures, and not the files they come from."""

    dataset: Any

    def show(self, i: int) -> Image.Image:
        with refusing(), closing(self.dataset[i][0]) as image:
            return as_rgb(image)

    def read(self, i: int) -> bytes:
        """Return the pixels, to tell pictures apart by."""
        image = self.show(i)
        return f"{image.size}".encode() + image.tobytes()


def _listed_files(root: Path, kind: Kind, pairs: Iterable[tuple[Any, int]], reach: Reach) -> Samples:
    """List the files of a data set by name: some are listed in the order of the disk."""
    rows = sorted((Path(path).relative_to(root).as_posix(), int(label) - kind.first) for path, label in pairs)
    outside = next((path for path, _ in rows if ".." in Path(path).parts), None)
    if outside is not None:  # the lists that some come with can say anything
        raise DataError(f"a list in '{root}' names '{outside}', outside of the data: get the data set again.")
    return file_samples(
        root, [path for path, _ in rows], [label for _, label in rows], None, True, reach=reach
    )


def _numbered_by_name(samples: Mapping[SplitName, Samples], names: Sequence[str]) -> dict[SplitName, Samples]:
    """Number the classes in the order of their names, which is the same on every machine."""
    rank = np.argsort(np.argsort(np.array(names)))
    return {part: replace(each, labels=rank[each.labels]) for part, each in samples.items()}


def _labels_of(kind: Kind, dataset: Any) -> Sequence[int]:
    """Return the labels (n,) without decoding, if the data set lets us."""
    listed = kind.labels and kind.labels(dataset)
    found = listed or next((getattr(dataset, name) for name in _LABELS if hasattr(dataset, name)), None)
    if found is None and hasattr(dataset, PAIRS):
        found = [label for _, label in getattr(dataset, PAIRS)]
    if found is None:
        found = [_label_at(dataset, i) for i in range(len(dataset))]
    if any(label is None for label in found):
        raise DataError(f"{type(dataset).__name__} has no labels here: its test labels are in another file.")
    labels = [int(label) for label in found]
    assert len(labels) == len(dataset)
    for i in np.linspace(0, len(dataset) - 1, _CHECKED, dtype=int).tolist() if labels else ():
        with suppress(Unreadable):
            assert labels[i] == _label_at(dataset, i), f"torchvision keeps the labels of {dataset} elsewhere"
    return labels


def _label_at(dataset: Any, i: int) -> int:
    with refusing():
        image, label = dataset[i]
        image.close()  # some are opened only
    return int(label)


def _names_of(where: str, kind: Kind, dataset: Any) -> tuple[str, ...]:
    """Return the class names that are known, or those of torchvision."""
    if kind.names:
        return kind.names
    found = next((getattr(dataset, name) for name in NAMES if hasattr(dataset, name)), None)
    if found is None:
        raise DataError(f"{where} has no class names: pass classes=FILE, one name a line in its order.")
    return naming.humanised(
        kind.named([name if isinstance(name, str) else name[0] for name in found], dataset)
    )


def _refuse_odd(where: str, labels: NDArray[np.int64], names: Sequence[str]) -> None:
    if not len(labels):
        raise DataError(f"{where} is empty: get it again.")
    if labels.min() < 0 or labels.max() >= len(names):
        raise DataError(f"{where} has the label {labels.max()}, but there are {len(names)} class names.")


def _way_to_get(kind: Kind, maker: Any) -> str:
    if accepts(maker, "download") and not kind.gone:
        return "name the folder that has it as root=DIR, or pass download=true to have torchvision get it"
    return (
        "torchvision doesn't download it: get it as its documentation says, and name the folder as root=DIR"
    )


def accepts(maker: type, option: str) -> bool:
    """Whether a class takes an option, itself or by what it passes on to the class it is made from."""
    for each in maker.__mro__:
        options = inspect.signature(each.__init__).parameters  # type: ignore[misc]
        if option in options:
            return True
        if not any(o.kind is inspect.Parameter.VAR_KEYWORD for o in options.values()):
            return False
    return False
