"""How often does the 95 % interval of a drop cover it? Summed exactly over everything that can come out.

    python benchmarks/interval_coverage.py --out docs/results/coverage.csv

A pair of models loses each of n answers with probability churn / 2 + drop and gains it with churn / 2 (a
gain instead of a drop is the mirror image). The coverage is the probability of all (lost, gained) whose
interval holds the true drop. Outcomes too unlikely to matter are left out, less than 1e-9 of the probability
of a cell, and count as not covered. Coverage is jagged in the drop, so beside the cells of the grid the table
has, for every n, the lowest one of a search in between. Nothing is drawn: a rerun gives the same table. It
ends with the range and the lowest cells; ten seconds on one core.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np
from gate_errors import write_table
from numpy.typing import NDArray
from scipy.stats import binom

from forgetcheck.retention.statistics.paired import score

SAMPLES = (30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 2000, 5000)
CHURN = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1)  # lost + gained of an unchanged pair, as a share of n
DROPS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
ENOUGH = 5  # changed answers to be expected, from which docs/statistics.md tells a range of its own
SEARCHED = 50  # changed answers to be expected, up to which the lowest cell is searched
LARGEST = 0.3  # drop that is searched
BOUND = NormalDist().inv_cdf(0.975)
TAIL = 2e-10  # left out at each end of the lost and of the gained answers: 8e-10 in all
Row = dict[str, float | str]
Cell = tuple[int, float, float]  # n, churn, drop


def grid(n: int) -> Iterator[Cell]:
    """Yield every cell in which an answer can change."""
    return ((n, churn, drop) for churn, drop in itertools.product(CHURN, DROPS) if churn + drop)


def between(n: int) -> Iterator[Cell]:
    """Yield cells with every drop of a quarter of an answer more, where few changes are to be expected."""
    for churn, quarters in itertools.product(CHURN, range(4 * SEARCHED + 1)):
        drop = round(quarters / (4 * n), 6)  # as the table has it
        if ENOUGH <= n * (churn + drop) <= SEARCHED and drop <= LARGEST:
            yield n, churn, drop


def coverage(n: int, churn: float, drop: float) -> float:
    """Return the probability that the 95 % interval of n paired answers holds the true drop."""
    gain = churn / 2
    lost = likely(n, gain + drop)[:, None]
    gained = likely(n, gain)[None, :]
    left = n - lost  # of which each is gained with gain / (1 - gain - drop)
    chance = binom.pmf(lost, n, gain + drop) * binom.pmf(gained, left, gain / (1 - gain - drop))
    # the interval is all drops that the score test does not reject, so nothing has to be inverted
    return float(chance[np.abs(score(lost, gained, n, drop)) <= BOUND].sum())


def likely(n: int, share: float) -> NDArray[np.int64]:
    """Return the counts (m,) of n draws that each hit with `share`, without the tails."""
    low, high = binom.ppf(TAIL, n, share), binom.isf(TAIL, n, share)
    return np.arange(max(low, 0), high + 1, dtype=np.int64)


def tabulate() -> Iterator[Row]:
    for n in SAMPLES:
        yield from (described("grid", cell, coverage(*cell)) for cell in grid(n))
        found, cell = min((coverage(*cell), cell) for cell in between(n))
        yield described("lowest found", cell, found)


def described(kind: str, cell: Cell, found: float) -> Row:
    n, churn, drop = cell
    changed = round(n * (churn + drop), 6)
    return {
        "cell": kind,
        "n": n,
        "churn": churn,
        "drop": drop,
        "changed": changed,
        "coverage": f"{found:.7f}",
    }


def summary(rows: Sequence[Row], title: str) -> str:
    """Say the range and the lowest cells of some rows."""
    ordered = sorted(rows, key=lambda row: float(row["coverage"]))
    lowest, highest = (100 * float(row["coverage"]) for row in (ordered[0], ordered[-1]))
    lines = [f"{title}: {len(rows)} cells, {lowest:.3f} to {highest:.3f} %; the lowest:"]
    lines += [
        f"  n {row['n']}, churn {row['churn']}, drop {row['drop']}, {row['changed']} changed: "
        f"{100 * float(row['coverage']):.3f} %"
        for row in ordered[:5]
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results/coverage.csv"))
    options = parser.parse_args()
    rows = list(tabulate())
    write_table(options.out, rows)
    cells = [row for row in rows if row["cell"] == "grid"]
    enough = [row for row in cells if float(row["changed"]) >= ENOUGH]
    print(summary(enough, f"{ENOUGH} changed answers or more to be expected"))
    print(summary([row for row in cells if row not in enough], "fewer"))
    print(summary([row for row in rows if row not in cells], "lowest found between the cells, of every n"))


if __name__ == "__main__":
    main()
