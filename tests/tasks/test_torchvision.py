"""Data sets of torchvision from files in their own layouts; nothing is downloaded."""

import json
import pickle
import struct
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from sources import encoded, eurosat, folder, lines, picture, put
from torchvision import datasets

from forgetcheck import catalog
from forgetcheck.errors import CannotAsk
from forgetcheck.tasks import torchvision
from forgetcheck.tasks.base import Unreadable
from forgetcheck.tasks.torchvision import Torchvision, accepts
from forgetcheck.tasks.torchvision_sets import KINDS, without_slashes

OTHERS = {  # no single label per image, no files, or code in them; see torchvision_sets.py
    *("CarlaStereo", "CelebA", "Cityscapes", "CocoCaptions", "CocoDetection", "CREStereo", "DatasetFolder"),
    *("ETH3DStereo", "FakeData", "FallingThingsStereo", "Flickr30k", "Flickr8k", "FlyingChairs"),
    *(
        "FlyingThings3D",
        "HD1K",
        "HMDB51",
        "ImageFolder",
        "InStereo2k",
        "Kinetics",
        "Kitti",
        "Kitti2012Stereo",
    ),
    *("Kitti2015Stereo", "KittiFlow", "LFWPairs", "LSUN", "LSUNClass", "Middlebury2014Stereo", "MovingMNIST"),
    *("PhotoTour", "SBDataset", "SBU", "SceneFlowStereo", "Sintel", "SintelStereo", "UCF101", "VOCDetection"),
    *("VOCSegmentation", "VisionDataset", "WIDERFace"),
}
JPEG = encoded(picture("x"), "JPEG")


def refused(task, *words):
    with pytest.raises(CannotAsk) as caught:
        task.split("test")
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.fixture
def unchecked(monkeypatch):
    """Let files of ours pass for those that were published."""
    for module in ("cifar", "svhn", "semeion", "fer2013", "utils"):
        target = getattr(datasets, module, None) or sys.modules[f"torchvision.datasets.{module}"]
        monkeypatch.setattr(target, "check_integrity", lambda *_, **__: True)


def test_every_classification_data_set_is_there():
    made = {name for name in datasets.__all__ if isinstance(getattr(datasets, name), type)}
    assert made - OTHERS <= set(KINDS)
    assert not set(KINDS) & OTHERS


@pytest.mark.parametrize("name", KINDS)
def test_the_options_are_those_that_torchvision_takes(name):
    kind = KINDS[name]
    for options in kind.parts.values():
        assert all(accepts(getattr(datasets, name), option) for option in (*options, *kind.variants))


def cifar10(root):
    base = root / "cifar-10-batches-py"
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        dice = np.random.default_rng(sum(name.encode()))
        labels = [int(n) % 10 for n in range(20)]
        batch = {"data": dice.integers(0, 256, (20, 3072), dtype=np.uint8), "labels": labels}
        put(base / name, pickle.dumps(batch))
    names = ["airplane", "automobile", *"bcdfghst"]
    put(base / "batches.meta", pickle.dumps({"label_names": names}))


def mnist(root, name="MNIST", kinds=(("train", 30), ("t10k", 20)), prefix=""):
    for part, count in kinds:
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        raw = root / name / "raw"
        header = struct.pack(">4i", 0x803, count, 28, 28)
        put(raw / f"{prefix}{part}-images-idx3-ubyte", header + pixels.tobytes())
        labels = np.arange(count, dtype=np.uint8) % 10
        put(raw / f"{prefix}{part}-labels-idx1-ubyte", struct.pack(">2i", 0x801, count) + labels.tobytes())


def dtd(root):
    base = root / "dtd" / "dtd"
    for part in ("train", "val", "test"):
        names = [f"{name}/{name}_{part}.jpg" for name in ("banded", "polka-dotted")]
        lines(base / "labels" / f"{part}1.txt", *names)
        for name in names:
            put(base / "images" / name, encoded(picture(name), "JPEG"))


def gtsrb(root):
    base = root / "gtsrb"
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for label in range(43):
        put(base / "GTSRB" / "Training" / f"{label:05d}" / "00000.ppm", encoded(picture("x", label), "PPM"))
        put(
            base / "GTSRB" / "Final_Test" / "Images" / f"{label:05d}.ppm", encoded(picture("y", label), "PPM")
        )
        rows.append(f"{label:05d}.ppm;12;12;0;0;9;9;{label}")
    lines(base / "GT-final_test.csv", *rows)


def svhn(root):
    for part in ("train", "test"):
        pixels = np.random.default_rng(len(part)).integers(0, 256, (32, 32, 3, 20), dtype=np.uint8)
        root.mkdir(parents=True, exist_ok=True)
        savemat(root / f"{part}_32x32.mat", {"X": pixels, "y": (np.arange(20) % 10 + 1)[:, None]})


def food101(root):
    base = root / "food-101"
    for part in ("train", "test"):
        listed = {name: [f"{name}/{part}{n}" for n in range(2)] for name in ("apple_pie", "baby_back_ribs")}
        put(base / "meta" / f"{part}.json", json.dumps(listed).encode())
        for name in (name for names in listed.values() for name in names):
            put(base / "images" / f"{name}.jpg", encoded(picture(name), "JPEG"))


def pets(root):
    base = root / "oxford-iiit-pet"
    (base / "annotations" / "trimaps").mkdir(parents=True)
    for part in ("trainval", "test"):
        rows = [f"{name}_{part} {label} 1 1" for label, name in ((1, "Abyssinian"), (2, "american_bulldog"))]
        lines(base / "annotations" / f"{part}.txt", *rows)
        for row in rows:
            put(base / "images" / f"{row.split()[0]}.jpg", encoded(picture(row), "JPEG"))


def imagenet(root):
    numbers = {"n02012849": ("crane",), "n03126707": ("crane",), "n00000001": ("tench", "Tinca tinca")}
    for part in ("train", "val"):
        folder(root / part, {"": 2}, tuple(numbers))
        for number in numbers:
            (root / part / number / "image 0.png").rename(root / part / number / "x.JPEG")
    torch.save((numbers, ["n00000001"]), root / "meta.bin")


def clevr(root):
    base = root / "clevr" / "CLEVR_v1.0"
    for part in ("train", "val"):
        scenes = [{"image_filename": f"{n}.png", "objects": [{}] * (n % 8 + 3)} for n in range(16)]
        put(base / "scenes" / f"CLEVR_{part}_scenes.json", json.dumps({"scenes": scenes}).encode())
        for n in range(16):
            put(base / "images" / part / f"{n}.png", encoded(picture("x", n)))
    put(base / "images" / "test" / "0.png", JPEG)


def caltech101(root):
    base = root / "caltech101"
    (base / "Annotations").mkdir(parents=True)
    for name in ("BACKGROUND_Google", "accordion", "wild_cat"):
        for n in range(1, 4):
            image = encoded(picture(name, n).convert("L"), "JPEG")
            put(base / "101_ObjectCategories" / name / f"image_{n:04d}.jpg", image)


def inaturalist(root):
    for part in ("2021_train", "2021_valid"):
        for n, name in enumerate(("Lumbricus_terrestris", "Sabella_spallanzanii")):
            place = root / part / f"{n:05d}_Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_{name}"
            for number in range(2):
                put(place / f"{number}.jpg", JPEG)


def fer2013(root):
    rows = ["emotion,pixels,Usage"]
    for n in range(21):
        usage = "Training" if n < 14 else "PublicTest"
        rows.append(f"{n % 7},{' '.join([str(n)] * 48 * 48)},{usage}")
    lines(root / "fer2013" / "fer2013.csv", *rows)


def semeion(root):
    ink = [["0.0"] * (256 - n) + ["1.0"] * n for n in range(30)]
    labels = [["0"] * (n % 10) + ["1"] + ["0"] * (9 - n % 10) for n in range(30)]
    lines(root / "semeion.data", *(" ".join(row) for row in map(list.__add__, ink, labels)))


def sst2(root):
    for part in ("train", "valid", "test"):
        for name in ("negative", "positive"):
            put(root / "rendered-sst2" / part / name / f"{name}.png", encoded(picture(name + part)))


LAYOUTS = {  # how it is written, some class names, the sizes of train and test
    "CIFAR10": (cifar10, ("airplane", "automobile"), 100, 20),
    "MNIST": (mnist, ("0", "1"), 30, 20),
    "FashionMNIST": (lambda root: mnist(root, "FashionMNIST"), ("T-shirt/top", "Trouser"), 30, 20),
    "KMNIST": (lambda root: mnist(root, "KMNIST"), ("o", "ki"), 30, 20),
    "EMNIST": (
        lambda root: mnist(root, "EMNIST", (("train", 30), ("test", 20)), "emnist-balanced-"),
        ("0", "1"),
        30,
        20,
    ),
    "DTD": (dtd, ("banded", "polka-dotted"), 2, 2),
    "GTSRB": (gtsrb, ("20 km/h speed limit", "30 km/h speed limit"), 43, 43),
    "SVHN": (svhn, ("0", "1"), 20, 20),
    "Food101": (food101, ("apple pie", "baby back ribs"), 4, 4),
    "OxfordIIITPet": (pets, ("Abyssinian", "American Bulldog"), 2, 2),
    "ImageNet": (imagenet, ("tench", "crane (bird)", "crane (machine)"), 6, 6),
    "CLEVRClassification": (clevr, ("three objects", "four objects"), 16, 16),
    "Caltech101": (caltech101, ("accordion", "wild cat"), 4, 2),
    "INaturalist": (inaturalist, ("Lumbricus terrestris", "Sabella spallanzanii"), 4, 4),
    "FER2013": (fer2013, ("angry", "disgusted"), 14, 7),
    "SEMEION": (semeion, ("0", "1"), 20, 10),
    "EuroSAT": (eurosat, ("annual crop", "forest"), 40, 20),
    "RenderedSST2": (sst2, ("negative", "positive"), 2, 2),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_data_set_is_what_torchvision_reads(name, tmp_path):
    write, names, train, test = LAYOUTS[name]
    write(tmp_path)
    task = Torchvision(name, str(tmp_path))
    assert task.class_names[: len(names)] == names
    assert (len(task.split("train")), len(task.split("test"))) == (train, test)
    for part, options in KINDS[name].parts.items():
        found = task.index.parts[part]
        original = getattr(datasets, name)(str(tmp_path), **options, **KINDS[name].variant_options(""))
        pairs = [(int(label), closed(image).tobytes()) for image, label in original]
        ours = [(found.labels[i] + KINDS[name].first, found.image(i).tobytes()) for i in range(len(found))]
        assert sorted(ours) == sorted(pairs)
        assert len(set(found.ids)) == len(found)
    assert bool(task.notes) == (len(KINDS[name].parts) == 1)
    again = Torchvision(name, str(tmp_path))
    for part in ("train", "test"):
        assert task.split(part).contents() == again.split(part).contents()


def closed(image):
    with image:
        return image.convert("RGB")


def test_files_are_in_the_order_of_their_names_and_keep_them(tmp_path):
    dtd(tmp_path)
    split = Torchvision("DTD", str(tmp_path)).split("test")
    assert split.ids[0] == "dtd/dtd/images/banded/banded_test.jpg"


def test_what_is_not_there_says_how_to_get_it(tmp_path):
    refused(Torchvision("CIFAR10", str(tmp_path / "gone")), "no folder at", "download=true")
    refused(Torchvision("CIFAR10", str(tmp_path)), "torchvision cannot read CIFAR10", "pass download=true")
    refused(Torchvision("ImageNet", str(tmp_path)), "ImageNet", "torchvision doesn't download it", "root=DIR")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_downloaded_unless_asked(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(datasets.CIFAR10, "download", lambda self: asked.append(self.root))
    refused(Torchvision("CIFAR10", str(tmp_path)), "cannot read")
    assert asked == []
    refused(catalog.build("tasks", f"torchvision:name=CIFAR10,root={tmp_path},download=true"), "cannot read")
    assert asked == [str(tmp_path)]


def test_a_name_that_is_none():
    for spec, words in [
        ("torchvision:name=cifar10,root=x", "did you mean 'CIFAR10'"),
        ("torchvision:name=CocoDetection,root=x", "unknown classification data set of torchvision"),
        ("torchvision:name=LSUN,root=x", "unknown classification data set"),
        ("torchvision:name=CIFAR10", "torchvision needs root"),
    ]:
        with pytest.raises(CannotAsk, match=words):
            catalog.build("tasks", spec)


def test_variants(tmp_path):
    dtd(tmp_path)
    refused(Torchvision("DTD", str(tmp_path), variant="x"), "numbered ones")
    refused(Torchvision("DTD", str(tmp_path), variant="2"), "cannot read DTD")
    assert len(Torchvision("DTD", str(tmp_path), variant="1").split("test")) == 2
    eurosat(tmp_path)
    refused(Torchvision("EuroSAT", str(tmp_path), variant="1"), "has no variants")


def test_classes_of_ones_own(tmp_path):
    dtd(tmp_path)
    names = str(lines(tmp_path / "names.txt", "stripes", "dots"))
    assert Torchvision("DTD", str(tmp_path), classes=names).class_names == ("stripes", "dots")
    names = str(lines(tmp_path / "names.txt", "stripes"))
    refused(Torchvision("DTD", str(tmp_path), classes=names), "has the label 1, but there are 1 class names")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # torchvision leaves it open
def test_images_that_cannot_be_decoded_keep_their_place(tmp_path):
    gtsrb(tmp_path)
    dtd(tmp_path)
    put(tmp_path / "gtsrb" / "GTSRB" / "Final_Test" / "Images" / "00001.ppm", b"P6 12 12 255 cut")
    split = Torchvision("GTSRB", str(tmp_path)).split("test")
    assert len(split) == 43
    with pytest.raises(Unreadable, match=r"truncated|not enough"):
        split.image(1)
    put(tmp_path / "dtd" / "dtd" / "images" / "banded" / "banded_test.jpg", JPEG[:-200])
    with pytest.raises(Unreadable, match=r"(?i)truncated"):
        Torchvision("DTD", str(tmp_path)).split("test").image(0)


def test_pictures_of_sixteen_bits_are_scaled_whoever_opens_them(tmp_path):
    caltech101(tmp_path)
    levels = np.full((4, 4), 32768, np.uint16)
    path = tmp_path / "caltech101" / "101_ObjectCategories" / "wild_cat" / "image_0001.jpg"
    put(path, encoded(Image.fromarray(levels), "PNG"))
    whole = Torchvision("Caltech101", str(tmp_path)).index.whole
    assert np.asarray(whole.image(3)).max() == 128


@pytest.mark.usefixtures("unchecked")
def test_a_test_part_whose_labels_are_kept_back(tmp_path):
    pixels = " ".join(["7"] * 48 * 48)
    lines(tmp_path / "fer2013" / "train.csv", "emotion,pixels", *(f"{n % 7},{pixels}" for n in range(14)))
    lines(tmp_path / "fer2013" / "test.csv", "pixels", pixels)
    refused(Torchvision("FER2013", str(tmp_path)), "FER2013 has no labels here")


def test_labels_that_are_nowhere_are_those_of_the_samples(tmp_path, monkeypatch):
    gtsrb(tmp_path)
    monkeypatch.setattr(torchvision, "PAIRS", "nowhere")
    assert Torchvision("GTSRB", str(tmp_path)).split("test").labels.tolist() == list(range(43))


def test_a_data_set_without_names_or_images(tmp_path, monkeypatch):
    dtd(tmp_path)
    monkeypatch.setattr(torchvision, "NAMES", ("nowhere",))
    refused(Torchvision("DTD", str(tmp_path)), "has no class names: pass classes=FILE")
    monkeypatch.undo()
    lines(tmp_path / "dtd" / "dtd" / "labels" / "test1.txt")
    refused(Torchvision("DTD", str(tmp_path)), "is empty")


def test_places_are_called_without_their_letter():
    assert without_slashes(["/b/bakery/shop", "a/b"], None) == ["bakery shop", "a b"]


def test_a_torchvision_without_it(monkeypatch, tmp_path):
    monkeypatch.delattr(datasets, "DTD")
    refused(Torchvision("DTD", str(tmp_path)), "has no DTD: update it")
