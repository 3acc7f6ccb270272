"""CLIP_benchmark beside forgetcheck: its python, two checkpoints for both, images in every shape and mode."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import save_folder
from PIL import Image
from sources import encoded

from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.load import load_encoder

VARIABLE = "FORGETCHECK_CLIP_BENCHMARK"
HOW = (
    f"{VARIABLE} names no python that has CLIP_benchmark: "
    f"export {VARIABLE}=$(python benchmarks/clip_benchmark_environment.py .clip-benchmark)"
)
MODELS = ("base", "tuned")
SCRIPT = Path(__file__).parent / "ask_clip_benchmark.py"


def find_python():
    """Return the python of the environment that CLIP_benchmark has of its own."""
    path = os.environ.get(VARIABLE, "")
    if not Path(path).is_file():
        if os.environ.get("FORGETCHECK_NO_SKIPS"):
            pytest.fail(HOW)
        pytest.skip(HOW)
    return path


def ask(folder, words):
    """Run CLIP_benchmark's command in a folder; return what it computed of every sample."""
    command = [find_python(), "-P", SCRIPT, "kept.npz", *words]
    settings = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return np.load(folder / "kept.npz")


def save_models(folder):
    """Write forgetcheck:tiny, and what noise makes of it, as open_clip's folders."""
    base = load_encoder(find_checkpoint("forgetcheck:tiny"), "cpu")
    for name, encoder in zip(MODELS, (base, changed(base)), strict=True):
        save_folder(folder / name, encoder)


def changed(encoder):
    """Return a checkpoint that forgot some of it: noise on all weights of both towers."""
    tuned = encoder.twin()
    dice = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in tuned.model.parameters():
            if weight.ndim > 1:
                weight += 0.4 * weight.std() * torch.randn(weight.shape, generator=dice)
    return tuned


def repainted(image, number):
    """Return (ending, bytes) of a drawing in one of the shapes, modes and formats that data sets come in."""
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: open_clip's transforms don't look at it
    clear = image.convert("RGBA")
    clear.putalpha(image.convert("L"))
    kinds = (
        ("png", image, "PNG", {}),
        ("jpg", image.resize((48, 48)), "JPEG", {"quality": 60}),
        ("png", image.convert("L").resize((40, 32)), "PNG", {}),
        ("png", image.resize((64, 64)).convert("P", palette=Image.Palette.ADAPTIVE), "PNG", {}),
        ("png", clear.resize((33, 47)), "PNG", {}),
        ("jpeg", image.resize((64, 48)).convert("CMYK"), "JPEG", {"quality": 90}),
        ("jpg", image.convert("L").resize((24, 24)), "JPEG", {}),
        ("png", image.resize((96, 64)).convert("1"), "PNG", {}),
        ("jpg", image.resize((80, 48)), "JPEG", {"exif": turned}),
        ("png", clear.convert("LA").resize((31, 32)), "PNG", {}),
        ("webp", image.resize((300, 225)), "WEBP", {"quality": 80}),
    )
    ending, shown, kind, options = kinds[number % len(kinds)]
    return ending, encoded(shown, kind, **options)


def add(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
