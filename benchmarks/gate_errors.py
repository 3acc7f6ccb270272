"""How often is the gate wrong? Simulated audits in which the truth is known.

    python benchmarks/gate_errors.py --out docs/results/gate_errors.csv

Every row of the table is one cell: what was simulated, how often, the rate found and its standard error.
About twenty minutes on two cores; `--runs 100` for a quick look. Seeds are fixed, so a rerun gives the
same table.
"""

import argparse
import csv
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from math import sqrt
from pathlib import Path

import numpy as np
from scipy.stats import norm

from forgetcheck.retention import verdict
from forgetcheck.retention.aggregate import PSEUDO, Strata, bootstrap_interval
from forgetcheck.retention.compare import Retention
from forgetcheck.retention.gate import judge, passed
from forgetcheck.retention.multiplicity import holm, step_down
from forgetcheck.retention.policy import Policy, Rule
from forgetcheck.retention.statistics import interval, mcnemar
from forgetcheck.retention.verdict import Verdict

CONCEPTS = 100
SAMPLES = (30, 100, 300, 1000, 5000)
CHURN = (0.0, 0.01, 0.02, 0.05, 0.10)  # lost + gained of an unchanged concept, as a share of n
DRAWS = 100_000  # of one interval
LEVEL = 0.025  # one-sided, of a 95 % interval
Cell = tuple[str, dict[str, float], int]  # what to simulate, its setting, how often


def cells(runs: int) -> Iterator[Cell]:
    for n, churn in itertools.product(SAMPLES, CHURN):
        yield "clean gate fails, limit 0, 100 concepts", {"n": n, "churn": churn, "drop": 0.0}, runs
    for n, churn in itertools.product(SAMPLES, CHURN):
        yield "clean gate fails, limit 0.02, 100 concepts", {"n": n, "churn": churn, "drop": 0.0}, runs
    for n, churn in itertools.product(SAMPLES, CHURN):
        yield "gate at its limit fails, 0.02, 100 concepts", {"n": n, "churn": churn, "drop": 0.02}, runs
    for n, churn, drop in itertools.product((100, 300, 1000, 5000), (0.02, 0.05, 0.10), (0.0, 0.02, 0.05)):
        yield "95 % interval covers the drop", {"n": n, "churn": churn, "drop": drop}, DRAWS
    for n, churn, drop in itertools.product((500, 2000), (0.02, 0.06), (0.01, 0.02, 0.04)):
        for test in ("paired", "unpaired"):
            yield f"drop found, {test}", {"n": n, "churn": churn, "drop": drop}, DRAWS // 5
    for concepts, n, churn, drop in (
        (10, 100, 0.06, 0.1), (20, 100, 0.06, 0.1), (100, 50, 0.06, 0.2), (100, 50, 0.02, 0.2),
        (20, 1000, 0.06, 0.04),
    ):  # fmt: skip
        for method in ("minP", "Holm"):
            setting = {"concepts": concepts, "n": n, "churn": churn, "drop": drop}
            yield f"planted drop found, {method}", setting, 2 * runs
    for churn in (0.02, 0.06, 0.10):
        yield "worst of 100 unchanged classes drops 8 points", {"n": 50, "churn": churn, "drop": 0.0}, runs
    for tasks, n, churn, drop in itertools.product((5, 20), (100, 1000), (0.02, 0.1), (0.0, 0.03)):
        yield "mean's interval covers", {"tasks": tasks, "n": n, "churn": churn, "drop": drop}, 2 * runs


def simulate(cell: Cell) -> dict[str, object]:
    what, setting, runs = cell
    rng = np.random.default_rng([sum(what.encode()), *(int(1e6 * value) for value in setting.values())])
    hits = RULES[what.split(",")[0]](rng, what, setting, runs)
    rate = hits / runs
    return {
        "what": what,
        "concepts": setting.get("concepts", setting.get("tasks", CONCEPTS if "100" in what else 1)),
        "n": setting["n"],
        "churn": setting["churn"],
        "drop": setting["drop"],
        "runs": runs,
        "rate": f"{rate:.4f}",
        "se": f"{sqrt(rate * (1 - rate) / runs):.4f}",
    }


def drawn(rng: np.random.Generator, setting: dict[str, float], shape: tuple[int, ...], drop: float):  # noqa: ANN201
    """Draw lost and gained counts: churn / 2 each way, and the drop on top."""
    gain = setting["churn"] / 2
    counts = rng.multinomial(int(setting["n"]), [gain + drop, gain, 1 - 2 * gain - drop], size=shape)
    return counts[..., 0], counts[..., 1]


def failed_gates(rng: np.random.Generator, what: str, setting: dict[str, float], runs: int) -> int:
    """Judge whole audits of 100 gated concepts and one checkpoint, as `forgetcheck report --policy` does."""
    limit = 0.0 if "limit 0," in what else 0.02
    policy = Policy(max_drop=limit, concepts=[Rule(match="task/*", max_drop=limit)])
    lost, gained = drawn(rng, setting, (runs, CONCEPTS), setting["drop"])
    low, high = interval(lost, gained, int(setting["n"]))
    verdict.detectable = lambda n, *_: np.full(len(n), np.nan)  # told beside a verdict, no part of it
    failed = 0
    for run in range(runs):
        rows = [
            concept(
                k, int(setting["n"]), *(int(a[run, k]) for a in (lost, gained)), low[run, k], high[run, k]
            )
            for k in range(CONCEPTS)
        ]
        judged = judge(rows, policy)
        failed += not passed(judged.checks, policy)
        assert passed(judged.checks, policy) == all(f.verdict is not Verdict.FORGOT for f in judged.findings)
    return failed


def concept(number: int, n: int, lost: int, gained: int, low: float, high: float) -> Retention:
    base = max(0.8, (lost + 1) / n)
    return Retention(
        "tuned", "task", str(number), "zero-shot", n, base, base - (lost - gained) / n, lost, gained,
        float(low), float(high), chance_p=0.0, identical=False, target=False, warnings=(),
    )  # fmt: skip


def covered(rng: np.random.Generator, what: str, setting: dict[str, float], runs: int) -> int:
    lost, gained = drawn(rng, setting, (runs,), setting["drop"])
    pairs, times = np.unique(np.stack([lost, gained]), axis=1, return_counts=True)
    low, high = interval(*pairs, int(setting["n"]))
    return int(times[(low <= setting["drop"]) & (setting["drop"] <= high)].sum())


def found_alone(rng: np.random.Generator, what: str, setting: dict[str, float], runs: int) -> int:
    """One-sided tests of 'no drop' at the same level; base accuracy 0.8."""
    lost, gained = drawn(rng, setting, (runs,), setting["drop"])
    if "unpaired" not in what:
        return int((mcnemar(lost, gained) <= LEVEL).sum())
    n, base = setting["n"], 0.8
    tuned = base - (lost - gained) / n
    spread = np.sqrt((base * (1 - base) + tuned * (1 - tuned)) / n)
    return int((norm.sf((base - tuned) / spread) <= LEVEL).sum())


def found_among_many(rng: np.random.Generator, what: str, setting: dict[str, float], runs: int) -> int:
    """One concept of many lost `drop`; is it found after the adjustment?"""
    concepts = int(setting["concepts"])
    lost, gained = drawn(rng, setting, (runs, concepts), 0.0)
    lost[:, 0], gained[:, 0] = drawn(rng, setting, (runs,), setting["drop"])
    found = 0
    for run in range(runs):
        p, changed = mcnemar(lost[run], gained[run]), lost[run] + gained[run]
        exact = np.ones(concepts, dtype=bool)
        adjusted = holm(p) if "Holm" in what else step_down(p, changed, exact, np.zeros(concepts))
        found += adjusted[0] < LEVEL
    return found


def mean_covered(rng: np.random.Generator, what: str, setting: dict[str, float], runs: int) -> int:
    tasks, n = int(setting["tasks"]), setting["n"]
    lost, gained = drawn(rng, setting, (runs, tasks), setting["drop"])
    same = np.full(tasks, 1 / tasks), np.full(tasks, float(n)), np.full(tasks, PSEUDO)
    hits = 0
    for run in range(runs):
        strata = Strata(same[0], lost[run].astype(float), gained[run].astype(float), same[1], same[2])
        low, high = bootstrap_interval(strata, 0.95)
        hits += low <= setting["drop"] <= high
    return hits


def worst_drops(rng: np.random.Generator, what: str, setting: dict[str, float], runs: int) -> int:
    lost, gained = drawn(rng, setting, (runs, CONCEPTS), setting["drop"])
    return int((((lost - gained) / setting["n"]).max(axis=1) >= 0.08).sum())


RULES = {
    "worst of 100 unchanged classes drops 8 points": worst_drops,
    "clean gate fails": failed_gates,
    "gate at its limit fails": failed_gates,
    "95 % interval covers the drop": covered,
    "drop found": found_alone,
    "planted drop found": found_among_many,
    "mean's interval covers": mean_covered,
}


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000, help="audits per cell")
    parser.add_argument("--out", type=Path, default=Path("docs/results/gate_errors.csv"))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    rows = []
    with ProcessPoolExecutor(options.workers) as pool:
        for row in pool.map(simulate, cells(options.runs)):
            rows.append(row)
            print(*row.values(), sep="\t", file=sys.stderr, flush=True)
    write_table(options.out, rows)


if __name__ == "__main__":
    main()
