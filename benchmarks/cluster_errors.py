"""How often are intervals and gate wrong where samples come in clusters? Simulated, with the truth known.

    python benchmarks/cluster_errors.py --out docs/results/cluster_errors.csv

Every row of the table is one cell: what was simulated, and the rate found if every sample counts as
independent (`naive`) and as forgetcheck counts it (`clustered`). About seven minutes on one core; seeds are
fixed, so a rerun gives the same table.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from math import sqrt
from pathlib import Path

import numpy as np
from gate_errors import silence, write_table

from forgetcheck.retention.compare import Retention
from forgetcheck.retention.gate import judge, passed
from forgetcheck.retention.policy import Policy, Rule
from forgetcheck.retention.statistics.bootstrap import PSEUDO, Strata, bootstrap_interval
from forgetcheck.retention.statistics.clusters import Clustering, Spread, design_effect
from forgetcheck.retention.statistics.paired import interval, p_more_than, share_interval

LEVEL = 0.025  # one-sided, of a 95 % interval
CHURN = 0.06  # lost + gained, beside the drop, as a share of the samples
CLUSTERS = (20, 50, 200, 1000)
SIZES = (1, 2, 5, 20)
CORRELATIONS = (0.0, 0.3, 0.8, 1.0)
KINDS = ("equal", "unequal", "large ones forget more")
CHUNK = 2_000_000  # samples drawn at once
TASKS, CONCEPTS = 5, 30
Setting = dict[str, float | str]
Rates = tuple[float, float]  # naive, clustered


def cells(runs: int) -> Iterator[tuple[str, Setting, int]]:
    for kind, clusters, size, correlation in itertools.product(KINDS, CLUSTERS, SIZES, CORRELATIONS):
        if size == 1 and (correlation or kind != "equal"):
            continue  # a cluster of one sample has no correlation, and no other size
        setting: Setting = {"clusters": clusters, "size": size, "kind": kind, "correlation": correlation}
        for drop in (0.0, 0.05):
            if drop or kind != "large ones forget more":
                for what in ("95 % interval covers the drop", "drop at its limit found"):
                    yield what, {**setting, "churn": CHURN, "drop": drop}, runs
        yield "drop beyond a limit of 0 found", {**setting, "churn": CHURN, "drop": 0.05}, runs
    for clusters, size, correlation in itertools.product((10, 20, 50, 200), (5,), (0.0, 0.3, 1.0)):
        setting = {"clusters": clusters, "size": size, "kind": "unequal", "correlation": correlation}
        yield "95 % interval covers the drop", {**setting, "churn": 0.01, "drop": 0.0}, runs
        yield "accuracy's 95 % interval covers 0.9", {**setting, "churn": 0.0, "drop": 0.1}, runs
        yield "mean's 95 % interval covers, 5 tasks", {**setting, "churn": CHURN, "drop": 0.05}, runs // 4
        for limit, drop in ((0, 0.0), (0.02, 0.02)):
            what = f"gate at its limit of {limit} fails, {CONCEPTS} concepts"
            for kind in ("equal", "across concepts"):
                yield what, {**setting, "kind": kind, "churn": CHURN, "drop": drop}, runs // 4


def simulate(what: str, setting: Setting, runs: int) -> dict[str, object]:
    rng = np.random.default_rng([sum(what.encode()), *(int(1e6 * v) for v in numbers(setting))])
    rule = next(rule for start, rule in RULES.items() if what.startswith(start))
    naive, ours = rule(rng, setting, runs)
    return {
        "what": what,
        **setting,
        "runs": runs,
        "naive": f"{naive:.4f}",
        "clustered": f"{ours:.4f}",
        "se": f"{sqrt(ours * (1 - ours) / runs):.4f}",
    }


def numbers(setting: Setting) -> list[float]:
    return [value for value in setting.values() if not isinstance(value, str)]


def sizes_of(setting: Setting) -> np.ndarray:
    """Unequal clusters: the largest has about twenty times the samples of the smallest."""
    clusters, size = int(setting["clusters"]), int(setting["size"])
    if setting["kind"] == "equal":
        return np.full(clusters, size)
    spread = np.exp(np.linspace(-1.5, 1.5, clusters))
    return np.maximum(np.round(size * spread / spread.mean()), 1).astype(np.int64)


def drawn(
    rng: np.random.Generator, setting: Setting, runs: int
) -> tuple[Spread, np.ndarray, np.ndarray, float]:
    """Draw audits of one question: the spread of lost - gained, lost, gained, and the true drop. (runs,)

    A sample takes its cluster's draw with the root of the correlation, else its own: so any two of a cluster
    take the same with the correlation.
    """
    sizes = sizes_of(setting)
    owner, gain, drop = np.repeat(np.arange(len(sizes)), sizes), setting["churn"] / 2, setting["drop"]
    weight = np.ones(len(owner))
    if setting["kind"] == "large ones forget more":
        weight = sizes[owner] / sizes[owner].mean()
    lose = np.minimum(gain + drop * weight, 1 - gain)
    starts = np.append(0, np.cumsum(sizes)[:-1])
    parts = []
    for part in np.array_split(np.arange(runs), -(-runs * len(owner) // CHUNK)):
        shared = rng.random((len(part), len(sizes)), dtype=np.float32)[:, owner]
        own = rng.random((len(part), len(owner)), dtype=np.float32)
        together = rng.random(own.shape, dtype=np.float32) < sqrt(setting["correlation"])
        chance = np.where(together, shared, own)
        lost, gained = chance < lose, chance >= 1 - gain
        totals = np.add.reduceat(lost.astype(np.int64) - gained, starts, axis=1)
        parts.append((lost.sum(1), gained.sum(1), (totals * sizes).sum(1), (totals**2).sum(1)))
    lost, gained, products, clustered = (np.concatenate(column) for column in zip(*parts, strict=True))
    ones = np.ones(runs)
    spread = Spread(
        len(owner) * ones, lost - gained, lost + gained, (sizes**2).sum() * ones, products, clustered
    )
    return spread, lost, gained, float((lose - gain).mean())


def covered(rng: np.random.Generator, setting: Setting, runs: int) -> Rates:
    spread, lost, gained, drop = drawn(rng, setting, runs)
    return tuple(
        share_that(low <= drop, drop <= high)
        for low, high in (interval(lost, gained, spread.n, 0.95, known) for known in (None, spread))
    )


def share_that(*flags: np.ndarray) -> float:
    return float(np.logical_and.reduce(flags).mean())


def claimed(rng: np.random.Generator, setting: Setting, runs: int) -> Rates:
    """A drop of exactly its limit is called forgotten: one question, one-sided."""
    spread, lost, gained, drop = drawn(rng, setting, runs)
    return claims(spread, lost, gained, drop)


def found(rng: np.random.Generator, setting: Setting, runs: int) -> Rates:
    spread, lost, gained, _ = drawn(rng, setting, runs)
    return claims(spread, lost, gained, 0.0)


def claims(spread: Spread, lost: np.ndarray, gained: np.ndarray, limit: float) -> Rates:
    effects = np.ones(len(lost)), design_effect(spread, limit)
    return tuple(share_that(p_more_than(lost / e, gained / e, spread.n / e, limit) < LEVEL) for e in effects)


def accuracy_covered(rng: np.random.Generator, setting: Setting, runs: int) -> Rates:
    """What is drawn as lost is an answer that is wrong."""
    spread, wrong, _, share = drawn(rng, setting, runs)
    return tuple(
        share_that(low <= share, share <= high)
        for low, high in (share_interval(wrong, spread.n, 0.95, known) for known in (None, spread))
    )


def mean_covered(rng: np.random.Generator, setting: Setting, runs: int) -> Rates:
    spread, lost, gained, drop = drawn(rng, setting, runs * TASKS)
    effects = np.ones(runs * TASKS), design_effect(spread, spread.total / spread.n)
    rates = []
    for effect in effects:
        columns = [(c / effect).reshape(runs, TASKS) for c in (lost, gained, spread.n)]
        hits = 0
        for row in zip(*columns, strict=True):
            low, high = bootstrap_interval(
                Strata(np.full(TASKS, 1 / TASKS), *row, np.full(TASKS, PSEUDO)), 0.95
            )
            hits += low <= drop <= high
        rates.append(hits / runs)
    return tuple(rates)


def failed_gates(rng: np.random.Generator, setting: Setting, runs: int) -> Rates:
    """Judge audits of gated concepts that all dropped by their limit; clusters lie within or across them."""
    drop, clusters, size = setting["drop"], int(setting["clusters"]), int(setting["size"])
    policy = Policy(max_drop=drop, concepts=[Rule(match="task/*", max_drop=drop)])
    silence()
    failed = [0, 0]
    for _ in range(runs):
        values = answers_of(rng, setting, CONCEPTS)  # (clusters, concepts, size)
        if setting["kind"] == "across concepts":
            # the samples of a cluster lie in as many concepts, one in each
            values = values.reshape(clusters, CONCEPTS // size, size, size).swapaxes(2, 3)
            values = values.reshape(clusters, CONCEPTS, size).transpose(0, 2, 1).reshape(-1, CONCEPTS, 1)
        for turn in (0, 1):
            failed[turn] += not passed(judge(concepts_of(values, bool(turn)), policy).checks, policy)
    return failed[0] / runs, failed[1] / runs


def answers_of(rng: np.random.Generator, setting: Setting, concepts: int) -> np.ndarray:
    """Draw 1 for lost and -1 for gained, of equal clusters. (clusters, concepts, size)"""
    shape, gain = (int(setting["clusters"]), concepts, int(setting["size"])), setting["churn"] / 2
    shared = np.broadcast_to(rng.random((*shape[:2], 1)), shape)
    chance = np.where(rng.random(shape) < sqrt(setting["correlation"]), shared, rng.random(shape))
    return (chance < gain + setting["drop"]).astype(np.int64) - (chance >= 1 - gain)


def concepts_of(values: np.ndarray, known: bool) -> list[Retention]:  # (clusters, concepts, size)
    lost, gained = (values == 1).sum(axis=(0, 2)), (values == -1).sum(axis=(0, 2))
    totals, (clusters, _, size) = values.sum(axis=2), values.shape
    n, ones = clusters * size, np.ones(values.shape[1])
    moved, changed = lost - gained, lost + gained
    columns = (n * ones, moved, changed, n * size * ones, moved * size, (totals**2).sum(axis=0))
    spreads = [Spread(*(column[k] for column in columns)) for k in range(len(lost))]
    low, high = interval(lost, gained, n, 0.95, Spread(*columns) if known else None)
    return [
        Retention(
            "tuned", "task", str(k), "zero-shot", n, 1.0, 1.0 - (lost[k] - gained[k]) / n, int(lost[k]),
            int(gained[k]), low[k], high[k], chance_p=0.0, identical=False, target=False, warnings=(),
            clustering=Clustering(clusters, *(spreads[k],) * 3) if known else None,
        )
        for k in range(values.shape[1])
    ]  # fmt: skip


RULES = {
    "95 % interval": covered,
    "drop at its limit": claimed,
    "drop beyond": found,
    "accuracy": accuracy_covered,
    "mean": mean_covered,
    "gate": failed_gates,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2000, help="audits per cell")
    parser.add_argument("--out", type=Path, default=Path("docs/results/cluster_errors.csv"))
    options = parser.parse_args()
    rows = []
    for cell in cells(options.runs):
        rows.append(simulate(*cell))
        print(*rows[-1].values(), sep="\t", file=sys.stderr, flush=True)
    write_table(options.out, rows)


if __name__ == "__main__":
    main()
