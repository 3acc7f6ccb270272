"""How fast the linear probe is beside scikit-learn's sweep over the same strengths, and who answers better.

    python benchmarks/linear_probe.py
    python benchmarks/linear_probe.py --sizes 1000x20 5000x100 --repeat 5

Makes embeddings as CLIP's are: of length one, around a common direction (two images have a cosine near 0.7),
with classes that overlap and a spectrum that falls. A size is training images x classes. All sides choose
among six strengths by five-fold cross-validation, refit on all, and answer 2,000 test images; they take
turns. The linear probe does more: it also answers as 20 parts of train and 100 other choices of the strength
would have it, for its interval. scikit-learn stops where its defaults stop (tol 1e-4, at most 1,000
iterations), and at the linear probe's own tolerance, where both minimise the same objective equally far.
Seconds are of the processors, in one thread unless `--threads` says more.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from forgetcheck.clip.features.encoded_task import EncodedSplit, EncodedTask
from forgetcheck.probes.linear import STRENGTHS, Linear
from forgetcheck.probes.resampling import rounds_left_out
from forgetcheck.tasks.base import Split, SplitName, Task

SIZES = ("200x10", "1000x20", "5000x20", "5000x100", "20000x10", "20000x100")
SPREADS = {200: 0.3, 1000: 0.25, 5000: 0.2, 20000: 0.16}  # of 20 classes: keeps accuracy below 95 %
DIMENSIONS = 512
TESTED = 2000
TOLERANCES = {"scikit-learn, tol 1e-4": (1e-4, 1000), "scikit-learn, tol 1e-5": (1e-5, 10_000)}
PROBE = "linear probe"


@dataclass(frozen=True)
class Made(Task):
    """A task without images: only its number of classes counts."""

    classes: int

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(f"kind {number}" for number in range(self.classes))

    @property
    def templates(self) -> tuple[str, ...]:
        return ("a {}",)

    def split(self, name: SplitName) -> Split:
        """Return a part without samples: nothing is known of clusters."""
        return Split((), np.zeros(0, dtype=np.int64), lambda _: Image.new("RGB", (1, 1)))


def make(count: int, classes: int, seed: int) -> EncodedTask:
    """Draw `count` training and 2,000 test embeddings of unit length, float32."""
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(random.normal(size=(DIMENSIONS, DIMENSIONS)))[0]
    spectrum = np.arange(1, DIMENSIONS + 1) ** -0.5
    mould = (spectrum / np.linalg.norm(spectrum))[:, None] * turn  # (d, d)
    common = random.normal(size=DIMENSIONS)
    common *= 1.5 / np.linalg.norm(common)
    spread = SPREADS[min(SPREADS, key=lambda known: abs(known - count))] * (0.9 + classes / 200)
    centres = spread * random.normal(size=(classes, DIMENSIONS)) @ mould

    def draw(size: int) -> EncodedSplit:
        labels = random.permutation(np.arange(size) % classes)
        rows = common + centres[labels] + random.normal(size=(size, DIMENSIONS)) @ mould
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return EncodedSplit(torch.from_numpy(rows.astype(np.float32)), torch.from_numpy(labels))

    return EncodedTask(Made(classes), None, {"train": draw(count), "test": draw(TESTED)})


def probe(task: EncodedTask) -> NDArray[np.int32]:
    return Linear().answer(task, task).label


def sweep(task: EncodedTask, tolerance: float, iterations: int) -> NDArray[np.int64]:
    """Answer as a careful user of scikit-learn would, with the linear probe's folds and strengths."""
    train, labels = task.splits["train"].embeddings.numpy(), task.splits["train"].labels.numpy()
    rounds = rounds_left_out(task)
    assert rounds is not None

    def fit(rows: NDArray[np.float32], truth: NDArray[np.int64], strength: float) -> LogisticRegression:
        c = 1 / (strength * len(rows))
        return LogisticRegression(C=c, tol=tolerance, max_iter=iterations).fit(rows, truth)

    scores = {
        strength: sum(
            held.sum() * fit(train[~held], labels[~held], strength).score(train[held], labels[held])
            for held in rounds[0]
        )
        for strength in STRENGTHS
    }
    chosen = max(STRENGTHS, key=lambda strength: scores[strength])
    found: NDArray[np.int64] = fit(train, labels, chosen).predict(task.splits["test"].embeddings.numpy())
    return found


def contenders() -> dict[str, Callable[[EncodedTask], NDArray[np.int64] | NDArray[np.int32]]]:
    found = {name: (lambda task, limits=limits: sweep(task, *limits)) for name, limits in TOLERANCES.items()}
    return {**found, PROBE: probe}


def measure(count: int, classes: int, repeat: int) -> None:
    """Let all sides take turns on `repeat` drawn tasks; print a line for each."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders()}
    right: dict[str, list[float]] = {name: [] for name in contenders()}
    for seed in range(repeat):
        task = make(count, classes, seed)
        for name, answer in contenders().items():
            start = time.process_time()
            said = answer(task)
            seconds[name].append(time.process_time() - start)
            right[name].append(100 * float(np.mean(said == task.splits["test"].labels.numpy())))
    for name, taken in seconds.items():
        gains = [theirs / ours for theirs, ours in zip(taken, seconds[PROBE], strict=True)]
        print(
            f"{f'{count:,} x {classes}':>13}  {name:24}{statistics.median(taken):9.3f}"
            f"{f'{min(taken):.3f} to {max(taken):.3f}':>20}"
            f"{statistics.median(gains):8.1f}{f'{min(gains):.1f} to {max(gains):.1f}':>16}"
            f"{statistics.mean(right[name]):9.2f} %",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="training images x classes")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")  # scikit-learn may stop early; the user lives with that
    print(
        f"{'size':>13}  {'':24}{'seconds':>9}{'spread':>20}{'ratio':>8}{'spread':>16}{'accuracy':>11}\n"
        "(ratio: seconds, divided by those of the linear probe on the same task)"
    )
    with threadpool_limits(options.threads):
        probe(make(200, 10, 0))  # what only the first call costs is left out
        for size in options.sizes:
            count, classes = map(int, size.split("x"))
            measure(count, classes, options.repeat)


if __name__ == "__main__":
    main()
