"""The batteries that ship: read without their data, well worded, and clear about what is missing."""

import pytest

from forgetcheck.errors import CannotAsk
from forgetcheck.linting import lint
from forgetcheck.tasks.battery import names, read_battery

FETCHED = [name for name in names() if name != "drawn"]


@pytest.fixture(autouse=True)
def nowhere(monkeypatch):
    monkeypatch.delenv("FORGETCHECK_DATA", raising=False)


def test_which_ship():
    assert {"drawn", "vtab"} <= set(names())


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
    with pytest.raises(CannotAsk, match="To get the data"):
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
