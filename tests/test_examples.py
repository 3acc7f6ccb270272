"""The package of examples is installed as anybody's would be, and used through the program."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples" / "forgetcheck-examples"
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
PIP = ("install", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
KINDS = ("regularizers", "probes", "tasks", "exporters")


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """Install the examples beside forgetcheck, and run the program in an empty folder."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(EXAMPLES, folder / "source")  # pip builds in the folder itself
    (folder / "work").mkdir()
    command = [sys.executable, "-m", "pip", *PIP, "--target", folder / "site", folder / "source"]
    subprocess.run(command, check=True, capture_output=True)
    path = os.pathsep.join((str(folder / "site"), str(ROOT)))

    def program(*arguments, code=0):
        done = subprocess.run(
            [sys.executable, "-m", "forgetcheck", *arguments],
            cwd=folder / "work",
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    program.folder = folder / "work"
    return program


def registered(kind):
    project = tomllib.loads((EXAMPLES / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["entry-points"][f"forgetcheck.{kind}"]


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_listed_with_their_package(call, kind):
    shown = " ".join(call("list", kind).split())
    (name,) = registered(kind)
    assert re.search(rf"\b{name} [^()]*\(package forgetcheck-examples\)", shown), shown


def test_one_of_each_at_work(call):
    """Tune with the regularizer on the task; ask the task with the probe; write it with the exporter."""
    call("tune", "forgetcheck:tiny", "--on", "stripes:count=10", "--regularizer",
         "embedding-distance:strength=0.5", "--epochs", "1", "--out", "run", "-q")  # fmt: skip
    (call.folder / "battery.toml").write_text('[[task]]\nname = "mine"\nsource = "stripes:count=10"\n')
    shown = call("audit", "forgetcheck:tiny", "run", "--battery", "battery.toml", "--probe", "class-means",
                 "--probe", "head", "--as", "one-line:mark=?=line.txt")  # fmt: skip
    assert "class-means" in shown
    assert re.fullmatch(r"(\? )?run: forgot [0-2] of 2\n", (call.folder / "line.txt").read_text())
    refused = call("audit", "forgetcheck:tiny", "run", "--battery", "battery.toml", "--confine", ".",
                   "--out", "confined", code=2)  # fmt: skip
    assert "is of another package, and --confine can't see what that reads" in refused


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_shows_what_is_in_the_examples(kind):
    ((name, place),) = registered(kind).items()
    module = place.split(":")[0].rpartition(".")[2]
    code = (EXAMPLES / "forgetcheck_examples" / f"{module}.py").read_text(encoding="utf-8")
    assert f"```python\n{code}```" in PAGE
    assert f"`{name}`" in PAGE


def test_the_page_shows_the_entry_points():
    text = (EXAMPLES / "pyproject.toml").read_text(encoding="utf-8")
    assert f"```toml\n{text}```" in PAGE
