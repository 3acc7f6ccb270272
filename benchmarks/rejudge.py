"""How long does a new policy over a large saved audit take, and how much memory?

    python benchmarks/rejudge.py

Writes an audit of 25 tasks x 100 classes x 10,000 samples x 2 probes to a temporary folder, with the
variants that an audit keeps (seven templates of zero-shot, 20 trainings and 100 choices of the linear probe),
then runs `forgetcheck report` under three policies, five times each, as processes of their own. Prints the
median and the range of seconds and the peak memory; the target is 3 s and 1 GB. `--tasks 50`
asks twice as much.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from forgetcheck.retention.answers import (
    Audit,
    PairedPredictions,
    Predictions,
    Variants,
    variants_of,
    write_audit,
)

TASKS, CLASSES, SAMPLES, PROBES, TIMES = 25, 100, 10_000, ("zero-shot", "linear"), 5
POLICIES = {
    "tasks": "[policy]\nmax_drop = 0.03\nmax_mean_drop = 0.01\n",
    "a rule per task": "[policy]\n"
    + "".join(f'[[policy.concepts]]\nmatch = "task-{k}"\nmax_drop = 0.0{k % 9 + 1}\n' for k in range(25)),
    "every concept": '[policy]\n[[policy.concepts]]\nmatch = "*/*"\nmax_drop = 0.1\n',
}


def planted(task: int, probe: str, rng: np.random.Generator) -> PairedPredictions:
    """Base is right 8 times in 10; the tuned model changes its mind on 5 %."""
    labels = np.arange(SAMPLES, dtype=np.int32) % CLASSES
    wrong = rng.integers(0, CLASSES, SAMPLES, dtype=np.int32)
    base = np.where(rng.random(SAMPLES) < 0.8, labels, wrong)
    tuned = np.where(rng.random(SAMPLES) < 0.95, base, wrong)
    said = [
        Predictions(
            label, rng.random(SAMPLES, dtype=np.float32), variants=varied(label == labels, probe, rng)
        )
        for label in (base, tuned)
    ]
    names = tuple(f"class {k}" for k in range(CLASSES))
    return PairedPredictions("tuned", f"task-{task}", probe, names, labels, said[0], said[1])


def varied(right: np.ndarray, probe: str, rng: np.random.Generator) -> Variants:
    """Let every variant change its mind on 3 % of the answers."""
    if probe == "zero-shot":
        return variants_of("template", right ^ (rng.random((7, SAMPLES)) < 0.03))
    settings = right ^ (rng.random((6, SAMPLES)) < 0.03)
    chosen = rng.integers(0, 2, 100).astype(np.uint8)
    return variants_of("train", right ^ (rng.random((20, SAMPLES)) < 0.03), 0.2, settings, chosen)


def measured(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds and the peak of any child so far, in GB."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False)
    seconds = time.perf_counter() - start
    assert done.returncode in (0, 1), done.stderr  # met, or not
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", type=int, default=TASKS)
    tasks = parser.parse_args().tasks
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        answers = tuple(planted(task, probe, rng) for task in range(tasks) for probe in PROBES)
        write_audit(Path(folder) / "audit", Audit(answers, {}))
        print(f"{tasks} tasks x {CLASSES} classes x {SAMPLES} samples x {len(PROBES)} probes")
        for name, text in POLICIES.items():
            policy = Path(folder) / "policy.toml"
            policy.write_text(text, encoding="utf-8")
            report = [
                sys.executable,
                "-m",
                "forgetcheck",
                "report",
                f"{folder}/audit",
                "--policy",
                str(policy),
            ]
            runs = [measured(report) for _ in range(TIMES)]
            seconds = [run[0] for run in runs]
            print(
                f"{name:16} {statistics.median(seconds):.2f} s [{min(seconds):.2f}, {max(seconds):.2f}], "
                f"{runs[-1][1]:.2f} GB"
            )


if __name__ == "__main__":
    main()
