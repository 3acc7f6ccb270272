"""How often is the gate wrong? Simulated audits in which the truth is known.

    python benchmarks/gate_errors.py --out docs/results/gate_errors.csv

Every row of the table is one cell: what was simulated, how often, the rate found and its standard error.
About half an hour on two cores; `--runs 100` for a quick look. Seeds are fixed, so a rerun gives the
same table.
"""

import argparse
import csv
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from math import sqrt
from pathlib import Path

import numpy as np
from scipy.stats import norm

from forgetcheck.retention import gate, verdict
from forgetcheck.retention.compare import Calibration, Retention
from forgetcheck.retention.gate import Outcome, judge, passed
from forgetcheck.retention.policy import Policy, Rule
from forgetcheck.retention.statistics.bootstrap import PSEUDO, Strata, bootstrap_interval
from forgetcheck.retention.statistics.multiplicity import holm, step_down
from forgetcheck.retention.statistics.paired import calibration_change, interval, mcnemar
from forgetcheck.retention.verdict import Verdict

CONCEPTS = 100
SAMPLES = (30, 100, 300, 1000, 5000)
CHURN = (0.0, 0.01, 0.02, 0.05, 0.10)  # lost + gained of an unchanged concept, as a share of n
DRAWS = 100_000  # of one interval
LEVEL = 0.025  # one-sided, of a 95 % interval
TASKS, OF_TASK, PROBES = 5, 10, ("zero-shot", "linear")  # of an audit under a policy without rules
Cell = tuple[str, dict[str, float], int]  # what to simulate, its setting, how often


def cells(runs: int) -> Iterator[Cell]:
    for n, churn in itertools.product(SAMPLES, CHURN):
        yield "clean gate fails, limit 0, 100 concepts", {"n": n, "churn": churn, "drop": 0.0}, runs
    for n, churn in itertools.product(SAMPLES, CHURN):
        yield "clean gate fails, limit 0.02, 100 concepts", {"n": n, "churn": churn, "drop": 0.0}, runs
    for n, churn in itertools.product(SAMPLES, CHURN):
        yield "gate at its limit fails, 0.02, 100 concepts", {"n": n, "churn": churn, "drop": 0.02}, runs
    for limit, n, churn in itertools.product((0.0, 0.02), (30, 100, 300), (0.02, 0.06)):
        setting = {"limit": limit, "n": n, "churn": churn, "drop": 0.0}
        yield f"default gate, clean, limit {limit:g}", setting, runs
        if limit:
            at_limit = {**setting, "drop": limit}
            yield "default gate, every concept at its limit of 0.02", at_limit, runs
            yield "default gate, two concepts of a task cancel 10 points", setting, runs // 4
    for n, churn in itertools.product((200, 500, 2000, 10_000), (0.01, 0.05, 0.15)):
        for limit in (0.02, 0.05):
            setting = {"n": n, "churn": churn, "drop": limit}
            yield "retained though it dropped by its limit", setting, DRAWS
    for n, churn in itertools.product((50, 500), (0.02, 0.06)):
        yield "gained though nothing changed, 100 concepts", {"n": n, "churn": churn, "drop": 0.0}, runs
    for candidates, drop in itertools.product((1, 3, 10), (0.0, 0.02)):
        setting = {"concepts": candidates, "n": 2000, "churn": 0.06, "drop": drop}
        for what in ("any fails", "any is shown to meet it"):
            yield f"several candidates, limit 0.02, {what}", setting, runs
    for n, excess in itertools.product((200, 1000, 5000), (0.0, 0.05, 0.15)):
        setting = {"n": n, "churn": 0.06, "drop": excess}
        yield "calibration's interval covers the change", setting, 2 * runs
        yield "calibration called worse than its true change", setting, 2 * runs
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
        "concepts": setting.get("concepts", setting.get("tasks", of_one_audit(what))),
        "n": setting["n"],
        "churn": setting["churn"],
        "drop": setting["drop"],
        "runs": runs,
        "rate": f"{rate:.4f}",
        "se": f"{sqrt(rate * (1 - rate) / runs):.4f}",
    }


def of_one_audit(what: str) -> int:
    """Return how many rows an audit of this cell has, where its setting doesn't say."""
    if what.startswith("default gate"):
        return len(PROBES) * TASKS * (1 + OF_TASK)
    return CONCEPTS if "100" in what else 1


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
    silence()
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


def silence() -> None:
    """Leave out what is told beside a verdict and is no part of it."""
    verdict.detectable = lambda n, *_: np.full(len(n), np.nan)
    gate.advice_on_drops = lambda rows, *_: [None] * len(rows)


def default_gates(rng: np.random.Generator, what: str, setting: dict[str, float], runs: int) -> int:
    """Judge audits of tasks by two probes as a policy without rules does: tasks gated, concepts watched."""
    silence()
    n, limit = int(setting["n"]), setting["limit"]
    policy = Policy(max_drop=limit)
    failed = 0
    for _ in range(runs):
        shape = (len(PROBES), TASKS, OF_TASK)
        lost, gained = drawn(rng, setting, shape, setting["drop"])
        if "cancel" in what:
            moved = rng.binomial(n, 0.1, size=2)
            lost[0, 0, 0] += moved[0]
            gained[0, 0, 1] += moved[1]
        with_tasks = [np.concatenate([a.sum(axis=2, keepdims=True), a], axis=2) for a in (lost, gained)]
        sizes = np.broadcast_to(np.array([n * OF_TASK] + [n] * OF_TASK), with_tasks[0].shape)
        low, high = interval(*with_tasks, sizes)
        rows = [
            replace(
                concept(k, int(sizes[place]), *(int(a[place]) for a in with_tasks), low[place], high[place]),
                task=f"task {place[1]}",
                probe=PROBES[place[0]],
                concept=None if place[2] == 0 else str(place[2]),
            )
            for k, place in enumerate(np.ndindex(*with_tasks[0].shape))
        ]
        failed += not passed(judge(rows, policy).checks, policy)
    return failed


def kept_wrongly(rng: np.random.Generator, what: str, setting: dict[str, float], runs: int) -> int:
    """Is the interval's upper end within the limit though the true drop is the limit?"""
    lost, gained = drawn(rng, setting, (runs,), setting["drop"])
    pairs, times = np.unique(np.stack([lost, gained]), axis=1, return_counts=True)
    return int(times[interval(*pairs, int(setting["n"]))[1] <= setting["drop"]].sum())


def gains(rng: np.random.Generator, what: str, setting: dict[str, float], runs: int) -> int:
    """Count the audits in which one of 100 unchanged concepts is called gained."""
    silence()
    lost, gained = drawn(rng, setting, (runs, CONCEPTS), 0.0)
    low, high = interval(lost, gained, int(setting["n"]))
    hits = 0
    for run in range(runs):
        counts = (
            (int(lost[run, k]), int(gained[run, k]), low[run, k], high[run, k]) for k in range(CONCEPTS)
        )
        rows = [concept(k, int(setting["n"]), *each) for k, each in enumerate(counts)]
        hits += any(f.verdict is Verdict.GAINED for f in judge(rows, Policy()).findings)
    return hits


def several(rng: np.random.Generator, what: str, setting: dict[str, float], runs: int) -> int:
    """Judge candidates of one task each, all with the same true drop."""
    silence()
    wanted = Outcome.FAILED if "any fails" in what else Outcome.MET
    count, n, policy = int(setting["concepts"]), int(setting["n"]), Policy(max_drop=0.02)
    lost, gained = drawn(rng, setting, (runs, count), setting["drop"])
    low, high = interval(lost, gained, n)
    hits = 0
    for run in range(runs):
        rows = [
            replace(
                concept(k, n, int(lost[run, k]), int(gained[run, k]), low[run, k], high[run, k]),
                checkpoint=f"candidate {k}",
                concept=None,
            )
            for k in range(count)
        ]
        hits += any(check.outcome is wanted for check in judge(rows, policy).checks)
    return hits


def calibration(rng: np.random.Generator, what: str, setting: dict[str, float], runs: int) -> int:
    """A base as confident as it is right, and a tuned model that is surer by `drop` than it should be."""
    n, excess, hits = int(setting["n"]), setting["drop"], 0
    for _ in range(runs):
        sure = rng.uniform(0.4, 0.85, n)
        right = rng.random(n) < sure
        flipped = rng.random(n) < setting["churn"]
        again = np.where(flipped, rng.random(n) < sure, right)
        found = Calibration(0.0, 0.0, *calibration_change((sure, right), (sure + excess, again)))
        low, high = found.interval(0.95)
        hits += low > excess if "worse" in what else low <= excess <= high
    return hits


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
    "default gate": default_gates,
    "retained though it dropped by its limit": kept_wrongly,
    "gained though nothing changed": gains,
    "several candidates": several,
    "calibration's interval covers the change": calibration,
    "calibration called worse than its true change": calibration,
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
