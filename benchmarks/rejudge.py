"""How long does a new policy over a large saved audit take, and how much memory?

    python benchmarks/rejudge.py

Writes an audit of 50 tasks x 100 classes x 10,000 samples x 2 probes to a temporary folder, then runs
`forgetcheck report` under three policies, five times each, as processes of their own. Prints the
median and the range of seconds and the peak memory; the target is 3 s and 1 GB.
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

from forgetcheck.retention.answers import Answers, Audit, Said, write_audit

TASKS, CLASSES, SAMPLES, PROBES, TIMES = 50, 100, 10_000, ("zero-shot", "linear"), 5
POLICIES = {
    "tasks": "[policy]\nmax_drop = 0.03\nmax_mean_drop = 0.01\n",
    "a rule per task": "[policy]\n"
    + "".join(f'[[policy.concepts]]\nmatch = "task-{k}"\nmax_drop = 0.0{k % 9 + 1}\n' for k in range(TASKS)),
    "every concept": '[policy]\n[[policy.concepts]]\nmatch = "*/*"\nmax_drop = 0.1\n',
}


def planted(task: int, probe: str, rng: np.random.Generator) -> Answers:
    """Base is right 8 times in 10; the tuned model changes its mind on 5 %."""
    labels = np.arange(SAMPLES, dtype=np.int32) % CLASSES
    wrong = rng.integers(0, CLASSES, SAMPLES, dtype=np.int32)
    base = np.where(rng.random(SAMPLES) < 0.8, labels, wrong)
    tuned = np.where(rng.random(SAMPLES) < 0.95, base, wrong)
    said = [Said(label, rng.random(SAMPLES, dtype=np.float32)) for label in (base, tuned)]
    names = tuple(f"class {k}" for k in range(CLASSES))
    return Answers("tuned", f"task-{task}", probe, names, labels, said[0], said[1])


def measured(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds and the peak of any child so far, in GB."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False)
    seconds = time.perf_counter() - start
    assert done.returncode in (0, 1), done.stderr  # met, or not
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6


def main() -> None:
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        answers = tuple(planted(task, probe, rng) for task in range(TASKS) for probe in PROBES)
        write_audit(Path(folder) / "audit", Audit(answers, {}))
        print(f"{TASKS} tasks x {CLASSES} classes x {SAMPLES} samples x {len(PROBES)} probes")
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
