"""Zero-shot equals CLIP_benchmark's, sample by sample, on the same tars and open_clip checkpoints."""

import json
import re
import shlex
import tarfile
from pathlib import Path

import numpy as np
import pytest
from parity import MODELS, add, ask, repainted, save_models
from sources import lines

from forgetcheck.auditing.audit import audit
from forgetcheck.batteries.battery import Battery
from forgetcheck.clip.features.encoded_task import encode_task
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.retention.compare import compare
from forgetcheck.tasks.drawn import sketch
from forgetcheck.tasks.webdataset import Webdataset

DOCS = Path(__file__).parent.parent / "docs" / "batteries.md"
# letters, some under names that are hard to spell; nothing shows the last one
NAMES = (*"ABCDEFGHIJKLMNOPQRSTUV", "W &amp; no other", "E\u0301 or  X", "{Y}", "Z")
TEMPLATES = (
    "the letter {c}",
    "a picture of the letter {c}",
    "50 %  off:\tthe “letter” {c}, n'est-ce pas &amp; isn't it?  ",
    "a caption in which so much is said of all that is drawn that its end is cut: the letter {c}",
)
PER_TAR = 37


def write_tars(root):
    """Write the test part of a data set: two to twelve pictures of every letter but the last, mixed."""
    lines(root / "classnames.txt", *NAMES)
    lines(root / "zeroshot_classification_templates.txt", *TEMPLATES)
    shown = [(i % 26, i) for i in range(26 * 12) if i % 26 < 25 and i // 26 < 2 + i % 26 % 11]
    mixed = np.random.default_rng(0).permutation(len(shown))
    starts = range(0, len(shown), PER_TAR)
    lines(root / "test" / "nshards.txt", str(len(starts)))
    for number, start in enumerate(starts):
        with tarfile.open(root / "test" / f"{number}.tar", "w") as tar:
            for key in range(start, min(start + PER_TAR, len(shown))):
                label, index = shown[mixed[key]]
                ending, data = repainted(sketch("letter", "test", index).image, key)
                # not in the order of their names: tars are read as they lie
                add(tar, f"s{key * 7919 % 1000:03}.{ending}", data)
                add(tar, f"s{key * 7919 % 1000:03}.cls", str(label).encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the command of the docs is given: `photos` in tars, and two checkpoints as open_clip's folders."""
    folder = tmp_path_factory.mktemp("parity")
    save_models(folder)
    write_tars(folder / "photos")
    return folder


@pytest.fixture(scope="module")
def theirs(folder):
    """What CLIP_benchmark says of each model: its metrics, logits and labels."""
    text = DOCS.read_text(encoding="utf-8").replace("\\\n", " ")
    (said,) = re.findall(r"^\S+/clip_benchmark (eval .*)$", text, re.MULTILINE)
    kept = ask(folder, shlex.split(said))
    assert len(kept) == 2 * len(MODELS)
    return {
        name: (
            json.loads((folder / f"local-dir:{name}.json").read_text())["metrics"],
            kept[f"logits{number}"],
            kept[f"labels{number}"],
        )
        for number, name in enumerate(MODELS)
    }


@pytest.fixture(scope="module")
def both(folder):
    """The answers of forgetcheck's audit of the same: the first class, and the first five."""
    base, tuned = (find_checkpoint(str(folder / name)) for name in MODELS)
    battery = Battery("parity", {"photos": Webdataset(str(folder / "photos"))})
    return audit(base, [tuned], battery, ("zero-shot", "zero-shot:top=5"), "cpu").answers


@pytest.fixture(scope="module")
def ours(both):
    return both[0]


@pytest.fixture(scope="module")
def cosines(folder):
    """Of every sample with every class (n, c), by model, as forgetcheck sees them."""
    encoders = [load_encoder(find_checkpoint(str(folder / name)), "cpu") for name in MODELS]
    seen = encode_task("photos", Webdataset(str(folder / "photos")), encoders, ("test",))
    return {
        name: (each.splits["test"].embeddings @ each.prompts.T).numpy()
        for name, each in zip(MODELS, seen, strict=True)
    }


@pytest.mark.parametrize("model", MODELS)
def test_every_sample_gets_the_same_class(theirs, ours, model):
    _, logits, labels = theirs[model]
    assert ours.labels.tolist() == labels.tolist()
    assert getattr(ours, model).label.tolist() == logits.argmax(axis=1).tolist()


@pytest.mark.parametrize("model", MODELS)
def test_every_cosine_is_the_same_but_for_rounding(theirs, cosines, model):
    _, logits, _ = theirs[model]
    np.testing.assert_allclose(cosines[model], logits / 100, rtol=0, atol=2e-6)  # 100: its logit scale


@pytest.mark.parametrize("model", MODELS)
def test_the_metrics_are_the_same(theirs, both, model):
    metrics, _, _ = theirs[model]
    (whole, *concepts), (five, *_) = (compare([answers], 0.95) for answers in both)
    found = {
        "acc1": getattr(whole, model),
        "acc5": getattr(five, model),
        "mean_per_class_recall": np.mean([getattr(row, model) for row in concepts]),
    }
    assert found == pytest.approx(metrics, rel=0, abs=1e-12)
    # equal numbers show something only where they could have been others
    assert all(0.1 < value < 0.99 for value in metrics.values())
    assert len(set(metrics.values())) == 3
    assert len(concepts) == len(NAMES) - 1


def test_the_drop_is_the_same(theirs, ours):
    metrics = {name: theirs[name][0] for name in MODELS}
    drop = compare([ours], 0.95)[0].drop
    assert drop == pytest.approx(metrics["base"]["acc1"] - metrics["tuned"]["acc1"], rel=0, abs=1e-12)
    assert drop > 0.05
