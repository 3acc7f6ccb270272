"""How often do the intervals of a linear probe cover the drop, its training images being drawn as well?

    python benchmarks/probe_errors.py --out docs/results/probe_errors.csv

Made embeddings of a base and a tuned model: classes around their means, the tuned model's with noise of its
own. Every run draws training and test images anew, asks the linear probe of both models as an audit does, and
looks whether the 95 % interval of the drop covers the true one: the mean over all runs on 5,000 further
images. `fixed` takes the training images as given, `resampled` is what forgetcheck reports. Seeds are fixed,
so a rerun gives the same table.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from gate_errors import write_table

from forgetcheck.clip.features.encoded_task import EncodedSplit, EncodedTask
from forgetcheck.probes.linear import Linear
from forgetcheck.probes.logistic import fit_logistic, prepare
from forgetcheck.retention.answers import PairedPredictions
from forgetcheck.retention.compare import compare

DIMENSIONS, FURTHER, CONFIDENCE = 64, 5_000, 0.95


@dataclass(frozen=True)
class Setting:
    """One cell of the table."""

    train: int
    test: int
    classes: int
    spread: float  # of images around the mean of their class, which has length 1; per dimension
    harm: float  # spread of what tuning adds to an embedding


def settings() -> Iterator[Setting]:
    for (train, test), harm in itertools.product(
        ((100, 1000), (200, 300), (200, 2000), (1000, 2000)), (0.0, 0.2)
    ):
        yield Setting(train, test, 10, 0.25, harm)


class Made:
    """Where the images of one cell come from."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.means = self.drawn(np.random.default_rng(0), setting.classes, 1 / sqrt(DIMENSIONS))

    def drawn(self, rng: np.random.Generator, n: int, spread: float) -> torch.Tensor:
        return torch.from_numpy(rng.normal(0, spread, (n, DIMENSIONS)).astype(np.float32))

    def images(self, rng: np.random.Generator, n: int) -> tuple[EncodedSplit, EncodedSplit]:
        """Draw images as the base and the tuned model see them. An unharmed one sees other noise as large."""
        labels = torch.from_numpy(rng.integers(0, self.setting.classes, n))
        shared = self.means[labels] + self.drawn(rng, n, self.setting.spread)
        own = [0.1, 0.1] if self.setting.harm == 0 else [0.0, self.setting.harm]
        seen = (F.normalize(shared + self.drawn(rng, n, each), dim=1) for each in own)
        base, tuned = (EncodedSplit(rows, labels) for rows in seen)
        return base, tuned


def run(made: Made, seed: int) -> tuple[float, list[tuple[float, float, float]]]:
    """Return the drop on further images, and drop, low and high as reported and with train as given."""
    rng = np.random.default_rng([seed, made.setting.train])
    names = tuple(f"class {k}" for k in range(made.setting.classes))
    task: Any = SimpleNamespace(class_names=names, split=lambda _: SimpleNamespace(groups=None))
    train, test, further = (made.images(rng, n) for n in (made.setting.train, made.setting.test, FURTHER))
    models = [EncodedTask(task, None, {"train": a, "test": b}) for a, b in zip(train, test, strict=True)]  # type: ignore[arg-type]
    base, tuned = (Linear().answer(model, models[0]) for model in models)
    labels = test[0].labels.numpy().astype(np.int32)
    answers = PairedPredictions("tuned", "made", "linear", names, labels, base, tuned)
    fixed = replace(answers, base=replace(base, variants=None), tuned=replace(tuned, variants=None))
    rows = [compare([each], CONFIDENCE)[0] for each in (answers, fixed)]
    right = []
    for reply, seen, new in zip((base, tuned), train, further, strict=True):
        fit = fit_logistic(prepare(seen.embeddings, seen.labels, len(names)), float(reply.notes["strength"]))
        right.append(float((fit.logits(new.embeddings).argmax(dim=1) == new.labels).double().mean()))
    return right[0] - right[1], [(row.drop, row.low, row.high) for row in rows]


def simulate(job: tuple[Setting, int]) -> dict[str, object]:
    torch.set_num_threads(1)
    setting, runs = job
    made = Made(setting)
    truths, rows = zip(*(run(made, seed) for seed in range(runs)), strict=True)
    truth, found = float(np.mean(truths)), np.array(rows)  # (runs, 2, 3)
    covered = ((found[..., 1] <= truth) & (truth <= found[..., 2])).mean(axis=0)
    widths = (found[..., 2] - found[..., 1]).mean(axis=0)
    return {
        **vars(setting),
        "runs": runs,
        "drop": f"{truth:.4f}",
        "spread of drops": f"{found[:, 0, 0].std():.4f}",
        "fixed": f"{covered[1]:.4f}",
        "resampled": f"{covered[0]:.4f}",
        "se": f"{sqrt(covered[0] * (1 - covered[0]) / runs):.4f}",
        "times as wide": f"{widths[0] / widths[1]:.2f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100, help="audits per cell")
    parser.add_argument("--out", type=Path, default=Path("docs/results/probe_errors.csv"))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    rows = []
    with ProcessPoolExecutor(options.workers) as pool:
        for row in pool.map(simulate, [(setting, options.runs) for setting in settings()]):
            rows.append(row)
            print(*row.values(), sep="\t", file=sys.stderr, flush=True)
    write_table(options.out, rows)


if __name__ == "__main__":
    main()
