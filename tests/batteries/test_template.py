"""A battery from a folder: commented, with humanised names, and read by everything that asks."""

import pytest
from sources import folder

from forgetcheck.batteries.battery import read_battery
from forgetcheck.batteries.template import start
from forgetcheck.errors import InputError

NAMES = ("golden_retriever", "red fox", "Übersee-Käfer")


def test_parts_of_their_own(tmp_path):
    folder(tmp_path / "my animals", names=NAMES)
    path = tmp_path / "battery.toml"
    path.write_text(start(tmp_path / "my animals", tmp_path), encoding="utf-8")
    battery = read_battery(str(path))
    entry = battery.entries["my animals"]
    assert entry.class_names == ["golden retriever", "red fox", "Übersee-Käfer"]
    assert entry.source == "folder:path=my animals"
    assert entry.expected.model_dump() == {"classes": 3, "train": 18, "test": 12}
    assert len(battery.tasks["my animals"].split("test")) == 12
    assert "# " in path.read_text(encoding="utf-8").split("templates")[0]
    assert "Fewer than 30 test images: golden retriever (4)" in path.read_text(encoding="utf-8")


def test_class_folders_are_split_by_content_which_is_said(tmp_path):
    folder(tmp_path / "data", {"": 9}, NAMES)
    text = start(tmp_path / "data", tmp_path / "elsewhere")
    assert 'source = "folder:path=../data"' in text
    assert "it has no parts of its own" in text
    assert "expected = {classes = 3, train = 18, test = 9}" in text


def test_a_test_part_alone(tmp_path):
    folder(tmp_path / "data", {"test": 2}, NAMES)
    assert "expected = {classes = 3, test = 6}" in start(tmp_path / "data", tmp_path)


def test_a_folder_without_classes_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError):
        start(tmp_path / "data", tmp_path)
    with pytest.raises(InputError, match="no folder of images"):
        start(tmp_path / "nowhere", tmp_path)
