"""`forgetcheck inspect`: what a checkpoint is, how that is known, and where a pair differs."""

import json
import re

import pytest
import torch

from forgetcheck.cli.inspect import BAR, bar

pytestmark = pytest.mark.slow

TINY = "forgetcheck:tiny"


def test_one_checkpoint(run):
    found = run("inspect", TINY)
    assert found.code == 0
    for words in (
        r"architecture +forgetcheck:tiny",
        r"parameters +7\.58 M \(image 0\.84 M, text 6\.74 M\)",
        r"activation +GELU",
        r"image size +32",
        r"mean +0\.5, 0\.5, 0\.5",
        r"resizing +bicubic, shortest",
        r"tokenizer +CLIP's byte pairs \(49408\)",
        r"context length +16",
        r"precision +float16",
        r"numbers +0 NaN, 0 Inf, [\d,]+ denormal",
        r"known from +architecture: what forgetcheck ships",
    ):
        assert re.search(words, found.out), words


def test_a_pair_shows_where_it_moved(run, tmp_path, weights):
    weights["visual.transformer.resblocks.2.mlp.c_fc.weight"] += 0.01
    torch.save({"state_dict": {f"module.{k}": v for k, v in weights.items()}}, tmp_path / "tuned.pt")
    found = run("inspect", TINY, "tuned.pt")
    assert found.code == 0
    assert re.search(r"block 3 +\d\.\d\de-\d\d +█{24}", found.out)
    assert re.search(r"block 2 +equal", found.out)
    assert re.search(r"text tower +equal", found.out)
    assert "the other" in found.out
    assert "Stripped 'module.'" in found.out


def test_equal_and_different_configs(run, vit_folder):
    assert "All weights are equal, bit for bit." in run("inspect", TINY, TINY).out
    other = run("inspect", TINY, vit_folder)
    assert other.code == 0
    assert "They differ in more than weights: " in other.out
    assert "of another shape: " in other.out


def test_what_is_not_finite_is_shown_not_refused(run, tmp_path, weights):
    weights["visual.proj"][0, 0] = float("nan")
    torch.save(weights, tmp_path / "nan.pt")
    found = run("inspect", "nan.pt")
    assert found.code == 0
    assert "1 NaN" in found.out
    assert "not finite in visual.proj" in found.out
    assert re.search(r"image tower +not finite", run("inspect", TINY, "nan.pt").out)


def test_json_holds_everything(run, tmp_path, weights):
    weights["visual.proj"][0, 0] = float("inf")
    torch.save(weights, tmp_path / "inf.pt")
    found = run("inspect", TINY, "inf.pt", "--json")
    record = json.loads(found.out)
    assert [passport["name"] for passport in record["passports"]] == ["tiny", "inf"]
    assert record["passports"][1]["census"]["visual"]["infinite"] == 1
    assert record["differences"] == []
    assert [tower["name"] for tower in record["change"]["towers"]] == ["visual", "text", "scale"]
    assert "change" not in json.loads(run("inspect", TINY, "--json").out)


def test_what_is_open_is_shown(run, tmp_path, weights, quick_twin):
    torch.save(weights, tmp_path / "bare.pt")
    found = run("inspect", "bare.pt")
    assert found.code == 0
    assert re.search(rf"architecture +forgetcheck:tiny or {quick_twin}", found.out)
    assert re.search(r"activation +GELU or QuickGELU", found.out)
    assert "quick_gelu" in found.out


def test_what_is_no_checkpoint_is_refused(run, tmp_path):
    run("inspect", "nowhere.pt").refusal("no checkpoint at 'nowhere.pt'")
    (tmp_path / "text.pt").write_text("hello")
    run("inspect", "text.pt").refusal("text.pt")
    assert run("inspect").code == 2


@pytest.mark.parametrize(
    ("value", "largest", "length"), [(1, 1, BAR), (1e-9, 1, 1), (0, 1, 0), (1, 0, 0), (0.5, 1, BAR // 2)]
)
def test_bars(value, largest, length):
    assert len(bar(value, largest)) == length


def test_of_a_model_beside_its_average_the_user_says_which(run, tmp_path, weights):
    path = tmp_path / "last.pt"
    average = {name: value * 1.01 for name, value in weights.items()}
    torch.save({"model": weights, "ema": average, "epoch": 3}, path)
    run("inspect", path).refusal("different weights under 'model' and 'ema'", "`--weights ema`")
    plain, averaged = (
        json.loads(run("inspect", path, "--weights", name, "--json").out) for name in ("model", "ema")
    )
    assert plain["passports"][0]["digests"] != averaged["passports"][0]["digests"]
