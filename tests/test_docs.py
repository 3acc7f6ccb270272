"""The docs keep their word: every command in them runs, every policy reads, every link leads somewhere."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import sources
import torch
import yaml
from planted import full_audit

from forgetcheck.batteries.battery import TaskEntry, read_battery
from forgetcheck.batteries.check import lint
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.retention.answers import write_audit
from forgetcheck.retention.policy import read_policy
from forgetcheck.retention.report import make_report

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
BATTERY = '[[task]]\nname = "shape"\nsource = "drawn:family=shape"\n'


def blocks(page, language):
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def commands(text, program):
    joined = text.replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in joined.splitlines() if line.startswith(program)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a reader of the docs would have: an audit, two checkpoints, a battery, a policy."""
    folder = tmp_path_factory.mktemp("docs")
    weights = load_encoder(find_checkpoint("forgetcheck:tiny"), "cpu").weights
    torch.save(weights, folder / "base.pt")
    moved = {"visual.ln_post.bias": weights["visual.ln_post.bias"] + 1e-4}  # a training that hardly moved
    torch.save({**weights, **moved}, folder / "tuned.pt")
    (folder / "policy.toml").write_text("[policy]\n")
    (folder / "battery.toml").write_text(BATTERY)
    sources.folder(folder / "photos", {"train": 6, "test": 5}, ("golden_retriever", "tabby_cat"))
    write_audit(folder / "audit", full_audit())
    return folder


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_command_runs(page, folder):
    lines = [words for block in blocks(page, "bash") for words in commands(block, "forgetcheck ")]
    for words in lines:
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 1), (words, done.stderr)
        assert "bug in forgetcheck" not in done.stderr
        named = [word.rpartition("=")[2] for word in words if re.fullmatch(r"[a-z-]+=\S+\.\w+", word)]
        assert all((folder / name).is_file() for name in named), words


def test_there_are_commands_to_run():
    assert sum(len(commands(block, "forgetcheck ")) for page in DOCS for block in blocks(page, "bash")) >= 6


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_benchmark_that_is_named_exists_with_its_options(page):
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for script, rest in re.findall(r"python (benchmarks/\w+\.py)([^`\n]*)", text):
        said = subprocess.run(
            [sys.executable, ROOT / script, "--help"], capture_output=True, text=True, check=True
        ).stdout
        assert all(option in said for option in re.findall(r"--[\w-]+", rest)), (script, rest)


def test_the_error_rates_of_clusters_are_those_of_their_table():
    found = pd.read_csv(ROOT / "docs" / "results" / "cluster_errors.csv")
    text = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    many = found["clusters"] >= 50
    covers = found["what"].str.startswith("95 %") & (found["churn"] == 0.06)
    informative = found["kind"].str.startswith("large")
    rows = {
        "50, 200 and 1,000 clusters": covers & many & ~informative,
        "20 clusters": covers & ~many & ~informative,
        "50 to 1,000 clusters of which": covers & many & informative,
        "a drop of exactly its limit": found["what"] == "drop at its limit found",
        "30 clustered concepts fail": found["what"].str.startswith("gate at its limit"),
        "clusters, 5 tasks": found["what"].str.startswith("mean"),
        "the interval of an accuracy": found["what"].str.startswith("accuracy"),
    }
    for start, chosen in rows.items():
        line = next(line for line in text.splitlines() if line.startswith(f"| {start}"))
        _, _, cells, *columns, _ = (cell.strip() for cell in line.split("|"))
        assert int(cells) == chosen.sum(), start
        for name, said in zip(("naive", "clustered"), columns, strict=True):
            numbers = [float(number) for number in re.findall(r"[\d.]+", said.split("(")[0])]
            rates = 100 * found[chosen][name]
            ends = [rates.min(), rates.max()] if len(numbers) == 2 else [rates.max()]
            assert numbers == pytest.approx(ends, abs=0.0501), (start, name)


def test_the_error_rates_of_the_docs_are_those_of_the_table():
    found = pd.read_csv(ROOT / "docs" / "results" / "gate_errors.csv")
    text = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")

    def rates(what, **setting):
        chosen = found[found["what"].str.startswith(what)]
        for name, value in setting.items():
            chosen = chosen[chosen[name] == value]
        assert len(chosen)
        return 100 * chosen["rate"]

    def row(start):
        return next(line for line in text.splitlines() if line.startswith(f"| {start}"))

    assert f"at most {rates('clean gate fails, limit 0, 100').max():.1f} %" in row("a pair that lost nothing")
    assert f"at most {rates('gate at its limit').max():.1f} %" in row("the gate fails though")
    assert rates("clean gate fails").max() < 5 > rates("gate at its limit").max()
    assert round(rates("clean gate fails, limit 0.02").max(), 1) <= 0.1
    covers = found[found["what"].str.startswith("95 %")]
    central = covers["n"] * covers["churn"] >= 5
    for chosen, start in ((central, "the 95 % interval covers"), (~central, "the same with fewer")):
        low, high = 100 * covers["rate"][chosen].min(), 100 * covers["rate"][chosen].max()
        assert f"{low:.1f} to {high:.1f} %" in row(start)
    means = rates("mean's interval")
    assert f"{means.min():.1f} to {means.max():.1f} %" in row("the mean's 95 % interval")
    worst = rates("worst of 100", churn=0.06)
    assert f"{worst.iloc[0]:.1f} %" in row("the worst of 100")
    paired = re.findall(r"^\| (\d+) points?, ([\d,]+), (\d+) % \| (\d+) % \| (\d+) %", text, re.MULTILINE)
    assert len(paired) == 4
    for drop, n, churn, one, other in paired:
        setting = {"drop": int(drop) / 100, "n": int(n.replace(",", "")), "churn": int(churn) / 100}
        for kind, said in (("paired", one), ("unpaired", other)):
            assert round(rates(f"drop found, {kind}", **setting).iloc[0]) == int(said)
    many = re.findall(r"\| (\d+), (\d+), (\d+) %, (\d+) points \| (\d+) % \| (\d+) % \|$", text, re.MULTILINE)
    assert len(many) == 4
    for concepts, n, churn, drop, one, other in many:
        setting = {"concepts": int(concepts), "n": int(n), "churn": int(churn) / 100, "drop": int(drop) / 100}
        for kind, said in (("minP", one), ("Holm", other)):
            assert round(rates(f"planted drop found, {kind}", **setting).iloc[0]) == int(said)


def test_the_sources_of_the_docs_can_be_built(tmp_path):
    _, *texts = blocks(ROOT / "docs" / "batteries.md", "toml")
    path = tmp_path / "battery.toml"
    path.write_text("\n".join(texts))
    assert len(read_battery(str(path)).tasks) == 5 + 4


def test_the_battery_of_the_docs_has_every_key_and_no_problem(folder):
    text, *_ = blocks(ROOT / "docs" / "batteries.md", "toml")
    path = folder / "shown.toml"
    path.write_text(text, encoding="utf-8")
    (entry,) = read_battery(str(path)).entries.values()
    assert set(entry.model_dump(exclude_unset=True)) == set(TaskEntry.model_fields) - {"samples"}
    assert lint(str(path)).problems == ()


def test_the_policy_of_the_docs_is_one(tmp_path):
    (text,) = blocks(ROOT / "docs" / "policy.md", "toml")
    path = tmp_path / "forgetcheck.toml"
    path.write_text(text)
    policy = read_policy(path)
    unset = [name for name, value in policy.model_dump().items() if value is None]
    assert unset == []  # every key is shown
    assert make_report(full_audit(), policy).checks


def test_the_pytest_example_is_a_test_that_fails_here(tmp_path):
    write_audit(tmp_path / "audit", full_audit())
    (tmp_path / "policy.toml").write_text("[policy]\n")
    (text,) = blocks(ROOT / "docs" / "ci.md", "python")
    (tmp_path / "test_example.py").write_text(text)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(tmp_path / "test_example.py"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Forgot: NOT passed" in done.stdout


def test_the_yaml_examples_are_workflows_that_call_what_exists(folder):
    github, gitlab = (yaml.safe_load(text) for text in blocks(ROOT / "docs" / "ci.md", "yaml"))
    *_, step = github["jobs"]["retention"]["steps"]
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert set(step["with"]) <= set(action["inputs"])
    job = gitlab["retention"]
    install, command = (shlex.split(line) for line in job["script"])
    assert install[:2] == ["pip", "install"]
    model = str(find_checkpoint("forgetcheck:tiny").weights.parent)
    words = [sys.executable, "-m", *command, "--model", model]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / job["artifacts"]["reports"]["junit"]).is_file()
    assert all((folder / path).is_file() for path in job["artifacts"]["paths"])
