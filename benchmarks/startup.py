"""How long forgetcheck makes its user wait before it answers, in processor seconds, beside its packages.

The packages, imported alone in processes of their own between the commands, are what nobody who uses them can
do without: a machine that is busy or slow slows both, so the ratio is what to compare.

    python benchmarks/startup.py
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from forgetcheck.retention.answers import Audit, PairedPredictions, Predictions, write_audit

PACKAGES = "import numpy, pydantic, rich.console, rich.progress, rich.table, scipy.special, typer"
COMMANDS = (
    "--help", "--version", "audit --help", "tune --help", "list", "battery show ldifs", "cache info",
    "report AUDIT", "report AUDIT --as csv", "report AUDIT --as html", "report AUDIT --as model-card",
)  # fmt: skip


def processor_seconds(command: list[str], folder: str) -> float:
    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = spent()
    subprocess.run(command, capture_output=True, check=True, cwd=folder)
    return spent() - before


def small_audit(folder: Path) -> None:
    labels = np.arange(40, dtype=np.int32) % 4
    sure = np.ones(40, dtype=np.float32)
    before, after = Predictions(labels, sure), Predictions(np.zeros(40, dtype=np.int32), sure)
    answers = PairedPredictions("tuned", "task", "zero-shot", ("a", "b", "c", "d"), labels, before, after)
    write_audit(folder, Audit((answers,), {}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=9)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder:
        small_audit(Path(folder) / "AUDIT")
        print(f"{'':32} {'median, s':>10} {'least':>6} {'most':>6}  packages alone, s  ratio")
        for line in COMMANDS:
            own, packages = [], []
            for _ in range(times):
                own.append(processor_seconds([sys.executable, "-m", "forgetcheck", *line.split()], folder))
                packages.append(processor_seconds([sys.executable, "-c", PACKAGES], folder))
            mine, theirs = statistics.median(own), statistics.median(packages)
            print(
                f"{line:32} {mine:10.2f} {min(own):6.2f} {max(own):6.2f} {theirs:18.2f} {mine / theirs:6.2f}"
            )


if __name__ == "__main__":
    main()
