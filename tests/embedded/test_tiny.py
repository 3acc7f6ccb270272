"""forgetcheck:tiny: as good as its card says, small, loadable by open_clip, made by its recipe."""

import json
import subprocess
import sys

import open_clip
import pytest
import torch
from safetensors.torch import load_file

from forgetcheck.batteries.battery import read_battery
from forgetcheck.clip.features.encoded_task import encode_task
from forgetcheck.clip.model.checkpoint import TINY_FOLDER, WEIGHTS

pytestmark = pytest.mark.slow

CARD = json.loads((TINY_FOLDER / "card.json").read_text())


def test_the_card_tells_the_truth(tiny):
    measured = {}
    for name, task in read_battery("drawn").tasks.items():
        (seen,) = encode_task(name, task, [tiny], ("test",))
        part = seen.splits["test"]
        right = (part.embeddings @ seen.prompts.T).argmax(1) == part.labels
        measured[name] = right.double().mean().item()
    assert measured == pytest.approx(CARD["zero_shot_test_accuracy"], abs=0.004)  # two images: other kernels
    assert min(measured.values()) >= 0.93
    assert sum(measured.values()) / len(measured) >= 0.97


def test_the_file_is_small_half_precision_and_sparse_in_unused_tokens():
    path = TINY_FOLDER / WEIGHTS
    weights = load_file(path)
    assert path.stat().st_size <= 16_000_000
    assert {value.dtype for value in weights.values()} == {torch.float16}
    used = (weights["token_embedding.weight"] != 0).any(dim=1).sum()
    assert 50 < used < 500


def test_open_clip_loads_it_by_itself():
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{TINY_FOLDER}")
    assert sum(p.numel() for p in model.parameters()) > 1_000_000


def test_the_recipe_gives_the_same_weights_twice(tmp_path):
    """A short run of the real recipe; the full one is compared by hand and noted in the card."""
    recipe = [sys.executable, "-m", "forgetcheck.embedded.pretrain"]
    short = ["--samples", "260", "--passes", "2", "--batch", "64"]
    runs = [
        subprocess.Popen(
            [*recipe, "--out", str(tmp_path / name), *short],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in ("one", "two")
    ]
    assert [run.wait(timeout=120) for run in runs] == [0, 0]
    first, second = (load_file(tmp_path / name / WEIGHTS) for name in ("one", "two"))
    assert all(torch.equal(first[name], second[name]) for name in first)
