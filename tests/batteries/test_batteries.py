"""The batteries that ship: read without their data, well worded, and clear about what is missing."""

import pytest
from sources import eurosat, shards
from torchvision.models import _meta

from forgetcheck.batteries.battery import Expected, names, read_battery
from forgetcheck.batteries.check import lint, plain
from forgetcheck.batteries.toml import battery_text
from forgetcheck.errors import InputError
from forgetcheck.tasks.reading.torchvision_sets import EUROSAT, SIGNS

FETCHED = [name for name in names() if name != "drawn"]


@pytest.fixture(autouse=True)
def nowhere(monkeypatch):
    monkeypatch.delenv("FORGETCHECK_DATA", raising=False)


def test_which_ship():
    assert {"drawn", "ldifs", "vtab"} <= set(names())


@pytest.mark.parametrize("name", FETCHED)
def test_every_task_says_what_it_is_and_how_to_get_it(name):
    for entry in read_battery(name).entries.values():
        assert entry.expected.classes
        assert entry.licence
        assert "${FORGETCHECK_DATA}" in entry.source
        assert "FORGETCHECK_DATA" in entry.get


@pytest.mark.parametrize("name", FETCHED)
def test_what_is_missing_is_all_that_is_wrong(name, tmp_path, monkeypatch):
    found = lint(name)
    tasks = read_battery(name).tasks
    assert [remark.task for remark in found.problems] == list(tasks)
    assert all("${FORGETCHECK_DATA} of its source is not set" in remark.text for remark in found.problems)
    monkeypatch.setenv("FORGETCHECK_DATA", str(tmp_path))
    missing = lint(name).problems
    assert {remark.task for remark in missing} == set(tasks)
    assert all("To get the data: " in remark.text for remark in missing)
    with pytest.raises(InputError, match="To get the data"):
        next(iter(read_battery(name).tasks.values())).split("test")


@pytest.mark.parametrize("name", FETCHED)
def test_stated_names_are_as_many_as_expected(name):
    for entry in read_battery(name).entries.values():
        if entry.class_names is not None:
            assert len(entry.class_names) == entry.expected.classes


def test_vtab_has_its_nineteen():
    battery = read_battery("vtab")
    assert len(battery.tasks) == 19
    assert battery.entries["eurosat"].expected.model_dump() == {"classes": 10, "train": 16200, "test": 5400}


def test_ldifs_has_the_ten_of_the_paper():
    tasks = "cars cifar10 cifar100 dtd eurosat gtsrb mnist resisc45 svhn imagenet"
    battery = read_battery("ldifs")
    assert set(battery.tasks) == set(tasks.split())
    assert all(entry.templates for name, entry in battery.entries.items() if name != "resisc45")


def test_imagenet_is_in_the_order_of_its_labels():
    """torchvision's models list the same classes, most under the same names."""
    ours = read_battery("ldifs").entries["imagenet"].class_names
    places = {plain(name): place for place, name in enumerate(_meta._IMAGENET_CATEGORIES)}
    shared = [(places[plain(name)], place) for place, name in enumerate(ours) if plain(name) in places]
    assert len(shared) > 500
    assert [pair for pair in shared if pair[0] != pair[1]] == []


def test_stated_names_fit_the_order_of_the_source():
    """What the source calls its classes, and what the battery calls them, in one order."""
    entries = read_battery("ldifs").entries
    assert len(SIGNS) == len(entries["gtsrb"].class_names)
    assert entries["gtsrb"].class_names[14] == SIGNS[14] == "stop"
    pairs = list(zip(EUROSAT, entries["eurosat"].class_names, strict=True))
    odd = [ours for theirs, ours in pairs if theirs.split()[0] not in ours]
    assert odd == ["brushland or shrubland"]


def excerpt(tmp_path, battery, name, **changes):
    """Write one task of a shipped battery as a battery of its own."""
    entry = read_battery(battery).entries[name].model_copy(update=changes)
    path = tmp_path / "one.toml"
    path.write_text(battery_text([], [entry]), encoding="utf-8")
    return str(path)


def test_eurosat_is_asked_once_its_data_is_there(tmp_path, monkeypatch):
    eurosat(tmp_path / "data")
    monkeypatch.setenv("FORGETCHECK_DATA", str(tmp_path / "data"))
    spec = excerpt(tmp_path, "ldifs", "eurosat")
    assert lint(spec).problems == ()
    task = read_battery(spec).tasks["eurosat"]
    assert task.class_names[9] == "lake or sea"
    assert "a centered satellite photo of {}." in task.templates


def test_a_task_of_vtab_is_asked_once_its_data_is_there(tmp_path, monkeypatch):
    shards(tmp_path / "data" / "wds_vtab-pets")
    monkeypatch.setenv("FORGETCHECK_DATA", str(tmp_path / "data"))
    spec = excerpt(tmp_path, "vtab", "pets")
    problems = [remark.text.split(":")[0] for remark in lint(spec).problems]
    assert problems == [
        "3 classes, expected 37",
        "18 train images, expected 2,944",
        "12 test images, expected 3,669",
    ]
    assert lint(excerpt(tmp_path, "vtab", "pets", expected=Expected(classes=3))).problems == ()
