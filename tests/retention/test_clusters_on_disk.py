"""Clusters and chance in an audit folder: back bit for bit, refused where they can't be, and optional."""

import json
from dataclasses import replace

import numpy as np
import pytest
from planted import make_answers
from safetensors.numpy import load_file, save_file

from forgetcheck.errors import InputError
from forgetcheck.retention.answers import ARRAYS, MANIFEST, Audit, read_audit, write_audit
from forgetcheck.retention.compare import compare

GROUPS = np.repeat(np.arange(40, dtype=np.int32), 2)
CHANCE = np.array([0.02, 0.01, 0.03])


@pytest.fixture
def item():
    plain = make_answers({"photo": (50, 5, 1, 4), "drawing": (15, 2, 0, 3)}, probe="retrieval:to=image")
    return replace(plain, groups=GROUPS, chance=CHANCE)


def written(folder, *answers):
    write_audit(folder, Audit(answers, {}))
    return folder


def test_groups_and_chance_come_back_bit_for_bit(tmp_path, item):
    (found,) = read_audit(written(tmp_path / "a", item)).answers
    for name in ("groups", "chance"):
        here, there = getattr(found, name), getattr(item, name)
        assert (here.dtype, here.tolist()) == (there.dtype, there.tolist())
    assert compare([found], 0.95) == compare([item], 0.95)
    assert compare([found], 0.95)[0].clusters == 40


def test_one_without_the_other_and_neither(tmp_path, item):
    some = (replace(item, chance=None), replace(item, groups=None), replace(item, groups=None, chance=None))
    some = tuple(replace(one, task=str(number)) for number, one in enumerate(some))
    found = read_audit(written(tmp_path / "a", *some)).answers
    assert [(one.groups is None, one.chance is None) for one in found] == [
        (False, True), (True, False), (True, True)
    ]  # fmt: skip


def test_an_audit_of_before_there_were_clusters_is_read_as_independent(tmp_path, item):
    folder = written(tmp_path / "a", item)
    manifest = folder / MANIFEST
    record = json.loads(manifest.read_text())
    del record["questions"][0]["groups"], record["questions"][0]["chance"], record["digest"]
    manifest.write_text(json.dumps(record))
    (found,) = read_audit(folder).answers
    assert (found.groups, found.chance) == (None, None)
    rows = compare([found], 0.95)
    assert rows == compare([replace(item, groups=None, chance=None)], 0.95)
    assert all((row.clusters, row.design_effect) == (None, 1.0) for row in rows)


@pytest.mark.parametrize(
    "groups",
    [GROUPS[:-1], np.append(GROUPS, np.int32(3)), GROUPS.astype(np.float32), GROUPS[:, None], GROUPS > 3],
)
def test_groups_that_belong_to_other_samples_are_refused(tmp_path, item, groups):
    with pytest.raises(InputError, match="damaged at shape / retrieval:to=image"):
        read_audit(written(tmp_path / "a", replace(item, groups=groups)))


@pytest.mark.parametrize(
    "chance",
    [CHANCE[:-1], CHANCE[:, None], CHANCE - 1, CHANCE + 1, CHANCE * np.nan, np.array([0, 1, 0])],
)
def test_chances_that_are_none_are_refused(tmp_path, item, chance):
    with pytest.raises(InputError, match="damaged at shape / retrieval:to=image"):
        read_audit(written(tmp_path / "a", replace(item, chance=chance)))


@pytest.mark.parametrize("name", ["groups", "chance"])
def test_an_array_that_is_gone_or_another_is_found_out(tmp_path, item, name):
    folder = written(tmp_path / "a", item)
    key = json.loads((folder / MANIFEST).read_text())["questions"][0][name]
    arrays = load_file(folder / ARRAYS)
    arrays[key][0] += 1
    save_file(arrays, folder / ARRAYS)
    with pytest.raises(InputError, match="is damaged"):
        read_audit(folder)
    del arrays[key]
    save_file(arrays, folder / ARRAYS)
    with pytest.raises(InputError, match="is missing"):
        read_audit(folder)
