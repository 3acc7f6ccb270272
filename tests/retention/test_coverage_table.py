"""The committed table of exact coverage is what the interval of today has."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multinomial

from forgetcheck.retention.statistics.paired import interval

ROOT = Path(__file__).parent.parent.parent
CELLS = [(200, 0.01, 0.02), (100, 0.05, 0.02), (30, 0.1, 0.1)]  # the first is the lowest of the grid


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(ROOT / "docs" / "results" / "coverage.csv")


@pytest.fixture(scope="module")
def script():
    """benchmarks/interval_coverage.py, which has another module beside it to import."""
    folder = ROOT / "benchmarks"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(folder), *sys.path])
        source = importlib.util.spec_from_file_location("exact_coverage", folder / "interval_coverage.py")
        module = importlib.util.module_from_spec(source)
        source.loader.exec_module(module)
    return module


def recorded(table, n, churn, drop):
    grid = table[table["cell"] == "grid"].set_index(["n", "churn", "drop"])
    return grid["coverage"].loc[(n, churn, drop)]


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_is_what_the_intervals_themselves_cover(table, cell):
    n, churn, drop = cell
    lost, gained = (side.ravel() for side in np.meshgrid(*2 * [np.arange(n + 1)], indexing="ij"))
    lost, gained = (side[lost + gained <= n] for side in (lost, gained))
    gain = churn / 2
    chances = [gain + drop, gain, 1 - churn - drop]
    likely = multinomial(n, chances).pmf(np.stack([lost, gained, n - lost - gained], axis=1))
    lost, gained, likely = (each[likely > 1e-15] for each in (lost, gained, likely))
    low, high = interval(lost, gained, n)
    exact = likely[(low <= drop) & (drop <= high)].sum()
    assert recorded(table, *cell) == pytest.approx(exact, abs=1e-6)


def test_the_table_has_every_cell_of_the_script_as_it_computes_it(table, script):
    grid = table[table["cell"] == "grid"]
    wanted = [cell for n in script.SAMPLES for cell in script.grid(n)]
    assert list(zip(grid["n"], grid["churn"], grid["drop"], strict=True)) == wanted
    for row in [*grid.iloc[::70].itertuples(), *table[table["cell"] != "grid"].itertuples()]:
        assert script.coverage(row.n, row.churn, row.drop) == pytest.approx(row.coverage, abs=1e-6)
        assert row.changed == pytest.approx(row.n * (row.churn + row.drop), abs=1e-6)


def test_less_than_a_billionth_is_left_out(script, monkeypatch):
    monkeypatch.setattr(script, "BOUND", np.inf)  # every outcome that is summed is covered
    for cell in [*CELLS, (5000, 0.1, 0.1), (5000, 0.0, 0.005)]:
        assert 1 - 1e-9 < script.coverage(*cell) < 1 + 1e-10


def test_the_lowest_coverage_is_near_what_is_promised(table):
    enough = table[(table["cell"] == "grid") & (table["changed"] >= 5)]
    lowest = enough.loc[enough["coverage"].idxmin()]
    assert (lowest["n"], lowest["churn"], lowest["drop"]) == CELLS[0]
    assert 0.93 < lowest["coverage"] < 0.933
    assert table["coverage"].min() > 0.925
