"""How much memory an audit takes for few and for many images: the peak of a child process.

    python benchmarks/audit_memory.py [--images 1000 20000] [--side 96] [--classes 10]

Writes JPEGs in class folders, no two alike, and a copy of forgetcheck:tiny whose image tower is changed a
little. `forgetcheck audit` of the two asks zero-shot and the linear probe of each number of images in a
process of its own, with one thread: without the cache, with an empty cache, and with what that one holds by
then. From the peak of resident memory the features are taken off: what both models see of every image, in
float32. `ratio` is what is left beside what is left for the first number of images.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

from forgetcheck import embedded

TINY = "forgetcheck:tiny"
CHILD = """
import resource, sys
from forgetcheck.cli.start import main
try:
    main()
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
WAYS = ("no cache", "empty cache", "full cache")
ANSWERED = (0, 1, 3)  # exit codes of an audit that came to its end, whatever the verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 20000])
    parser.add_argument("--side", type=int, default=96, help="of the images, in pixels")
    parser.add_argument("--classes", type=int, default=10)
    asked = parser.parse_args()
    print(
        f"{'images':>8} {'':<12}{'peak MB':>9}{'features MB':>13}{'beyond MB':>11}{'ratio':>8}{'seconds':>9}"
    )
    first: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="forgetcheck-") as folder:
        width = write_tuned(Path(folder) / "tuned")
        for images in asked.images:
            root = Path(folder) / str(images)
            write_images(root / "photos", images, asked.classes, asked.side)
            (root / "battery.toml").write_text('[[task]]\nname = "photos"\nsource = "folder:path=photos"\n')
            size = 2 * images * width * 4
            for way, (peak, seconds) in zip(WAYS, audits(root), strict=True):
                beyond = peak - size
                ratio = beyond / first.setdefault(way, beyond)
                row = (
                    f"{peak / 1e6:>9.0f}{size / 1e6:>13.1f}{beyond / 1e6:>11.0f}{ratio:>8.2f}{seconds:>9.1f}"
                )
                print(f"{images:>8} {way:<12}{row}", flush=True)


def write_tuned(folder: Path) -> int:
    """Write the changed copy; return how many numbers the models see an image as.

    Without torch: a child begins with the peak that its parent has at that moment.
    """
    source = Path(embedded.__file__).parent / "tiny"
    weights = load_file(source / WEIGHTS)
    dice = np.random.default_rng(0)
    for name, value in weights.items():
        if name.startswith("visual.") and value.ndim > 1:
            noise = dice.standard_normal(value.shape) * 0.1 * value.std()
            weights[name] = (value + noise).astype(value.dtype)
    folder.mkdir()
    save_file(weights, folder / WEIGHTS)
    (folder / CONFIG).write_bytes((source / CONFIG).read_bytes())
    return int(weights["text_projection"].shape[1])


def write_images(root: Path, count: int, classes: int, side: int) -> None:
    """Write `count` JPEGs in folders of their classes: a colour each, and noise of their own."""
    dice = np.random.default_rng(count)
    colours = np.random.default_rng(0).integers(60, 196, (classes, 3))
    for number in range(count):
        label = number % classes
        place = root / f"colour {label}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = colours[label] + dice.integers(-60, 61, (8, 8, 3))
        image = Image.fromarray(coarse.astype(np.uint8)).resize((side, side))
        image.save(place / f"{number:06d}.jpg", quality=90)


def audits(root: Path) -> Iterator[tuple[int, float]]:
    """Yield the peak of each way of auditing, in bytes, and the seconds that it took."""
    for number, way in enumerate(WAYS):
        command = ["audit", TINY, str(root.parent / "tuned"), "--battery", str(root / "battery.toml")]
        command += ["--probe", "zero-shot", "--probe", "linear", "--workers", "1", "--quiet"]
        command += ["--out", str(root / f"out {number}"), *(["--no-cache"] if way == "no cache" else [])]
        here = {"FORGETCHECK_CACHE": str(root / "cache"), "OMP_NUM_THREADS": "1"}
        start = time.perf_counter()
        run = subprocess.run(
            [sys.executable, "-c", CHILD, *command],
            env={**os.environ, **here},
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode not in ANSWERED:
            raise SystemExit(f"the audit failed: {run.stderr}")
        yield int(run.stdout.split()[-1]), time.perf_counter() - start


if __name__ == "__main__":
    main()
