"""`forgetcheck doctor`: the table, the verdict and the exit code."""

import pytest
import torch
from conftest import RESNET, random_encoder

from forgetcheck.auditing import doctor as examining
from forgetcheck.cli.doctor import SAMPLES

pytestmark = pytest.mark.slow

TINY = "forgetcheck:tiny"
QUICK = ["--samples", "70", "--device", "cpu"]


@pytest.fixture
def doctor(run, small_battery):
    return lambda *arguments: run("doctor", *arguments, "--battery", small_battery, *QUICK)


@pytest.fixture
def sick(monkeypatch):
    """A ResNet that was left in training mode, whatever is asked for."""
    encoder = random_encoder(RESNET | {"image_size": 64})  # 32 would leave one place for its statistics
    encoder.model.train()
    monkeypatch.setattr(examining, "load_encoder", lambda *_: encoder)


def test_a_sound_checkpoint_passes(doctor):
    done = doctor(TINY)
    assert done.code == 0, done.err
    assert "tiny on cpu" in done.out
    for name in ("self-audit", "batch size", "neighbours"):
        assert any(line.startswith(f"{name} ") and " ok " in line for line in done.out.splitlines()), done.out
    for name in ("bfloat16", "float16", "padding"):
        assert any(line.startswith(f"{name} ") and " note " in line for line in done.out.splitlines())
    assert done.out.splitlines()[-1].startswith("passed: 4 of 4 checks; audits of 'tiny' can be trusted")
    assert max(map(len, done.out.splitlines())) <= 80
    assert done.out.isascii()  # nothing that a plain terminal or log would lose


def test_a_checkpoint_that_fails_exits_2_after_the_table(doctor, sick):
    done = doctor(TINY)
    done.refusal("audits of 'tiny' can't be trusted", "2 of 4 checks failed", "batch size (", "neighbours (")
    assert "FAILED" in done.out
    assert "passed" not in done.out


def test_quiet_prints_the_verdict_alone(doctor):
    done = doctor(TINY, "--quiet")
    assert (done.code, done.out.count("\n"), done.err) == (0, 1, "")


def test_quiet_still_fails(doctor, sick):
    done = doctor(TINY, "--quiet")
    done.refusal("2 of 4 checks failed")
    assert done.out == ""


def test_the_head_of_a_run_folder_is_not_taken_for_a_difference(doctor, run):
    options = ["--epochs", "1", "--batch-size", "64", "--device", "cpu", "--quiet"]
    assert run("tune", TINY, "--on", "digits", "--out", "run", *options).code == 0
    done = doctor("run")
    assert done.code == 0, done.err
    assert "2 questions: 0 of 1,200 answers differ" in " ".join(done.out.split())


def test_a_bare_weights_file_needs_model(doctor, tiny, tmp_path):
    torch.save(tiny.weights, tmp_path / "w.pt")
    done = doctor("w.pt", "--model", TINY)
    assert done.code == 0, done.err
    assert "audits of 'w' can be trusted" in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], ["no checkpoint at 'nowhere'"]),
        ([TINY, "--battery", "drwn"], ["did you mean 'drawn'?"]),
        ([TINY, "--samples", "1"], ["'--samples'", "equal to 2"]),
        ([TINY, "--device", "abacus"], ["device 'abacus' is not available"]),
        ([], ["Missing argument 'CHECKPOINT'"]),
    ],
)
def test_refusals(run, arguments, words):
    run("doctor", *arguments).refusal(*words)


def test_the_default_is_that_of_the_library():
    assert SAMPLES == examining.SAMPLES
