"""The demo shows the paper's phenomenon, honestly, from an empty folder."""

import json

import pytest

from forgetcheck.cli.demo import NEAR_TARGET

pytestmark = pytest.mark.slow


def test_the_demo_shows_forgetting_and_its_cure(run, tmp_path):
    """The claim itself, one seed; three seeds are in docs/results.md."""
    done = run("demo", "--quiet")
    assert done.code == 0, done.err
    folder = tmp_path / "forgetcheck-demo"
    assert {path.name for path in folder.iterdir()} == {"cross-entropy", "ldifs", "audit", "report.html"}
    record = json.loads(run("report", folder / "audit", "--as", "json").out)
    drops, digits = {}, {}
    for name in ("cross-entropy", "ldifs"):
        rows = [f for f in record["findings"] if f["checkpoint"] == name and f["concept"] is None]
        others = [f["drop"] for f in rows if f["probe"] == "zero-shot"]
        assert len(others) == 10
        assert NEAR_TARGET not in {f["task"] for f in rows}
        drops[name] = sum(others) / len(others)
        mean = record["summary"][name]["zero-shot"]
        assert (mean["tasks"], mean["mean_drop"]) == (10, pytest.approx(drops[name]))
        page = (folder / "report.html").read_text()
        assert f"mean drop +{100 * drops[name]:.1f}" in page  # the report says the same number
        digits[name] = next(f["tuned"] for f in rows if f["probe"] == "head")
    assert drops["cross-entropy"] >= 0.10
    assert drops["ldifs"] <= 0.25 * drops["cross-entropy"]
    assert digits["ldifs"] >= digits["cross-entropy"] - 0.02
    assert f"{100 * drops['cross-entropy']:.1f} points" in done.out  # what it says is what was measured
    assert f"{100 * digits['ldifs']:.1f} %" in done.out
    *_, said, where = done.out.strip().splitlines()
    assert said.count(". ") == 1  # two sentences
    assert where.endswith(str(folder / "report.html"))
    assert (folder / "report.html").read_text().count(
        "data:image/png;base64,"
    ) >= 24  # lost samples to look at
