"""What is asked of data sets of torchvision, and what is refused; test_torchvision_sets.py reads them all."""

import sys

import numpy as np
import pytest
from PIL import Image
from sources import encoded, eurosat, lines, picture, put
from torchvision import datasets
from vision_layouts import without_sums, write_layout
from vision_pictures import shown

from forgetcheck import catalog
from forgetcheck.errors import InputError
from forgetcheck.tasks import torchvision
from forgetcheck.tasks.base import Unreadable
from forgetcheck.tasks.reading.torchvision_sets import without_slashes
from forgetcheck.tasks.torchvision import Torchvision

JPEG = encoded(picture("x"), "JPEG")


def refused(task, *words):
    with pytest.raises(InputError) as caught:
        task.split("test")
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_files_are_in_the_order_of_their_names_and_keep_them(tmp_path):
    write_layout("DTD", tmp_path)
    split = Torchvision("DTD", str(tmp_path)).split("test")
    assert split.ids[0] == "dtd/dtd/images/banded/banded_0004.jpg"


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
        with pytest.raises(InputError, match=words):
            catalog.build("tasks", spec)


def test_variants(tmp_path):
    write_layout("DTD", tmp_path)
    refused(Torchvision("DTD", str(tmp_path), variant="x"), "numbered ones")
    refused(Torchvision("DTD", str(tmp_path), variant="2"), "cannot read DTD")
    assert len(Torchvision("DTD", str(tmp_path), variant="1").split("test")) == 4
    eurosat(tmp_path)
    refused(Torchvision("EuroSAT", str(tmp_path), variant="1"), "has no variants")


@pytest.mark.parametrize(
    ("name", "variant", "usual", "other"),
    [
        ("EMNIST", "digits", "emnist-balanced", "emnist-digits"),
        ("FGVCAircraft", "manufacturer", "variant", "manufacturer"),
        ("Imagenette", "160px", "imagenette2", "imagenette2-160"),
        ("LFWPeople", "deepfunneled", "lfw-funneled", "lfw-deepfunneled"),
    ],
)
def test_a_variant_is_read_where_it_lies(name, variant, usual, other, tmp_path, monkeypatch):
    without_sums(monkeypatch)
    write_layout(name, tmp_path)
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        path.rename(path.with_name(path.name.replace("lfw_", "lfw-").replace(usual, other)))
    refused(Torchvision(name, str(tmp_path)), f"torchvision cannot read {name}")
    split = Torchvision(name, str(tmp_path), variant=variant).split("test")
    assert [shown(split.image(i))[1] for i in range(len(split))] == split.labels.tolist()


def test_classes_of_ones_own(tmp_path):
    write_layout("DTD", tmp_path)
    names = str(lines(tmp_path / "names.txt", "stripes", "dots"))
    assert Torchvision("DTD", str(tmp_path), classes=names).class_names == ("stripes", "dots")
    names = str(lines(tmp_path / "names.txt", "stripes"))
    refused(Torchvision("DTD", str(tmp_path), classes=names), "has the label 1, but there are 1 class names")


def test_images_that_cannot_be_decoded_keep_their_place(tmp_path):
    write_layout("GTSRB", tmp_path)
    split = Torchvision("GTSRB", str(tmp_path)).split("test")
    put(tmp_path / split.ids[1], b"P6 12 12 255 cut")
    assert len(split) == 8
    with pytest.raises(Unreadable, match=r"truncated|not enough"):
        split.image(1)
    assert shown(split.image(2)) == ("test", split.labels[2])


@pytest.mark.parametrize("name", ["Caltech101", "Caltech256", "GTSRB", "OxfordIIITPet"])
def test_no_image_is_handed_to_a_program_though_torchvision_would(name, tmp_path):
    write_layout(name, tmp_path)
    split = Torchvision(name, str(tmp_path)).split("test")
    put(tmp_path / split.ids[0], encoded(picture("x"), "EPS"))
    with pytest.raises(Unreadable, match="no image of a known format"):
        split.image(0)


def test_pictures_of_sixteen_bits_are_scaled_whoever_lists_them(tmp_path):
    write_layout("Caltech101", tmp_path)
    levels = np.full((4, 4), 32768, np.uint16)
    path = tmp_path / "caltech101" / "101_ObjectCategories" / "wild_cat" / "image_0001.jpg"
    put(path, encoded(Image.fromarray(levels), "PNG"))
    whole = Torchvision("Caltech101", str(tmp_path)).index.whole
    assert np.asarray(whole.image(3)).max() == 128


def test_a_list_that_leads_out_of_the_data_is_refused(tmp_path):
    write_layout("Food101", tmp_path / "data")
    put(tmp_path / "private.jpg", JPEG)
    put(tmp_path / "data" / "food-101" / "meta" / "test.json", b'{"apple_pie": ["../../../private"]}')
    refused(Torchvision("Food101", str(tmp_path / "data")), "../private.jpg', outside of the data")


@pytest.mark.parametrize("turn", [1, -1])
def test_classes_are_numbered_by_name_in_whatever_order_the_disk_has_them(turn, tmp_path, monkeypatch):
    without_sums(monkeypatch)
    write_layout("Omniglot", tmp_path)
    listed = datasets.omniglot.list_dir
    monkeypatch.setattr(datasets.omniglot, "list_dir", lambda folder: sorted(listed(folder))[::turn])
    names = str(lines(tmp_path / "names.txt", "dots", "lines"))
    for classes, expected in {
        "": ("Braille character02", "Greek character01"),
        names: ("dots", "lines"),
    }.items():
        task = Torchvision("Omniglot", str(tmp_path), classes=classes)
        assert task.class_names == expected
        split = task.split("test")
        assert [shown(split.image(i))[1] for i in range(2)] == (1 - split.labels).tolist()  # Greek was first


def test_a_test_part_whose_labels_are_kept_back(tmp_path, monkeypatch):
    without_sums(monkeypatch)
    pixels = " ".join(["7"] * 48 * 48)
    lines(tmp_path / "fer2013" / "train.csv", "emotion,pixels", *(f"{n % 7},{pixels}" for n in range(14)))
    lines(tmp_path / "fer2013" / "test.csv", "pixels", pixels)
    refused(Torchvision("FER2013", str(tmp_path)), "FER2013 has no labels here")


def test_labels_that_are_nowhere_are_those_of_the_samples(tmp_path, monkeypatch):
    without_sums(monkeypatch)
    write_layout("FER2013", tmp_path)
    monkeypatch.setattr(torchvision, "PAIRS", "nowhere")
    split = Torchvision("FER2013", str(tmp_path)).split("test")
    assert [shown(split.image(i))[1] for i in range(len(split))] == split.labels.tolist()


def test_a_data_set_that_needs_a_package_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    refused(Torchvision("PCAM", str(tmp_path)), "h5py is not found", "pip install h5py")


def test_a_data_set_without_names_or_images(tmp_path, monkeypatch):
    write_layout("DTD", tmp_path)
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
