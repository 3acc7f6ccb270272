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

Parts = Mapping[SplitName, Mapping[str, Any]]
Named = Callable[[Sequence[str], Any], Sequence[str]]
Files = Callable[[Any], Iterator[tuple[Path, int]]]

FLAG: Parts = {"train": {"train": True}, "test": {"train": False}}
SPLIT: Parts = {"train": {"split": "train"}, "test": {"split": "test"}}
TRAIN_VAL: Parts = {"train": {"split": "train"}, "test": {"split": "val"}}
TRAINVAL: Parts = {"train": {"split": "trainval"}, "test": {"split": "test"}}
WHOLE: Parts = {"train": {}}  # no parts of its own: split by content

NUMERALS = tuple("0123456789")
EUROSAT = (
    *("annual crop", "forest", "herbaceous vegetation", "highway", "industrial buildings", "pasture"),
    *("permanent crop", "residential buildings", "river", "sea or lake"),
)
EMOTIONS = ("angry", "disgusted", "afraid", "happy", "sad", "surprised", "neutral")
TISSUES = ("healthy lymph node tissue", "lymph node tissue with a tumor")
COUNTS = tuple(
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
TWINS = {  # ImageNet calls two classes crane and two maillot
    "n02012849": "crane (bird)",
    "n03126707": "crane (machine)",
    "n03710637": "maillot",
    "n03710721": "maillot (tank suit)",
}


def as_they_are(names: Sequence[str], dataset: Any) -> Sequence[str]:
    return names


def without_slashes(names: Sequence[str], dataset: Any) -> Sequence[str]:
    """Places are called /b/bakery/shop."""
    return [re.sub("^/./", "", name).replace("/", " ") for name in names]


def species(names: Sequence[str], dataset: Any) -> Sequence[str]:
    """Species are called by all ranks: 00001_Animalia_..._Lumbricus_terrestris."""
    return [" ".join(name.split("_")[-2:]) for name in names]


def apart(names: Sequence[str], dataset: Any) -> Sequence[str]:
    return [TWINS.get(number, name) for number, name in zip(dataset.wnids, names, strict=True)]


def signs(dataset: Any) -> Iterator[tuple[Path, int]]:
    return ((Path(path), label) for path, label in dataset._samples)


def pets(dataset: Any) -> Iterator[tuple[Path, int]]:
    return zip(dataset._images, dataset._labels, strict=True)


def numbered(folder: str, name: str) -> Files:
    """Find the images of Caltech by their numbers, in the folder of their class."""

    def listed(dataset: Any) -> Iterator[tuple[Path, int]]:
        for number, label in zip(dataset.index, dataset.y, strict=True):
            yield Path(dataset.root, folder, dataset.categories[label], name.format(label + 1, number)), label

    return listed


def digits(dataset: Any) -> Sequence[int]:
    """Beside the digit there are the writer, the form ..."""
    return list(dataset.targets[:, 0])


def patches(dataset: Any) -> Sequence[int]:
    """Read all labels at once: one by one, each opens both files and takes the image along."""
    place = dataset._base_folder / dataset._FILES[dataset._split]["targets"][0]
    with dataset.h5py.File(place) as file:
        return list(file["y"][:, 0, 0, 0])


@dataclass(frozen=True)
class Kind:
    """How one of torchvision's classes is used."""

    parts: Parts
    names: tuple[str, ...] = ()  # where torchvision has none, or none that can be said
    named: Named = as_they_are
    variants: Mapping[str, Any] = field(
        default_factory=dict
    )  # the option that chooses one, and the usual one
    first: int = 0  # its lowest label
    files: Files | None = None  # its files and labels, where torchvision lets no one else open them
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
    "CIFAR10": Kind(FLAG),
    "CIFAR100": Kind(FLAG),
    "CLEVRClassification": Kind(TRAIN_VAL, COUNTS, first=3),  # its test labels are not public
    "Caltech101": Kind(WHOLE, files=numbered("101_ObjectCategories", "image_{1:04d}.jpg")),
    "Caltech256": Kind(WHOLE, files=numbered("256_ObjectCategories", "{:03d}_{:04d}.jpg")),
    "Country211": Kind(SPLIT),
    "DTD": Kind(SPLIT, variants={"partition": 1}),
    "EMNIST": Kind(FLAG, variants={"split": "balanced"}),
    "EuroSAT": Kind(WHOLE, EUROSAT),
    "FER2013": Kind(SPLIT, EMOTIONS),
    "FGVCAircraft": Kind(TRAINVAL, variants={"annotation_level": "variant"}),
    "FashionMNIST": Kind(FLAG),
    "Flowers102": Kind(SPLIT),
    "Food101": Kind(SPLIT),
    "GTSRB": Kind(SPLIT, SIGNS, files=signs),
    "INaturalist": Kind(
        {"train": {"version": "2021_train"}, "test": {"version": "2021_valid"}}, named=species
    ),
    "ImageNet": Kind(TRAIN_VAL, named=apart),
    "Imagenette": Kind(TRAIN_VAL, variants={"size": "full"}),
    "KMNIST": Kind(FLAG),
    "LFWPeople": Kind(WHOLE, variants={"image_set": "funneled"}, gone=True),  # its parts share no person
    "MNIST": Kind(FLAG, NUMERALS),
    "Omniglot": Kind(WHOLE, named=without_slashes, shuffled=True),  # its parts share no character
    "OxfordIIITPet": Kind(TRAINVAL, files=pets),
    "PCAM": Kind(SPLIT, TISSUES, labels=patches),
    "Places365": Kind(
        {"train": {"split": "train-standard"}, "test": {"split": "val"}}, named=without_slashes
    ),
    "QMNIST": Kind(FLAG, NUMERALS, labels=digits),
    "RenderedSST2": Kind(SPLIT),
    "SEMEION": Kind(WHOLE, NUMERALS),
    "STL10": Kind(SPLIT),
    "SUN397": Kind(WHOLE, named=without_slashes),
    "SVHN": Kind(SPLIT, NUMERALS),
    "StanfordCars": Kind(SPLIT, gone=True),
    "USPS": Kind(FLAG, NUMERALS),
}
