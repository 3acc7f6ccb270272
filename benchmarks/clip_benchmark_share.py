"""What CLIP_benchmark does of an audit without CUDA: zero-shot, one checkpoint after the other, from tars."""

import argparse
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "FORGETCHECK_CLIP_BENCHMARK"
HOW = (
    f"CLIP_benchmark is left out: {VARIABLE} names no python that has it. To make one:\n"
    f"export {VARIABLE}=$(python benchmarks/clip_benchmark_environment.py .clip-benchmark)"
)


@dataclass(frozen=True)
class Evaluator:
    """CLIP_benchmark's command, in the environment that it has of its own."""

    python: str
    options: argparse.Namespace  # of benchmarks/audit.py

    def run(self, *words: str | Path) -> None:
        settings = {**os.environ, "OMP_NUM_THREADS": str(self.options.threads), "HF_HUB_OFFLINE": "1"}
        if self.options.device == "cpu":  # it takes a GPU wherever there is one
            settings["CUDA_VISIBLE_DEVICES"] = ""
        command = [self.python, "-W", "ignore", "-m", "clip_benchmark.cli", *words]
        done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"CLIP_benchmark failed:\n{done.stderr}")

    def accuracies(self, tars: Path, weights: Sequence[Path]) -> list[float]:
        """Ask every checkpoint zero-shot, all in one run; return their accuracies."""
        said = [tars / f"{path.name}.json" for path in weights]
        self.run(
            *("eval", "--dataset", "wds/jpegs", "--dataset_root", tars, "--task", "zeroshot_classification"),
            *("--model", self.options.model, "--pretrained", *weights),
            *("--batch_size", "64", "--num_workers", str(self.options.workers)),
            *("--output", tars / "{pretrained}.json", "--quiet"),
            *(["--no_amp"] if self.options.precision == "fp32" else []),
        )
        return [float(json.loads(path.read_text())["metrics"]["acc1"]) for path in said]


def find_evaluator(options: argparse.Namespace) -> Evaluator | None:
    python = os.environ.get(VARIABLE, "")
    return Evaluator(python, options) if Path(python).is_file() else None


def write_tars(
    folder: Path, images: Path, names: Sequence[str], templates: Sequence[str], workers: int
) -> Path:
    """Pack `test/<class>/*.jpg` below `images` as they are, into a tar for each of its workers."""
    (folder / "test").mkdir(parents=True)
    (folder / "classnames.txt").write_text("".join(f"{name}\n" for name in names))
    prompts = (template.replace("{}", "{c}") for template in templates)
    (folder / "zeroshot_classification_templates.txt").write_text("".join(f"{line}\n" for line in prompts))
    shards = max(1, workers)  # it refuses to run with fewer tars than workers
    (folder / "test" / "nshards.txt").write_text(f"{shards}\n")
    paths = sorted((images / "test").glob("*/*.jpg"))
    for shard in range(shards):
        with tarfile.open(folder / "test" / f"{shard}.tar", "w") as tar:
            for path in paths[shard::shards]:
                add(tar, path.name, path.read_bytes())
                add(tar, f"{path.stem}.cls", str(names.index(path.parent.name)).encode())
    return folder


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
