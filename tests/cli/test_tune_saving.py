"""`tune --save-as`: one file beside the run folder, refused before the work, written after the run."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.load import load_encoder

pytestmark = pytest.mark.slow

TINY = "forgetcheck:tiny"
QUICK = ["--on", "digits", "--epochs", "1", "--batch-size", "128", "--device", "cpu", "--quiet"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_files_hold_the_weights_of_the_run_folder(run, tmp_path):
    told = ["--save-as", "pt", "--save-as", "local-dir", "--save-as", "safetensors", "--save-as", "pt"]
    done = run("tune", TINY, "--out", "runs/plain-0.5", *told, *QUICK)
    assert done.code == 0, done.err
    assert names(tmp_path / "runs") == ["plain-0.5", "plain-0.5.pt", "plain-0.5.safetensors"]
    first, *rest = done.out.splitlines()
    assert first.endswith("; wrote runs/plain-0.5")
    assert rest == ["wrote runs/plain-0.5.pt", "wrote runs/plain-0.5.safetensors"]
    wanted = load_file("runs/plain-0.5/open_clip_model.safetensors")
    plain = torch.load("runs/plain-0.5.pt", weights_only=True)
    for found in (plain, load_file("runs/plain-0.5.safetensors")):
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    headers = []
    for path in ("runs/plain-0.5.safetensors", "runs/plain-0.5/open_clip_model.safetensors"):
        with safe_open(path, framework="np") as file:
            headers.append(file.metadata())
    assert headers[0] == headers[1]
    one, other = (find_checkpoint(f"runs/plain-0.5{end}") for end in ("", ".safetensors"))
    assert load_encoder(one, "cpu").digests == load_encoder(other, "cpu").digests


@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_an_existing_file_is_refused_before_the_work(run, tmp_path, kind, monkeypatch):
    (tmp_path / f"r.{kind}").write_text("old")
    with monkeypatch.context() as patched:
        patched.setattr("forgetcheck.tuning.tune.tune", lambda *_: pytest.fail("worked in vain"))
        done = run("tune", TINY, "--out", "r", "--save-as", kind, *QUICK)
    done.refusal(f"'r.{kind}' already exists", "--overwrite")
    assert names(tmp_path) == [f"r.{kind}"]
    done = run("tune", TINY, "--out", "r", "--save-as", kind, "--overwrite", *QUICK)
    assert done.code == 0, done.err
    assert (tmp_path / f"r.{kind}").stat().st_size > 1_000_000


def test_the_base_is_never_replaced(run, tmp_path):
    assert run("convert", TINY, "r.safetensors").code == 0
    before = (tmp_path / "r.safetensors").read_bytes()
    done = run("tune", "r.safetensors", "--out", "r", "--save-as", "safetensors", "--overwrite", *QUICK)
    done.refusal("'r.safetensors' is what is read")
    assert (tmp_path / "r.safetensors").read_bytes() == before


def test_a_format_that_nothing_knows(run, tmp_path):
    done = run("tune", TINY, "--out", "r", "--save-as", "safetensor", *QUICK)
    done.refusal("unknown format 'safetensor'", "did you mean 'safetensors'?")
    assert names(tmp_path) == []


def test_a_file_that_fails_costs_no_run(run, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    done = run("tune", TINY, "--out", "r", "--save-as", "pt", *QUICK)
    done.refusal("cannot write 'r.pt'", "disk is full")
    assert "wrote r\n" in done.out
    assert names(tmp_path) == ["r"]
    assert find_checkpoint("r").run["complete"] is True
