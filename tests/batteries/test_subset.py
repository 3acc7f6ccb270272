"""pick(): which samples stand for the others, and whether what that costs is measured honestly."""

import numpy as np
import pytest

from forgetcheck.batteries.battery import Battery, read_battery
from forgetcheck.batteries.check import lint
from forgetcheck.batteries.subset import Selection, errors, herding, k_center, pick
from forgetcheck.clip.features.encoded_task import encode_task
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.errors import InputError
from forgetcheck.tasks.drawn import Drawn

pytestmark = pytest.mark.slow

DICE = np.random.default_rng(3)
CLOUD = DICE.normal(size=(60, 5))


@pytest.mark.parametrize("method", [herding, k_center])
def test_each_is_picked_once_and_none_is_invented(method):
    for count in (1, 7, 60, 99):
        chosen = method(CLOUD, count)
        assert len(set(chosen.tolist())) == len(chosen) == min(count, 60)
    assert method(CLOUD, 7).tolist() == method(CLOUD, 7).tolist()
    assert method(np.ones((5, 2)), 3).tolist() == [0, 1, 2]  # equal ones: in order


def test_herding_keeps_the_mean_better_than_chance():
    mean = CLOUD.mean(axis=0)

    def off(chosen):
        return np.linalg.norm(CLOUD[chosen].mean(axis=0) - mean)

    by_chance = [off(DICE.permutation(60)[:10]) for _ in range(200)]
    assert off(herding(CLOUD, 10)) < min(by_chance)


def test_k_center_leaves_nobody_far_from_a_picked_one():
    def radius(chosen):
        return np.linalg.norm(CLOUD[:, None] - CLOUD[chosen], axis=-1).min(axis=1).max()

    by_chance = [radius(DICE.permutation(60)[:10]) for _ in range(200)]
    assert radius(k_center(CLOUD, 10)) < np.median(by_chance)


@pytest.fixture(scope="module")
def battery(tmp_path_factory):
    path = tmp_path_factory.mktemp("full") / "full.toml"
    path.write_text(
        '[[task]]\nname = "size"\nsource = "drawn:family=size"\nlicence = "ours"\n'
        '[[task]]\nname = "gone"\nsource = "folder:path=nowhere"\n'
        '[[task]]\nname = "told"\nsource = "captions:path=nowhere.csv"\n'
    )
    return read_battery(str(path))


@pytest.fixture(scope="module")
def tiny_checkpoint():
    return find_checkpoint("forgetcheck:tiny")


@pytest.fixture(scope="module")
def picked(battery, tiny_checkpoint):
    return pick(battery, tiny_checkpoint, Selection("herding", {"test": 8}), tiny_checkpoint, "cpu")


def test_every_class_is_asked_equally(picked):
    labels = [row.label for row in picked.picks]
    assert {label: labels.count(label) for label in set(labels)} == dict.fromkeys("0123", 8)
    assert {row.split for row in picked.picks} == {"test"}


def test_the_cost_is_that_of_the_picked_samples(picked, tiny, battery):
    zero_shot, linear = picked.costs
    assert (zero_shot.probe, linear.probe) == ("zero-shot", "linear")
    assert zero_shot.samples == linear.samples == (600, 32)
    split = Drawn("size").split("test")
    places = [split.ids.index(row.id) for row in picked.picks]
    (seen,) = encode_task("size", Drawn("size"), [tiny], ("test",))
    said = (seen.splits["test"].embeddings @ seen.prompts.T).argmax(dim=1).numpy()
    right = (said == split.labels).astype(float)
    assert zero_shot.base == pytest.approx((right.mean(), right[places].mean()))


def test_a_model_against_itself_drops_nothing_on_either(picked):
    assert all(cost.drops == (0.0, 0.0) for cost in picked.costs)
    assert "drop off by 0.0 points on average" in picked.said[0]


def test_what_cannot_be_picked_from_is_told(picked):
    assert any(line.startswith("gone is left out: no folder of images") for line in picked.said)
    assert "told is left out: samples are picked class by class, and it has captions." in picked.said


def test_what_is_written_is_a_battery_that_lints(picked, tmp_path):
    file = tmp_path / "small.toml"
    (tmp_path / "small.samples.csv").write_text(picked.table, encoding="utf-8")
    file.write_text(picked.text(file), encoding="utf-8")
    small = read_battery(str(file))
    assert len(small.tasks["size"].split("test")) == 32
    assert len(small.tasks["size"].split("train")) == 400
    entry = small.entries["size"]
    assert entry.expected.model_dump() == {"classes": 4, "train": 400, "test": 32}
    assert entry.licence == "ours"
    text = file.read_text(encoding="utf-8")
    assert "# Picked from the battery full: 8 test images of each class by herding" in text
    assert "# zero-shot: accuracy " in text
    assert lint(str(file)).problems == ()


def test_train_is_picked_from_only_if_asked(battery, tiny_checkpoint):
    rule = Selection("k-center", {"test": 3, "train": 5})
    found = pick(battery, tiny_checkpoint, rule, None, "cpu")
    again = pick(battery, tiny_checkpoint, rule, None, "cpu")
    assert found.picks == again.picks
    assert [row.split for row in found.picks].count("train") == 20
    assert all(cost.drops is None for cost in found.costs)


def test_nothing_to_pick_from(battery, tiny_checkpoint):
    alone = Battery("b", {"gone": battery.tasks["gone"]}, battery.entries, battery.path)
    with pytest.raises(InputError, match="nothing to pick from: gone is left out"):
        pick(alone, tiny_checkpoint, Selection("herding", {"test": 3}), None, "cpu")


def test_no_cost_no_line():
    assert list(errors([], "zero-shot")) == []
