"""Retrieval and the choice between captions equal CLIP_benchmark's, sample by sample."""

import json
import tarfile

import numpy as np
import pytest
from parity import MODELS, add, ask, repainted, save_models
from sources import encoded, lines

from forgetcheck import catalog
from forgetcheck.auditing.audit import audit
from forgetcheck.batteries.battery import Battery
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.tasks.drawn import Drawn

FAMILIES = ("colour", "shape", "letter", "count", "texture")
KS = (1, 3)


def drawings(per_class):
    """Yield pictures of every class of some families, and two things to say of each."""
    for name in FAMILIES:
        task = Drawn(name)
        split = task.split("test")
        for label, class_name in enumerate(task.class_names):
            for place in np.flatnonzero(split.labels == label)[:per_class]:
                other = task.class_names[label - 1]
                yield (
                    split.image(int(place)),
                    [t.format(class_name) for t in task.templates],
                    [t.format(other) for t in task.templates],
                )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captions")
    save_models(folder)
    lines(folder / "told" / "test" / "nshards.txt", "2")
    lines(folder / "told" / "dataset_type.txt", "retrieval")
    told = list(drawings(1))
    for number, some in enumerate((told[:19], told[19:])):
        with tarfile.open(folder / "told" / "test" / f"{number}.tar", "w") as tar:
            for key, (image, captions, _) in enumerate(some):
                ending, data = repainted(image, key)
                add(tar, f"s{key}.{ending}", data)
                add(tar, f"s{key}.txt", "\n".join(captions[: 1 + key % 2]).encode())
    pairs = {}
    (folder / "crepe" / "val2017").mkdir(parents=True)
    for number, (image, captions, others) in enumerate(drawings(4)):
        name = f"{number:012}.png"
        (folder / "crepe" / "val2017" / name).write_bytes(encoded(image))
        pairs[str(number * 3)] = {"filename": name, "caption": captions[0], "negative_caption": others[0]}
    (folder / "crepe" / "swap_att.json").write_text(json.dumps(pairs))
    return folder


@pytest.fixture(scope="module")
def theirs(folder):
    """What CLIP_benchmark says of each model: metrics and, for every sample, whether it was right."""
    models = ["--model", *(f"local-dir:{name}" for name in MODELS), "--pretrained", "none"]
    plain = [*models, "--no_amp", "--num_workers", "0", "--batch_size", "16"]
    found = {}
    for name, words in {
        "told": ["--dataset", "wds/mscoco_captions", "--dataset_root", "told", "--recall_k", *map(str, KS)],
        "crepe": ["--dataset", "sugar_crepe/swap_att", "--dataset_root", "crepe"],
    }.items():
        kept = ask(folder, ["eval", *words, *plain, "--output", f"{name}-{{model}}.json"])
        said = [
            json.loads((folder / f"{name}-local-dir:{model}.json").read_text())["metrics"] for model in MODELS
        ]
        found[name] = said, {key: kept[key] for key in kept}
    return found


@pytest.fixture(scope="module")
def ours(folder):
    base, tuned = (find_checkpoint(str(folder / name)) for name in MODELS)
    pairs = f"swaps:path={folder / 'crepe' / 'swap_att.json'},root={folder / 'crepe' / 'val2017'}"
    tasks = {
        "told": catalog.build("tasks", f"captions:path={folder / 'told'}"),
        "crepe": catalog.build("tasks", pairs),
    }
    probes = [*(f"retrieval:to={way},k={k}" for way in ("text", "image") for k in KS), "caption-choice"]
    answers = audit(base, [tuned], Battery("parity", tasks), probes, "cpu").answers
    return {item.probe: item for item in answers}


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize(("way", "metric"), [("image", "image_retrieval"), ("text", "text_retrieval")])
def test_retrieval_is_the_same_for_every_sample(theirs, ours, way, metric, k):
    metrics, kept = theirs["told"]
    item = ours[f"retrieval:to={way},k={k}"]
    for number, model in enumerate(MODELS):
        right = getattr(item, model).label == item.labels
        assert right.tolist() == kept[f"{metric}@{k}:{number}"].tolist()
        assert right.mean() == pytest.approx(metrics[number][f"{metric}_recall@{k}"], abs=1e-6)
        assert 0.05 < right.mean() < 0.95  # or equality would show little


def test_the_choice_between_captions_is_the_same(theirs, ours):
    metrics, _ = theirs["crepe"]
    item = ours["caption-choice"]
    for number, model in enumerate(MODELS):
        right = getattr(item, model).label == item.labels
        assert right.mean() == pytest.approx(metrics[number]["text_acc"], abs=1e-6)
    assert 0.5 < np.mean(item.tuned.label == item.labels) < 0.99
