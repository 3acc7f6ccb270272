"""From checkpoint to verdict through the command line, on disk and back."""

import json
import os
import signal
import subprocess
import sys
import time

import open_clip
import pandas as pd
import pytest
import sources
import torch
from safetensors.torch import load_file, save_file

from forgetcheck import catalog
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.load import load_encoder

pytestmark = pytest.mark.slow

TINY = "forgetcheck:tiny"
TUNE = [sys.executable, "-m", "forgetcheck", "tune", TINY, "--on", "digits", "--out", "run", "--epochs"]
QUICK = ["--epochs", "1", "--batch-size", "64", "--device", "cpu", "--quiet"]


@pytest.fixture
def tuned(run, tmp_path):
    done = run("tune", TINY, "--on", "digits", "--regularizer", "ldifs:strength=1", "--out", "run", *QUICK)
    assert done.code == 0, done.err
    return tmp_path / "run"


def test_a_run_folder_holds_everything(tuned):
    assert {path.name for path in tuned.iterdir()} == {
        "tune.json",
        "open_clip_model.safetensors",
        "open_clip_config.json",
        "head.safetensors",
        "history.csv",
    }
    facts = json.loads((tuned / "tune.json").read_text())
    assert facts["schema"] == "forgetcheck/tune@1"
    assert facts["complete"] is True
    assert facts["regularizer"] == {
        "spec": "ldifs:strength=1",
        "options": {"strength": 1.0, "distance": "per-token", "slices": 5},
    }
    assert facts["base"]["digest"] == load_encoder(find_checkpoint(TINY), "cpu").digests
    assert facts["schedule"]["epochs"] == 1
    history = pd.read_csv(tuned / "history.csv")
    assert len(history) == 17
    assert {"step", "loss", "penalty", "learning_rate", "validation_accuracy"} <= set(history)
    assert load_file(tuned / "head.safetensors")["weight"].shape == (10, 128)


def test_several_regularizers_are_recorded_each(run, tmp_path):
    several = ["--regularizer", "l2sp", "--regularizer", "ldifs:strength=1"]
    done = run("tune", TINY, "--on", "digits", *several, "--out", "both", *QUICK)
    assert done.code == 0, done.err
    assert "digits with l2sp + ldifs:strength=1: " in done.out
    found = json.loads((tmp_path / "both" / "tune.json").read_text())["regularizer"]
    assert found["spec"] == "l2sp + ldifs:strength=1"
    assert [each["spec"] for each in found["together"]] == ["l2sp", "ldifs:strength=1.0"]
    assert found["together"][1]["options"]["slices"] == 5
    assert find_checkpoint("both").run["regularizer"] == found


def test_open_clip_loads_a_run_folder_by_itself(tuned):
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tuned}")
    ours = load_encoder(find_checkpoint(str(tuned)), "cpu").weights
    assert all(torch.equal(value, ours[name]) for name, value in model.state_dict().items())


def test_a_run_can_be_tuned_again(tuned, run):
    assert run("tune", tuned, "--on", "drawn:family=size", "--out", "second", *QUICK).code == 0


def test_audit_and_report_agree(tuned, run, small_battery):
    audited = run("audit", TINY, tuned, TINY, "--battery", small_battery, "--out", "a")
    assert audited.code == 0, audited.err
    assert "run" in audited.out
    assert "zero-shot" in audited.out
    assert "digits" in audited.out  # what was gained on the target
    again = run("report", "a")
    assert again.out == audited.out
    record = json.loads(run("report", "a", "--as", "json").out)
    assert record["schema"] == "forgetcheck/report@1"
    assert set(record["summary"]) == {"run", "tiny"}
    own = [f for f in record["findings"] if f["checkpoint"] == "tiny"]
    assert {f["drop"] for f in own} == {0.0}
    assert {f["verdict"] for f in own} == {"retained"}
    target = next(f for f in record["findings"] if f["probe"] == "head" and f["concept"] is None)
    assert (target["task"], target["n"]) == ("digits", 596)


def test_self_audit_passes_a_policy_and_a_scrambled_tower_fails_it(run, tmp_path, small_battery):
    (tmp_path / "p.toml").write_text("[policy]\nmax_drop = 0.0\nallow_identical = true\n")
    weights = {k: v.detach().clone() for k, v in load_encoder(find_checkpoint(TINY), "cpu").weights.items()}
    for name in weights:
        if name.startswith("visual.") and weights[name].ndim > 1:
            weights[name] = weights[name].flip(0)
    torch.save(weights, tmp_path / "scrambled.pt")
    options = ["--battery", small_battery, "--policy", "p.toml"]
    assert run("audit", TINY, TINY, "--out", "self", *options).code == 0
    failed = run("audit", TINY, "scrambled.pt", "--out", "bad", *options)
    assert failed.code == 1
    assert "forgot" in failed.out
    assert "policy p.toml failed" in failed.err
    assert run("report", "bad", "--policy", "p.toml").code == 1
    assert run("report", "bad").code == 0  # no policy, no gate


def test_documents_go_to_stdout_or_whole_into_a_file(tuned, run, small_battery, tmp_path):
    run("audit", TINY, tuned, "--battery", small_battery, "--out", "a", "--quiet")
    shown = run("report", "a", "--as", "markdown").out
    assert shown.startswith("## forgetcheck")
    written = run("report", "a", "--as", "markdown", "--out", "r.md").out
    assert written.count("\n") == 1  # the verdict, and no document
    assert (tmp_path / "r.md").read_text() == shown
    assert run("report", "a", "--as", "csv").out.startswith("level,checkpoint,task,concept")


def test_outputs_are_never_replaced_by_accident(tuned, run):
    before = (tuned / "tune.json").read_bytes()
    run("tune", TINY, "--on", "digits", "--out", tuned, *QUICK).refusal("already exists", "--overwrite")
    assert (tuned / "tune.json").read_bytes() == before
    assert run("tune", TINY, "--on", "digits", "--out", tuned, "--overwrite", *QUICK).code == 0
    assert (tuned / "tune.json").read_bytes() != before


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_nothing_behind(tmp_path, interruptible, sent, code):
    command = [*TUNE, "500"]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, env={**os.environ, "FORGETCHECK_QUIET_SECONDS": "0"}
    ) as child:
        child.stderr.readline()  # the first line of progress: training has begun
        time.sleep(0.2)
        child.send_signal(sent)
        child.stderr.read()
        assert child.wait(timeout=60) == code
    assert list(tmp_path.iterdir()) == []


def test_test_images_that_a_run_was_tuned_on_are_told(run, tmp_path):
    sources.folder(tmp_path / "own", {"train": 10, "test": 2}, ("red fox", "blue_jay"))
    sources.folder(tmp_path / "other", {"": 4}, ("red fox", "blue_jay"))  # the first images of train
    (tmp_path / "b.toml").write_text(
        "".join(f'[[task]]\nname = "{n}"\nsource = "folder:path={n}"\n' for n in ("own", "other"))
    )
    command = ["tune", TINY, "--on", "folder:path=own", "--out", "run", *QUICK]
    assert run(*command).code == 0
    held_out = load_file(tmp_path / "run" / "images.safetensors")["sha256"]
    assert held_out.numel() == 20
    audit = ["audit", TINY, "run", "--battery", "b.toml", "--probe", "zero-shot", "--quiet", "--overwrite"]
    assert run(*audit).code == 0
    questions = json.loads((tmp_path / "audit" / "audit.json").read_text())["questions"]
    told = {each["task"]: [text for text in each["warnings"] if "tuned on" in text] for each in questions}
    assert told["own"] == []
    (leak,) = told["other"]
    assert "test images (100.0 %) are, byte by byte, among those that it was tuned on: '" in leak
    (tmp_path / "run" / "images.safetensors").unlink()  # a run of an earlier version
    assert run(*audit).code == 0
    assert "byte by byte" not in (tmp_path / "audit" / "audit.json").read_text()


def test_a_full_disk_leaves_nothing_behind(tmp_path, process):
    """The real thing: the kernel refuses to write past a file size limit."""
    code = (
        "import resource, signal, sys;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000));"
        f"sys.argv = 'forgetcheck tune {TINY} --on digits --out run --epochs 1 --quiet'.split();"
        "from forgetcheck.cli.main import main; main()"
    )
    done = process(code=code)
    done.refusal("cannot write 'run'", "choose another place")
    assert list(tmp_path.iterdir()) == []


def test_progress_is_a_bar_on_a_terminal(tmp_path):
    """A pseudo-terminal sees a moving bar with loss, penalty, speed and time left."""
    import pty

    leader, follower = pty.openpty()
    command = [*TUNE, "2"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=follower,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "120", "TERM": "xterm"},
    ):
        os.close(follower)
        seen = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part
    os.close(leader)
    text = seen.decode(errors="replace")
    assert all(word in text for word in ("tuning", "loss", "penalty", "img/s", "0:00:0"))


def test_a_bare_safetensors_file_needs_no_model_beside_its_base(run, tmp_path, small_battery):
    weights = load_encoder(find_checkpoint(TINY), "cpu").weights
    save_file({k: v.detach().clone() for k, v in weights.items()}, tmp_path / "w.safetensors")
    done = run("audit", TINY, "w.safetensors", "--battery", small_battery, "--out", "a", "--quiet")
    assert done.code == 0, done.err
    done = run(
        "audit",
        "w.safetensors",
        "w.safetensors",
        "--model",
        TINY,
        "--battery",
        small_battery,
        "--out",
        "b",
        "--quiet",
    )
    assert done.code == 0, done.err


def test_what_a_file_was_tuned_on_is_told_and_counts_as_gain(run, tmp_path, small_battery, weights):
    size = '[[task]]\nname = "size"\nsource = "drawn:family=size"\n'
    small_battery.write_text(small_battery.read_text() + size)
    weights["visual.proj"] = weights["visual.proj"].flip(0)
    save_file(weights, tmp_path / "w.safetensors")
    options = ["--battery", small_battery, "--probe", "zero-shot"]
    done = run("audit", TINY, "w.safetensors", *options, "--target", "shape", "--out", "a")
    assert done.code == 0, done.err
    record = json.loads(run("report", "a", "--as", "json").out)
    assert {f["task"] for f in record["findings"] if f["target"]} == {"shape"}
    assert record["summary"]["w"]["zero-shot"]["worst_task"] == "size"


def test_files_of_one_name_are_told_apart_in_every_document(run, tmp_path, small_battery, weights):
    for folder in ("old", "new", "newer"):
        (tmp_path / folder).mkdir()
        save_file(weights, tmp_path / folder / "model.safetensors")
        weights["visual.proj"] = weights["visual.proj"] + 1e-3
    base, *tuned = (f"{folder}/model.safetensors" for folder in ("old", "new", "newer"))
    documents = [f"{name}=documents/{name}" for name in catalog.names("exporters")]
    cards = ["--as", "model-card:checkpoint=newer/model=card.md"]
    options = [word for document in documents for word in ("--as", document)] + cards
    asked = ["--battery", small_battery, "--probe", "zero-shot", "--model", TINY, "--out", "a"]
    done = run("audit", base, *tuned, *asked, *options)
    assert done.code == 0, done.err
    assert "newer/model" in done.out
    for name in catalog.names("exporters"):
        text = (tmp_path / "documents" / name).read_text()
        assert "new/model" in text, name
        assert "model-1" not in text, name
    assert "newer/model" in (tmp_path / "card.md").read_text()
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"old", "new", "newer", "small.toml", "a", "documents", "card.md"}
