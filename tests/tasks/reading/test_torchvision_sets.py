"""Every classification data set of the installed torchvision, found by itself, on files in its layout."""

import shutil
from collections import Counter

import pytest
from torchvision import datasets
from vision_layouts import LAYOUTS, without_sums, write_layout
from vision_pictures import shown

from forgetcheck.errors import InputError
from forgetcheck.tasks.base import Unreadable
from forgetcheck.tasks.reading.torchvision_sets import KINDS
from forgetcheck.tasks.torchvision import Torchvision, accepts

LEFT_OUT = {  # whatever else torchvision has must be readable; it has a layout, or the tests below fail
    "bases of others": "DatasetFolder ImageFolder VisionDataset",
    "video, or frames of it": "HMDB51 Kinetics MovingMNIST UCF101",
    "several labels an image": "CelebA",
    "boxes or captions": "CocoCaptions CocoDetection Flickr30k Flickr8k Kitti SBU VOCDetection WIDERFace",
    "a label a pixel": "Cityscapes SBDataset VOCSegmentation",
    "pairs": "LFWPairs PhotoTour",
    "stereo": "CREStereo CarlaStereo ETH3DStereo FallingThingsStereo InStereo2k Kitti2012Stereo "
    "Kitti2015Stereo Middlebury2014Stereo SceneFlowStereo SintelStereo",
    "flow": "FlyingChairs FlyingThings3D HD1K KittiFlow Sintel",
    "drawn at random, no files": "FakeData",
    "unpickles a file of the folder that it runs in": "LSUN LSUNClass",
}
OTHERS = {name for names in LEFT_OUT.values() for name in names.split()}
MADE = {name for name in datasets.__all__ if isinstance(getattr(datasets, name), type)}
FOUND = sorted(MADE - OTHERS)
IN_MEMORY = {  # by torchvision itself, as docs/batteries.md says
    *("CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "KMNIST", "EMNIST", "QMNIST", "SVHN", "STL10"),
    *("USPS", "SEMEION", "FER2013"),
}
PARTS = ("train", "test")


@pytest.fixture(autouse=True)
def unchecked(monkeypatch):
    without_sums(monkeypatch)


def test_every_classification_data_set_is_there():
    assert set(FOUND) <= set(KINDS)
    assert set(FOUND) <= set(LAYOUTS), "write the layout in tests/support/vision_layouts.py"
    assert not set(KINDS) & OTHERS


@pytest.mark.parametrize("name", FOUND)
def test_the_options_are_those_that_torchvision_takes(name):
    kind = KINDS[name]
    for options in kind.parts.values():
        assert all(accepts(getattr(datasets, name), option) for option in (*options, *kind.variants))


@pytest.mark.parametrize("name", FOUND)
def test_what_is_planted_is_found(name, tmp_path):
    rows, names = write_layout(name, tmp_path)
    task = Torchvision(name, str(tmp_path))
    splits = {part: task.split(part) for part in PARTS}
    ids = [each for split in splits.values() for each in split.ids]
    assert len(set(ids)) == len(ids)
    pictures, whole = Counter(), {row.role for row in rows} == {"neither"}
    for part, split in splits.items():
        images = [split.image(i) for i in range(len(split))]
        seen = [shown(image) for image in images]
        asked = [task.class_names[label] for label in split.labels]
        assert asked == [names[label] for _, label in seen]
        if whole:
            assert Counter(asked) == dict.fromkeys(names, {"train": 2, "test": 1}[part])
        else:
            assert {role for role, _ in seen} == {part}
            assert Counter(asked) == Counter(names[row.label] for row in rows if row.role == part)
        pictures.update(image.tobytes() for image in images)
    assert set(pictures.values()) == {1}, "a picture is in both parts"
    assert bool(task.notes) == whole


@pytest.mark.parametrize("name", FOUND)
def test_it_is_what_torchvision_reads(name, tmp_path):
    write_layout(name, tmp_path)
    task, again = Torchvision(name, str(tmp_path)), Torchvision(name, str(tmp_path))
    kind = KINDS[name]
    for part, options in kind.parts.items():
        found = task.index.parts[part]
        original = getattr(datasets, name)(str(tmp_path), **options, **kind.variant_options(""))
        pairs = [(int(label), closed(image).tobytes()) for image, label in original]
        ours = [(found.labels[i] + kind.first, found.image(i).tobytes()) for i in range(len(found))]
        assert sorted(ours) == sorted(pairs)
    for part in PARTS:
        assert task.split(part).contents() == again.split(part).contents()


def closed(image):
    with image:
        return image.convert("RGB")


@pytest.mark.parametrize("name", FOUND)
def test_images_are_read_when_they_are_asked_for(name, tmp_path):
    write_layout(name, tmp_path / "data")
    split = Torchvision(name, str(tmp_path / "data")).split("test")
    if name in IN_MEMORY:
        shutil.rmtree(tmp_path / "data")
        assert [split.image(i).mode for i in range(len(split))] == ["RGB"] * len(split)
        return
    places = [tmp_path / "data" / each for each in split.ids]
    if name == "PCAM":  # all of its images are in one file
        places = [tmp_path / "data" / "pcam" / "camelyonpatch_level_2_split_test_x.h5"]
    places[0].write_bytes(b"no image")
    with pytest.raises(Unreadable, match=r"^it is no image of a known format$|file signature not found"):
        split.image(0)
    if len(places) > 1:
        assert split.image(1).mode == "RGB"
        places[1].unlink()
        with pytest.raises(Unreadable, match="No such file"):
            split.image(1)


@pytest.mark.parametrize("name", FOUND)
def test_data_that_is_not_there_is_refused_with_what_to_do(name, tmp_path):
    if name == "PCAM":
        pytest.importorskip("h5py")
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(InputError) as caught:
            Torchvision(name, str(folder)).split("test")
        said = str(caught.value)
        assert "\n" not in said
        assert name in said or "no folder at" in said
        assert "root=DIR" in said
        assert ("download=true" in said.casefold()) == (
            name not in ("FER2013", "ImageNet", "LFWPeople", "StanfordCars")
        )
