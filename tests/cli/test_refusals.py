"""Bad input: one line with the way out, exit 2, nothing half-written."""

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file

from forgetcheck import catalog
from forgetcheck.errors import InputError

TINY = "forgetcheck:tiny"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tune", "nowhere.pt", "--on", "digits", "--out", "r"], ["no checkpoint at 'nowhere.pt'"]),
        (["tune", TINY, "--on", "digit", "--out", "r"], ["unknown task 'digit'", "did you mean 'digits'?"]),
        (["tune", TINY, "--on", "drawn:family=shap", "--out", "r"], ["did you mean 'shape'?"]),
        (["tune", TINY, "--on", "digits", "--regularizer", "ldfs", "--out", "r"], ["did you mean 'ldifs'?"]),
        (
            ["tune", TINY, "--on", "digits", "--regularizer", "ldifs:strenght=1", "--out", "r"],
            ["unknown option of ldifs 'strenght'", "did you mean 'strength'?"],
        ),
        (
            ["tune", TINY, "--on", "digits", "--regularizer", "ldifs:strength=big", "--out", "r"],
            ["ldifs:strength=big", "number"],
        ),
        (
            ["tune", TINY, "--on", "digits", "--regularizer", "ldifs:distance=far", "--out", "r"],
            ["per-token", "as-published"],
        ),
        (["tune", TINY, "--on", "digits", "--epochs", "0", "--out", "r"], ["epochs is 0"]),
        (["tune", TINY, "--on", "digits", "--device", "cuda:9", "--out", "r"], ["--device cpu"]),
        (["tune", TINY, "--on", "digits", "--regularizer", "ldifs:slices=0", "--out", "r"], ["slices=0"]),
        (
            ["tune", TINY, "--on", "digits", "--regularizer", "ldifs:slices=1000000000", "--out", "r"],
            ["slices"],
        ),
        (
            ["tune", TINY, "--on", "digits", "--regularizer", "l2sp:strength=-1", "--out", "r"],
            ["strength=-1"],
        ),
        (["tune", TINY, "--on", "digits", "--out", "/proc/r"], ["cannot write '/proc/r'"]),
        (["audit", TINY, TINY, "--out", "/dev/null/r"], ["cannot write '/dev/null/r'"]),
        (["audit", TINY, "nowhere", "--out", "r"], ["no checkpoint at 'nowhere'"]),
        (["audit", TINY, TINY, "--battery", "drwn", "--out", "r"], ["did you mean 'drawn'?"]),
        (["audit", TINY, TINY, "--battery", "none.toml", "--out", "r"], ["no battery file"]),
        (["audit", TINY, TINY, "--probe", "liner", "--out", "r"], ["did you mean 'linear'?"]),
        (["audit", TINY, TINY, "--policy", "none.toml", "--out", "r"], ["no policy file"]),
        (
            ["audit", TINY, "nowhere", "--as", "html=/etc/passwd/r.html"],
            ["cannot write '/etc/passwd/r.html'"],
        ),
        (["audit", TINY, "nowhere", "--as", "html=/proc/r.html"], ["is the system's"]),
        (["report", "nowhere"], ["no audit at 'nowhere'", "forgetcheck audit"]),
        (["report", "a", "--out", "r.md"], ["needs an --as"]),
        (["list", "regularizer"], ["did you mean 'regularizers'?"]),
    ],
)
def test_words_that_name_nothing(run, tmp_path, arguments, words):
    run(*arguments).refusal(*words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["tune"], ["audit", TINY], ["nonsense"], ["report", "a", "--nonsense"]]
)
def test_usage_errors_exit_2(run, arguments):
    assert run(*arguments).code == 2


def test_an_empty_battery(run, tmp_path):
    (tmp_path / "empty.toml").touch()
    run("audit", TINY, TINY, "--battery", "empty.toml", "--out", "a").refusal("no tasks", "[[task]]")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("kind", ["truncated", "nan", "inf", "other", "renamed", "pickle", "empty"])
def test_weights_that_cannot_be_judged(run, tmp_path, weights, small_battery, kind):
    path = tmp_path / "bad.safetensors"
    words = {
        "truncated": ["truncated or damaged"],
        "nan": ["NaN or Inf", "'visual.proj'"],
        "inf": ["NaN or Inf", "'visual.proj'"],
        "other": ["the nearest is 'tiny', but 'visual.proj' is (3, 3), not (128, 128)", "--model"],
        "renamed": ["the nearest is 'tiny'", "'visual.proj' is missing", "'visual.projection' is unknown"],
        "pickle": ["is no CLIP (it has no image tower, but 'weight', 'bias')"],
        "empty": ["0 bytes"],
    }[kind]
    if kind in ("nan", "inf"):
        weights["visual.proj"][0, 0] = float(kind)
    if kind == "other":
        weights["visual.proj"] = torch.ones(3, 3)
    if kind == "renamed":
        weights["visual.projection"] = weights.pop("visual.proj")
    save_file(weights, path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:1_000_000])
    if kind == "empty":
        path.write_bytes(b"")
    if kind == "pickle":
        torch.save(torch.nn.Linear(1, 1), path)
    run("audit", TINY, path, "--battery", small_battery, "--out", "a").refusal("bad.safetensors", *words)
    assert not (tmp_path / "a").exists()


def test_a_pickle_is_never_executed(run, tmp_path, small_battery):
    class Canary:
        def __reduce__(self):
            return (open, (str(tmp_path / "canary"), "w"))

    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"a": Canary()}))
    run("audit", TINY, "evil.pt", "--battery", small_battery, "--out", "a").refusal("evil.pt")
    assert not (tmp_path / "canary").exists()


def test_an_architecture_that_does_not_fit(run, tmp_path, weights, vit, small_battery):
    save_file(weights, tmp_path / "w.safetensors")
    own = {name: value.detach().clone() for name, value in vit.weights.items()}
    save_file(own, tmp_path / "vit.safetensors")
    options = ["--battery", small_battery, "--out", "a"]
    run("audit", "vit.safetensors", "vit.safetensors", *options).refusal("no architecture of", "--model NAME")
    run("audit", TINY, "vit.safetensors", *options).refusal("nearest is 'tiny'", "vit.safetensors")
    refused = run("audit", TINY, "w.safetensors", "--model", "RN50", *options)
    refused.refusal("is no RN50", "is (16, 128), not (77, 512)", "pass --model forgetcheck:tiny")


def test_audits_that_are_incomplete_or_of_another_schema(run, tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    run("report", "a").refusal("not a complete audit")
    (folder / "audit.json").write_text(json.dumps({"schema": "forgetcheck/audit@9"}))
    run("report", "a").refusal("forgetcheck/audit@9", "forgetcheck/audit@1")
    (folder / "audit.json").write_text(json.dumps({"schema": "forgetcheck/audit@1", "complete": True}))
    run("report", "a").refusal("answers.safetensors")


def test_a_policy_with_mistakes_names_all_of_them(run, tmp_path):
    (tmp_path / "p.toml").write_text("[policy]\nmax_dorp = 0.1\nconfidence = 2.0\n")
    run("audit", TINY, TINY, "--policy", "p.toml", "--out", "a").refusal(
        "max_dorp", "did you mean 'max_drop'", "confidence"
    )


def test_a_hostile_name_cannot_repaint_the_terminal(run):
    done = run("report", "\x1b[31mred\nforgetcheck: fake")
    assert "\x1b" not in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], ["No such command 'fly'", "forgetcheck --help"]),
        (["audit", TINY], ["Missing argument 'TUNED'", "forgetcheck audit --help"]),
        (["audit", TINY, TINY, "--nope"], ["No such option: --nope"]),
        (["tune", TINY, "--on", "digits", "--out", "r", "--epochs", "x"], ["--epochs"]),
        (["report", "a\0"], ["null byte"]),
        (["report", "x" * 5000], ["File name too long"]),
        (["audit", "x" * 5000, TINY, "--out", "r"], ["File name too long"]),
        (["audit", TINY, TINY, "--policy", "x" * 5000, "--out", "r"], ["File name too long"]),
    ],
)
def test_usage_and_names_beyond_the_system_take_one_line(run, tmp_path, arguments, words):
    done = run(*arguments)
    done.refusal(*words)
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "option", ["json:indent=-5", "json:indent=1000000000", "csv:decimals=99", "markdown:top=-1"]
)
def test_documents_with_odd_options(option):
    with pytest.raises(InputError, match="input should be"):
        catalog.build("exporters", option)
