"""Captions and their swaps, as SugarCrepe's files and tables have them."""

import json

import pytest
from sources import encoded, picture, put, swapped

from forgetcheck import catalog
from forgetcheck.errors import InputError
from forgetcheck.tasks.swaps import Swaps

ADDED = {
    "0": {"filename": "1.png", "caption": "a man", "negative_caption": "a man  in a hat"},
    "1": {"filename": "2.png", "caption": "a cup", "negative_caption": "two cups"},
}
TURNED = [{"filename": "2.png", "caption": "cup on book", "negative_caption": "book on cup", "extra": 1}]


@pytest.fixture
def sugar(tmp_path):
    """Write a folder of SugarCrepe's files, and images elsewhere."""
    for name in ("1.png", "2.png"):
        put(tmp_path / "val2017" / name, encoded(picture(name)))
    put(tmp_path / "data" / "add_att.json", json.dumps(ADDED).encode())
    put(tmp_path / "data" / "swap_obj.json", json.dumps(TURNED).encode())
    return tmp_path


def test_every_file_is_a_kind_and_every_entry_a_pair(sugar):
    task = Swaps(str(sugar / "data"), root=str(sugar / "val2017"))
    split = task.split("test")
    assert task.class_names == ("add att", "swap obj")
    assert split.ids == ("1.png", "2.png")  # an image is shown once, whatever is asked of it
    assert split.captions.places.tolist() == [0, 1, 1]
    assert split.captions.kinds.tolist() == [0, 0, 1]
    assert split.captions.texts == ("a man", "a cup", "cup on book")
    assert split.captions.swaps == ("a man in a hat", "two cups", "book on cup")


def test_one_file_is_one_kind(sugar):
    task = Swaps(str(sugar / "data" / "add_att.json"), root=str(sugar / "val2017"))
    assert task.class_names == ("swap",)
    assert len(task.split("test").captions) == 2


def test_a_table_has_its_own_kinds(tmp_path):
    task = catalog.build("tasks", swapped(tmp_path))
    assert task.class_names == ("drawn by us", "seen by us")
    assert task.split("test").captions.swaps[0] == "no a fox in the snow"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"0": {"filename": "1.png", "caption": "x"}}, "at 0.negative_caption: field required"),
        ({"0": {"filename": "1.png", "caption": "x", "negative_caption": " x"}}, "its swap are both 'x'"),
        ({"0": 3}, "at 0: "),
        (7, "x.json': input should be a valid dictionary"),
        ({}, "has no captions"),
        ([{"filename": "1.png", "caption": "x", "negative_caption": " "}], "has an empty swap: write it"),
        ([{"filename": "1.png", "caption": "", "negative_caption": "x"}], "has an empty caption"),
    ],
)
def test_what_is_no_pair_is_refused(tmp_path, content, said):
    path = put(tmp_path / "x.json", json.dumps(content).encode())
    with pytest.raises(InputError, match=said):
        Swaps(str(path)).split("test")


def test_a_kind_without_pairs_is_refused(sugar):
    put(sugar / "data" / "swap_att.json", b"{}")
    with pytest.raises(InputError, match=r"swap_att\.json' has no captions: remove it"):
        Swaps(str(sugar / "data"), root=str(sugar / "val2017")).split("test")


def test_a_kind_whose_name_is_no_unicode_is_refused(sugar):
    (sugar / "data" / "add_att.json").rename(sugar / "data" / "caf\udce9.json")
    with pytest.raises(InputError, match=r"has the kind 'caf\\udce9', which is not Unicode: rename it"):
        Swaps(str(sugar / "data"), root=str(sugar / "val2017")).split("test")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no JSON files: name the folder with SugarCrepe's"):
        Swaps(str(tmp_path)).split("test")
