"""What `tune` says: its accuracy with n and interval, classes that are too small, and whose defaults."""

import json
import re
import shutil
from pathlib import Path

import pytest
import sources
from typer.testing import CliRunner

from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.tuning import tune as tuning
from forgetcheck.tuning.schedule import Schedule

pytestmark = pytest.mark.slow

TINY = "forgetcheck:tiny"
METHODS = Path(__file__).parent.parent.parent / "docs" / "methods.md"
QUICK = ["--epochs", "1", "--batch-size", "16", "--device", "cpu", "--regularizer", "cross-entropy"]


@pytest.fixture
def few(tmp_path):
    """Four classes of which one image each is held out, two that are too small, one without train images."""
    root = tmp_path / "photos"
    for name in ("fox", "beetle", "jay", "owl"):
        sources.folder(root, {"train": 10, "test": 2}, (name,))
    for name in ("newt", "toad"):
        sources.folder(root, {"train": 9, "test": 2}, (name,))
    return sources.folder(root, {"test": 2}, ("lynx",))


def test_four_images_are_not_boasted_of(run, few):
    done = run("tune", TINY, "--on", few, "--out", "r", "--quiet", *QUICK)
    assert done.code == 0, done.err
    said = re.search(r": ([\d.]+) % \[([\d.]+), ([\d.]+)\] of 4 held-out train images", done.out)
    accuracy, low, high = map(float, said.groups())
    assert low <= accuracy <= high
    assert high - low > 50
    assert "of 4 held-out train images, and so few say little; wrote r\n" in done.out


def test_enough_images_come_with_their_interval_and_no_warning(run):
    done = run("tune", TINY, "--on", "digits", "--out", "r", "--quiet", *QUICK)
    said = re.sub(r"\d\d\.\d", "#", done.out)
    assert said == "digits with cross-entropy: # % [#, #] of 117 held-out train images; wrote r\n"
    assert "train images" not in done.err


@pytest.mark.parametrize(
    ("accuracy", "count", "words"),
    [
        (1.0, 4, "100.0 % [39.8, 100.0] of 4 held-out train images, and so few say little"),
        (0.0, 1, "0.0 % [0.0, 97.5] of 1 held-out train image, and so few say little"),
        (28 / 29, 29, "96.6 % [82.2, 99.9] of 29 held-out train images, and so few say little"),
        (29 / 30, 30, "96.7 % [82.8, 99.9] of 30 held-out train images"),
        (120 / 125, 125, "96.0 % [90.9, 98.7] of 125 held-out train images"),
    ],
)
def test_the_interval_is_clopper_and_pearsons(accuracy, count, words):
    from forgetcheck.cli.tune import _reached

    assert _reached({"validation_accuracy": accuracy, "samples": {"validation": count}}) == words


def test_thin_classes_are_named_before_the_first_step(run, few, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "steps", stop)
    done = run("tune", TINY, "--on", few, "--out", "r", "--quiet", *QUICK)
    missing, small = done.err.splitlines()[:2]
    assert missing == "1 of 7 classes has no train images to learn from: 'lynx'"
    assert small == (
        "2 of 7 classes have fewer than 10 train images, too few to hold one out for accuracy: 'newt', 'toad'"
    )


def test_the_run_folder_keeps_all_of_them_and_older_ones_still_open(run, few, tmp_path):
    assert run("tune", TINY, "--on", few, "--out", "r", "--quiet", *QUICK).code == 0
    path = tmp_path / "r" / "tune.json"
    facts = json.loads(path.read_text())
    assert facts["samples"] == {
        "train": 54,
        "validation": 4,
        "no_train_images": ["lynx"],
        "too_few_to_hold_out": ["newt", "toad"],
    }
    assert find_checkpoint("r").run["samples"]["no_train_images"] == ["lynx"]
    facts["samples"] = {"train": 54, "validation": 4}
    path.write_text(json.dumps(facts))
    assert run("inspect", TINY, "r").code == 0
    assert find_checkpoint("r").run["validation_accuracy"] == facts["validation_accuracy"]


def test_what_tune_refuses_is_refused_before_a_warning(run, tmp_path):
    spec = sources.folder(tmp_path / "photos", {"train": 1, "test": 1}, ("fox", "owl", "newt", "toad"))
    done = run("tune", TINY, "--on", spec, "--out", "r", *QUICK)
    done.refusal("has 4 train images: too few to hold out")
    assert done.err.count("\n") == 1


def section():
    text = METHODS.read_text(encoding="utf-8")
    return text.split("## Where our defaults differ from the paper's protocol\n")[1].split("\n## ")[0]


def test_the_help_says_what_is_the_papers_and_where_the_rest_is():
    from forgetcheck.cli.main import program

    app = program(["tune"])
    shown = " ".join(CliRunner().invoke(app, ["tune", "--help"], env={"COLUMNS": "200"}).output.split())
    for text in (shown, " ".join(Schedule.__doc__.split())):
        assert "docs/methods.md lists where the rest differs" in text
        assert "2308.13320" in text
        assert "the protocol of arXiv" not in text


def test_every_difference_from_the_papers_protocol_is_listed():
    rows = [line.split("|")[1].strip() for line in section().splitlines() if line.startswith("| ")]
    assert rows[1:] == [
        "head at the start", "head bias", "augmentation of train images", "what is decayed", "warm-up",
        "epochs", "held-out part of train", "LDIFS",
    ]  # fmt: skip
    epochs = "Cars 35, DTD 76, EuroSAT 12, GTSRB 11, RESISC45 15, SUN397 14, others 10"
    assert f"| {epochs} |" in section()


def test_the_defaults_that_are_called_the_papers_are_ours():
    ours, text = Schedule(), section()
    assert f"rate {ours.learning_rate:.0e}".replace("e-0", "e-") in text
    assert f"weight decay {ours.weight_decay}" in text
    assert f"batches of {ours.batch_size}" in text
    assert f"gradient clip {ours.gradient_clip}" in text
    assert f"| {ours.epochs} (`--epochs`) |" in text
    assert f"{ours.warmup_steps} steps, at most a tenth of all" in text


def test_the_arithmetic_of_one_over_t_says_when_it_holds():
    text = " ".join(METHODS.read_text(encoding="utf-8").split())
    assert "about 0.2 per token; both figures are arithmetic that holds for isotropic features only." in text


def test_images_that_are_there_twice_are_told_before_step_1(run, few, tmp_path):
    photos = tmp_path / "photos"
    shutil.copy(photos / "test/fox/image 0.png", photos / "train/fox/again.png")
    shutil.copy(photos / "train/jay/image 1.png", photos / "train/owl/again.png")
    done = run("tune", TINY, "--on", few, "--out", "r", "--quiet", *QUICK)
    assert done.code == 0, done.err
    said = " ".join(done.err.split())
    assert (
        "1 train images have the bytes of another with another label: 'train/jay/image 1.png' (jay) and"
        in said
    )
    assert (
        "1 test images are in train as well, byte by byte: 'test/fox/image 0.png' and 'train/fox/again.png'; "
        "remove one of each"
    ) in said
