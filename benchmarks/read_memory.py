"""How much memory reading a checkpoint takes: the peak of a child process, as a share of the file.

    python benchmarks/read_memory.py [--megabytes 600]

One child writes the file, since a peak is inherited from the parent. Another reads it and holds all of its
tensors: its peak resident memory, minus the peak before, is what reading took. Pages of the file that are
mapped count as well.
"""

import argparse
import json
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

CHILD = """
import resource, sys, time
from pathlib import Path
from forgetcheck.clip.model.read import read_weights
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
weights = read_weights(Path(sys.argv[1]))
seconds = time.perf_counter() - start
total = sum(value.numel() * value.element_size() for value in weights.tensors.values())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((peak - before) * 1024, total, seconds)
"""
LARGEST = 49408 * 512 * 4  # bytes: the token embedding of a ViT-B


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=600)
    megabytes = parser.parse_args().megabytes
    print(f"{'format':<26}{'file MB':>10}{'peak MB':>10}{'peak / file':>13}{'seconds':>9}")
    with tempfile.TemporaryDirectory(prefix="forgetcheck-") as folder:
        for name in WRITERS:
            path = Path(folder) / "weights"
            writer = get_context("spawn").Process(target=write, args=(name, megabytes * 1_000_000, path))
            writer.start()
            writer.join()
            peak, held, seconds = measure(path)
            size = size_of(path)
            assert held > 0.99 * size, "the child did not read the weights"
            print(f"{name:<26}{size / 1e6:>10.0f}{peak / 1e6:>10.0f}{peak / size:>13.2f}{seconds:>9.2f}")
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*")) if path.is_dir() else path.stat().st_size


def write(name: str, size: int, path: Path) -> None:
    WRITERS[name](make_weights(size), path)


def make_weights(size: int) -> dict[str, Tensor]:
    """Return tensors of about `size` bytes, the first as large as a token embedding, the rest as a layer."""
    layers = (size - LARGEST) // (4 * 2048 * 768)
    shapes = [(49408, 512), *[(2048, 768)] * layers]
    return {f"layer{number}": torch.ones(shape) for number, shape in enumerate(shapes)}


def measure(path: Path) -> tuple[int, int, float]:
    """Return what reading added to the peak of a child, the bytes it then holds, and how long it took."""
    run = subprocess.run([sys.executable, "-c", CHILD, path], capture_output=True, text=True, check=True)
    peak, held, seconds = json.loads("[" + run.stdout.replace(" ", ",") + "]")
    return int(peak), int(held), float(seconds)


def write_module(weights: dict[str, Tensor], path: Path) -> None:
    path.write_bytes(pickle.dumps(as_module(weights)))


def write_transformers(_weights: dict[str, Tensor], path: Path) -> None:
    """Write the folder of a CLIPModel with random weights; its own size is that of a ViT-B/32, 605 MB."""
    from transformers import CLIPConfig, CLIPModel

    CLIPModel(CLIPConfig()).save_pretrained(path)


def as_module(weights: dict[str, Tensor]) -> nn.Module:
    module = nn.Module()
    for name, value in weights.items():
        module.register_parameter(name, nn.Parameter(value))
    return module


WRITERS: dict[str, Callable[[dict[str, Tensor], Path], None]] = {
    "safetensors": lambda weights, path: save_file(weights, path),
    "torch.save": lambda weights, path: torch.save(weights, path),
    "torch.save, legacy": lambda weights, path: torch.save(
        weights, path, _use_new_zipfile_serialization=False
    ),
    "module, torch.save": lambda weights, path: torch.save(as_module(weights), path),
    "module, pickle.dump": write_module,
    "transformers CLIP folder": write_transformers,
}


if __name__ == "__main__":
    main()
