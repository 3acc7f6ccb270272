"""Which layout each of torchvision's classification data sets has, and what its classes are to be called."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import vision_arrays as arrays
import vision_files as files
from torchvision import datasets
from vision_pictures import FLAGGED, VAL_IS_TEST, WHOLE, WITH_VALID, Row

DIGITS = {str(n): str(n) for n in range(10)}
TENCHES = {"n01440764": "tench", "n02102040": "English springer"}
CRANES = {
    "n01440764 tench, Tinca tinca": "tench",
    "n02012849 crane": "crane (bird)",
    "n03126707 crane": "crane (machine)",
}
EUROSAT = {
    "AnnualCrop": "annual crop",
    "Forest": "forest",
    "HerbaceousVegetation": "herbaceous vegetation",
    "Highway": "highway",
    "Industrial": "industrial buildings",
    "Pasture": "pasture",
    "PermanentCrop": "permanent crop",
    "Residential": "residential buildings",
    "River": "river",
    "SeaLake": "sea or lake",
}
EMOTIONS = dict(enumerate(("angry", "disgusted", "afraid", "happy", "sad", "surprised", "neutral")))


class Layout(NamedTuple):
    """How one data set is written, and its class names: as they are written, and as they are to be asked."""

    write: Callable[[Path, Sequence[str]], list[Row]]
    names: Mapping[str, str]  # where torchvision has names of its own, only what is planted


def alike(*names):
    return {name: name for name in names}


LAYOUTS = {
    "CIFAR10": Layout(
        arrays.cifar(
            "cifar-10-batches-py",
            "batches.meta",
            "label_names",
            {**{f"data_batch_{n}": "train" for n in range(1, 6)}, "test_batch": "test"},
            "labels",
        ),
        alike("airplane", "automobile", "bird"),
    ),
    "CIFAR100": Layout(
        arrays.cifar("cifar-100-python", "meta", "fine_label_names", FLAGGED, "fine_labels"),
        {"apple": "apple", "aquarium_fish": "aquarium fish", "baby": "baby"},
    ),
    "CLEVRClassification": Layout(
        files.clevr, {"3": "three objects", "4": "four objects", "5": "five objects"}
    ),
    "Caltech101": Layout(files.caltech101, {"accordion": "accordion", "wild_cat": "wild cat"}),
    "Caltech256": Layout(files.caltech256, {"001.ak47": "ak47", "002.american-flag": "american-flag"}),
    "Country211": Layout(
        files.filed("country211/{row.part}/{name}/{row.number}.jpg", WITH_VALID), alike("AD", "AE", "ZW")
    ),
    "DTD": Layout(files.dtd, alike("banded", "polka-dotted")),
    "EMNIST": Layout(arrays.mnist("EMNIST", "emnist-balanced-train", "emnist-balanced-test"), DIGITS),
    "EuroSAT": Layout(files.filed("eurosat/2750/{name}/{name}_{row.number}.jpg", WHOLE, 3), EUROSAT),
    "FER2013": Layout(arrays.fer2013, EMOTIONS),
    "FGVCAircraft": Layout(files.aircraft, alike("707-320", "A300B4", "F-16A/B")),
    "FashionMNIST": Layout(arrays.mnist("FashionMNIST"), alike("T-shirt/top", "Trouser", "Pullover")),
    "Flowers102": Layout(files.flowers, alike("pink primrose", "hard-leaved pocket orchid")),
    "Food101": Layout(files.food101, {"apple_pie": "apple pie", "baby_back_ribs": "baby back ribs"}),
    "GTSRB": Layout(
        files.gtsrb, {str(n): f"{speed} km/h speed limit" for n, speed in enumerate((20, 30, 50, 60))}
    ),
    "INaturalist": Layout(
        files.filed(
            "{row.part}/{row.label:05d}_Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_{name}/"
            "{row.number}.jpg",
            {"2021_train": "train", "2021_valid": "test", "2021_train_mini": "neither"},
        ),
        {
            "Lumbricus_terrestris": "Lumbricus terrestris",
            "Sabella_spallanzanii": "Sabella spallanzanii",
        },
    ),
    "ImageNet": Layout(files.imagenet, CRANES),
    "Imagenette": Layout(
        files.filed("imagenette2/{row.part}/{name}/{row.number}.JPEG", VAL_IS_TEST), TENCHES
    ),
    "KMNIST": Layout(arrays.mnist("KMNIST"), alike("o", "ki", "su")),
    "LFWPeople": Layout(files.faces, {"Aaron_Eckhart": "Aaron Eckhart", "Zhu_Rongji": "Zhu Rongji"}),
    "MNIST": Layout(arrays.mnist("MNIST"), DIGITS),
    "Omniglot": Layout(
        files.omniglot,
        {"Greek/character01": "Greek character01", "Braille/character02": "Braille character02"},
    ),
    "OxfordIIITPet": Layout(
        files.pets, {"Abyssinian": "Abyssinian", "american_bulldog": "American Bulldog", "boxer": "Boxer"}
    ),
    "PCAM": Layout(arrays.pcam, {"0": "healthy lymph node tissue", "1": "lymph node tissue with a tumor"}),
    "Places365": Layout(files.places, {"/a/airfield": "airfield", "/b/bakery/shop": "bakery shop"}),
    "QMNIST": Layout(arrays.qmnist, DIGITS),
    "RenderedSST2": Layout(
        files.filed("rendered-sst2/{row.part}/{name}/{row.number}.png", WITH_VALID),
        alike("negative", "positive"),
    ),
    "SEMEION": Layout(arrays.semeion, DIGITS),
    "STL10": Layout(arrays.stl10, alike("airplane", "bird", "car")),
    "SUN397": Layout(
        files.sun397, {"/a/abbey": "abbey", "/a/apartment_building/outdoor": "apartment building outdoor"}
    ),
    "SVHN": Layout(arrays.svhn, DIGITS),
    "StanfordCars": Layout(files.cars, alike("AM General Hummer SUV 2000", "Acura RL Sedan 2012")),
    "USPS": Layout(arrays.usps, DIGITS),
}


def write_layout(name, root):
    """Write one data set; return its rows, and the class names by the label that is planted."""
    layout = LAYOUTS[name]
    return layout.write(root, tuple(layout.names)), tuple(layout.names.values())


def without_sums(monkeypatch):
    """Let files of ours pass for those that were published: torchvision still looks for them."""
    present = datasets.utils.check_integrity
    for module in list(sys.modules.values()):
        if module.__name__.startswith("torchvision.datasets.") and hasattr(module, "check_integrity"):
            monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: present(path))
