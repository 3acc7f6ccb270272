"""Which of torchvision's data sets have one label per image, how they are asked, what their classes are.

Left out: video (Kinetics, HMDB51, UCF101), several labels (CelebA), pairs, captions, detection, segmentation,
flow, generated data (FakeData), and LSUN, which unpickles a file of the current folder.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forgetcheck.errors import DataError
from forgetcheck.tasks.base import SplitName

_Parts = Mapping[SplitName, Mapping[str, Any]]
_Named = Callable[[Sequence[str], Any], Sequence[str]]
_Files = Callable[[Any], Iterator[tuple[Path, int]]]

_FLAG: _Parts = {"train": {"train": True}, "test": {"train": False}}
_SPLIT: _Parts = {"train": {"split": "train"}, "test": {"split": "test"}}
_TRAIN_VAL: _Parts = {"train": {"split": "train"}, "test": {"split": "val"}}
_TRAINVAL: _Parts = {"train": {"split": "trainval"}, "test": {"split": "test"}}
_WHOLE: _Parts = {"train": {}}  # no parts of its own: split by content

_NUMERALS = tuple("0123456789")
EUROSAT = (
    *("annual crop", "forest", "herbaceous vegetation", "highway", "industrial buildings", "pasture"),
    *("permanent crop", "residential buildings", "river", "sea or lake"),
)
_EMOTIONS = ("angry", "disgusted", "afraid", "happy", "sad", "surprised", "neutral")
_TISSUES = ("healthy lymph node tissue", "lymph node tissue with a tumor")
_COUNTS = tuple(
    f"{count} objects" for count in ("three", "four", "five", "six", "seven", "eight", "nine", "ten")
)
SIGNS = (  # in the words of the benchmark's documentation
    *(f"{speed} km/h speed limit" for speed in (20, 30, 50, 60, 70, 80)),
    "end of 80 km/h speed limit",
    *(f"{speed} km/h speed limit" for speed in (100, 120)),
    *("no overtaking", "no overtaking for trucks", "priority at the next crossing", "priority road"),
    *("give way", "stop", "no vehicles", "no trucks", "no entry", "danger"),
    *("bend to the left", "bend to the right", "double bend", "bumpy road", "slippery road"),
    *("road narrows", "road works", "traffic lights ahead", "pedestrians", "children", "bicycles"),
    *("snow or ice", "wild animals", "end of all restrictions", "turn right", "turn left", "straight ahead"),
    *("straight ahead or right", "straight ahead or left", "keep right", "keep left", "roundabout"),
    *("end of no overtaking", "end of no overtaking for trucks"),
)
_TWINS = {  # ImageNet calls two classes crane and two maillot
    "n02012849": "crane (bird)",
    "n03126707": "crane (machine)",
    "n03710637": "maillot",
    "n03710721": "maillot (tank suit)",
}


def _as_they_are(names: Sequence[str], dataset: Any) -> Sequence[str]:
    return names


def without_slashes(names: Sequence[str], dataset: Any) -> Sequence[str]:
    """Places are called /b/bakery/shop."""
    return [re.sub("^/./", "", name).replace("/", " ") for name in names]


def _species(names: Sequence[str], dataset: Any) -> Sequence[str]:
    """Species are called by all ranks: 00001_Animalia_..._Lumbricus_terrestris."""
    return [" ".join(name.split("_")[-2:]) for name in names]


def _apart(names: Sequence[str], dataset: Any) -> Sequence[str]:
    return [_TWINS.get(number, name) for number, name in zip(dataset.wnids, names, strict=True)]


def _signs(dataset: Any) -> Iterator[tuple[Path, int]]:
    return ((Path(path), label) for path, label in dataset._samples)


def pets(dataset: Any) -> Iterator[tuple[Path, int]]:
    return zip(dataset._images, dataset._labels, strict=True)


def numbered(folder: str, name: str) -> _Files:
    """Find the images of Caltech by their numbers, in the folder of their class."""

    def listed(dataset: Any) -> Iterator[tuple[Path, int]]:
        for number, label in zip(dataset.index, dataset.y, strict=True):
            yield Path(dataset.root, folder, dataset.categories[label], name.format(label + 1, number)), label

    return listed


def digits(dataset: Any) -> Sequence[int]:
    """Beside the digit there are the writer, the form ..."""
    return list(dataset.targets[:, 0])


def _patches(dataset: Any) -> Sequence[int]:
    """Read all labels at once: one by one, each opens both files and takes the image along."""
    place = dataset._base_folder / dataset._FILES[dataset._split]["targets"][0]
    with dataset.h5py.File(place) as file:
        return list(file["y"][:, 0, 0, 0])


@dataclass(frozen=True)
class Kind:
    """How one of torchvision's classes is used."""

    parts: _Parts
    names: tuple[str, ...] = ()  # where torchvision has none, or none that can be said
    named: _Named = _as_they_are
    variants: Mapping[str, Any] = field(
        default_factory=dict
    )  # the option that chooses one, and the usual one
    first: int = 0  # its lowest label
    files: _Files | None = None  # its files and labels, where torchvision lets no one else open them
    labels: Callable[[Any], Sequence[int]] | None = None  # where they are not simply listed
    shuffled: bool = False  # torchvision numbers its classes in the order of the disk
    gone: bool = False  # torchvision has an option to download it, but no address any more

    def variant_options(self, asked: str) -> dict[str, Any]:
        """Return the option for a variant. Raises InputError if there are none, or it is no number."""
        if asked and not self.variants:
            raise DataError("this data set of torchvision has no variants: leave out variant.")
        if asked and any(isinstance(usual, int) for usual in self.variants.values()):
            if not asked.isdecimal():
                raise DataError(f"variant={asked}: this data set of torchvision has numbered ones.")
            return {option: int(asked) for option in self.variants}
        return {option: asked or usual for option, usual in self.variants.items()}


KINDS: Mapping[str, Kind] = {
    "CIFAR10": Kind(_FLAG),
    "CIFAR100": Kind(_FLAG),
    "CLEVRClassification": Kind(_TRAIN_VAL, _COUNTS, first=3),  # its test labels are not public
    "Caltech101": Kind(_WHOLE, files=numbered("101_ObjectCategories", "image_{1:04d}.jpg")),
    "Caltech256": Kind(_WHOLE, files=numbered("256_ObjectCategories", "{:03d}_{:04d}.jpg")),
    "Country211": Kind(_SPLIT),
    "DTD": Kind(_SPLIT, variants={"partition": 1}),
    "EMNIST": Kind(_FLAG, variants={"split": "balanced"}),
    "EuroSAT": Kind(_WHOLE, EUROSAT),
    "FER2013": Kind(_SPLIT, _EMOTIONS),
    "FGVCAircraft": Kind(_TRAINVAL, variants={"annotation_level": "variant"}),
    "FashionMNIST": Kind(_FLAG),
    "Flowers102": Kind(_SPLIT),
    "Food101": Kind(_SPLIT),
    "GTSRB": Kind(_SPLIT, SIGNS, files=_signs),
    "INaturalist": Kind(
        {"train": {"version": "2021_train"}, "test": {"version": "2021_valid"}}, named=_species
    ),
    "ImageNet": Kind(_TRAIN_VAL, named=_apart),
    "Imagenette": Kind(_TRAIN_VAL, variants={"size": "full"}),
    "KMNIST": Kind(_FLAG),
    "LFWPeople": Kind(_WHOLE, variants={"image_set": "funneled"}, gone=True),  # its parts share no person
    "MNIST": Kind(_FLAG, _NUMERALS),
    "Omniglot": Kind(_WHOLE, named=without_slashes, shuffled=True),  # its parts share no character
    "OxfordIIITPet": Kind(_TRAINVAL, files=pets),
    "PCAM": Kind(_SPLIT, _TISSUES, labels=_patches),
    "Places365": Kind(
        {"train": {"split": "train-standard"}, "test": {"split": "val"}}, named=without_slashes
    ),
    "QMNIST": Kind(_FLAG, _NUMERALS, labels=digits),
    "RenderedSST2": Kind(_SPLIT),
    "SEMEION": Kind(_WHOLE, _NUMERALS),
    "STL10": Kind(_SPLIT),
    "SUN397": Kind(_WHOLE, named=without_slashes),
    "SVHN": Kind(_SPLIT, _NUMERALS),
    "StanfordCars": Kind(_SPLIT, gone=True),
    "USPS": Kind(_FLAG, _NUMERALS),
}
