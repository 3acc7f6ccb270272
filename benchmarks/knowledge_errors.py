"""How often is a base that only guesses taken for one that knows, and how often is one that knows recognised?

    python benchmarks/knowledge_errors.py --out docs/results/knowledge_errors.csv

Simulated bases in which the truth is known. `task` and `concept` are how often forgetcheck finds knowledge
of the whole task and of its rarest class (level 5 %), `fisher` how often scipy's exact test finds it for that
class, and `named` how often the rule before did, for which chance was how often the base names a class. About
ten minutes on one core; seeds are fixed, so a rerun gives the same table.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from math import sqrt
from pathlib import Path

import numpy as np
from gate_errors import write_table
from scipy.stats import binom, hypergeom

from forgetcheck.retention.statistics.association import knowledge_p

LEVEL = 0.05
Cell = tuple[str, str, int, tuple[float, ...], tuple[float, ...], float, int]
HABITS = {  # how often each class comes up, and how often the base says so without looking
    "balanced, even": ((0.1,) * 10, (0.1,) * 10),
    "balanced, one favourite": ((0.1,) * 10, (0.82,) + (0.02,) * 9),
    "100 classes": ((0.01,) * 100, (0.01,) * 100),
    "100 classes, two favourites": ((0.01,) * 100, (0.4, 0.4) + (0.2 / 98,) * 98),
    "two classes, even": ((0.5, 0.5), (0.5, 0.5)),
    "two classes, one rare": ((0.98, 0.02), (0.97, 0.03)),
    "two classes, one rare, named often": ((0.98, 0.02), (0.6, 0.4)),
    "two and a third that is rare": ((0.49, 0.49, 0.02), (0.49, 0.49, 0.02)),
    "three, two rare": ((0.96, 0.02, 0.02), (0.95, 0.02, 0.03)),
    "three, uneven": ((0.6, 0.3, 0.1), (0.2, 0.3, 0.5)),
    "names one class only": ((0.7, 0.2, 0.1), (1.0, 0.0, 0.0)),
}


def cells() -> Iterator[Cell]:
    for (name, (share, said)), n in itertools.product(HABITS.items(), (40, 300, 2000)):
        for size in (1, 5):
            if size == 1 or n > 40:
                yield "guesses", name, n, share, said, 0.0, size
    for positives, n, recall in itertools.product((0.01, 0.02), (300, 1000), (0.3, 0.5, 0.8)):
        share = (1 - positives, positives)
        yield (
            "knows the rare class",
            f"{positives:.0%} positive, recall {recall:.0%}",
            n,
            share,
            (0.985, 0.015),
            recall,
            1,
        )
    for knows in (0.02, 0.05, 0.1):
        yield (
            "knows a little of all",
            f"{knows:.0%} seen, else guessed",
            1000,
            (0.01,) * 100,
            (0.01,) * 100,
            knows,
            1,
        )


def drawn(rng: np.random.Generator, cell: Cell) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Draw labels, answers and clusters: of one cluster all samples are of one class and get one answer."""
    what, _, n, share, said, knows, size = cell
    count = n // size
    labels = rng.choice(len(share), count, p=share)
    answers = rng.choice(len(said), count, p=said)
    if what == "knows the rare class":
        seen = (labels == len(share) - 1) & (rng.random(count) < knows)
        answers = np.where(seen, labels, np.where(rng.random(count) < 0.01, len(share) - 1, 0))
    elif knows:
        answers = np.where(rng.random(count) < knows, labels, answers)
    groups = None if size == 1 else np.repeat(np.arange(count), size).astype(np.int32)
    return np.repeat(labels, size).astype(np.int32), np.repeat(answers, size).astype(np.int32), groups


def found(rng: np.random.Generator, cell: Cell) -> tuple[bool, bool, bool, bool]:
    labels, answers, groups = drawn(rng, cell)
    classes, n = len(cell[3]), len(labels)
    rarest = int(np.argmin(cell[3])) if min(cell[3]) < max(cell[3]) else 0
    p = knowledge_p(labels, answers[:, None], classes, groups)
    are, said = (labels == rarest).sum(), (answers == rarest).sum()
    hits = ((labels == rarest) & (answers == rarest)).sum()
    fisher = hypergeom.sf(hits - 1, n, are, said)
    share, named = (np.bincount(x, minlength=classes) / n for x in (labels, answers))
    before = binom.sf((labels == answers).sum() - 1, n, max(share @ named, 1 / classes))
    return p[0] <= LEVEL, p[1 + rarest] <= LEVEL, fisher <= LEVEL, before <= LEVEL


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=4000, help="bases per cell")
    parser.add_argument("--out", type=Path, default=Path("docs/results/knowledge_errors.csv"))
    options = parser.parse_args()
    rows = []
    for number, cell in enumerate(cells()):
        rng = np.random.default_rng([7, number])
        rates = np.mean([found(rng, cell) for _ in range(options.runs)], axis=0)
        names = ("task", "concept", "fisher", "named")
        rows.append(
            {
                "what": cell[0],
                "habits": cell[1],
                "n": cell[2],
                "cluster": cell[6],
                "runs": options.runs,
                **{name: f"{rate:.4f}" for name, rate in zip(names, rates, strict=True)},
                "se": f"{sqrt(rates[0] * (1 - rates[0]) / options.runs):.4f}",
            }
        )
        print(*rows[-1].values(), sep="\t", file=sys.stderr, flush=True)
    write_table(options.out, rows)


if __name__ == "__main__":
    main()
