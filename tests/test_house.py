"""The house is as its documents say: the floors of CONTRIBUTING, the walks of docs/architecture.md."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = PYPROJECT["tool"]["importlinter"]["contracts"]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def floors(name):
    """Return the floors of a contract, without the name of the room they are in."""
    layers = next(each["layers"] for each in CONTRACTS if each["name"] == name)
    return [" | ".join(room.rpartition(".")[2] for room in floor.split(" | ")) for floor in layers]


@pytest.mark.parametrize("name", ["Imports point down", "The floors of clip"])
def test_contributing_tells_the_floors_of_the_contracts(name):
    tables = re.findall(r"^```\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL)
    assert floors(name) in [table.splitlines() for table in tables]


@pytest.mark.parametrize(("walk", "most"), [("one image to its verdict", 15), ("ldifs` to its gradient", 8)])
def test_a_walk_names_few_files_that_exist(walk, most):
    steps = ARCHITECTURE.split(walk)[1].split("## ")[0]
    files = re.findall(r"`(forgetcheck/\S+?\.py)`", steps)
    assert 5 <= len(files) <= most
    assert all((ROOT / file).is_file() for file in files), files


def test_every_room_is_told():
    rooms = {path.name for path in (ROOT / "forgetcheck").iterdir() if (path / "__init__.py").is_file()}
    told = set(re.findall(r"^[├└]── (\w+)/", ARCHITECTURE, re.MULTILINE))
    assert rooms - told == {"embedded"}
    assert told <= rooms


def test_every_decision_is_listed():
    folder = ROOT / "docs" / "decisions"
    listed = set(re.findall(r"\(([\w-]+\.md)\)", (folder / "README.md").read_text()))
    assert listed == {path.name for path in folder.glob("*.md")} - {"README.md"}


def test_every_python_that_is_claimed_is_tested():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    claimed = [re.fullmatch(r".* :: (3\.\d+)", each) for each in PYPROJECT["project"]["classifiers"]]
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == [each[1] for each in claimed if each]
    assert all(
        re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"])
        for step in workflow["jobs"]["test"]["steps"]
        if "uses" in step
    )
