"""Which training images are left out, and what other ones would choose."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from forgetcheck.clip.features.encoded_task import EncodedSplit, EncodedTask
from forgetcheck.probes.knn import Knn
from forgetcheck.probes.resampling import CHOICES, PARTS, ROUNDS, choices, rounds_left_out


def model(labels, groups=None, kept=None, embeddings=None):
    """Make a task of which only labels and clusters are known."""
    labels = np.asarray(labels)
    split = SimpleNamespace(groups=None if groups is None else np.asarray(groups))
    names = tuple(f"class {k}" for k in range(labels.max() + 1))
    task = SimpleNamespace(class_names=names, split=lambda _: split)
    rows = torch.zeros(len(labels), 2) if embeddings is None else embeddings
    train = EncodedSplit(rows, torch.from_numpy(labels), kept)
    return EncodedTask(task, None, {"train": train, "test": train})


def test_every_image_is_left_out_once_a_round_and_classes_keep_their_share():
    labels = np.repeat([0, 1, 2], [50, 23, 7])
    rounds = rounds_left_out(model(labels))
    assert len(rounds) == ROUNDS
    for marked in rounds:
        assert marked.shape == (PARTS, 80)
        assert (marked.sum(axis=0) == 1).all()
        for part in marked:
            assert np.bincount(labels[part], minlength=3) == pytest.approx([10, 4.6, 1.4], abs=1)
            assert set(labels[~part]) == {0, 1, 2}
    assert not np.array_equal(rounds[0], rounds[1])
    again = rounds_left_out(model(labels))
    assert all(np.array_equal(one, other) for one, other in zip(rounds, again, strict=True))


def test_the_only_image_of_a_class_stays():
    labels = [0] * 10 + [1]
    assert all(not marked[:, 10].any() for marked in rounds_left_out(model(labels)))
    assert rounds_left_out(model([0, 1, 2])) is None


@pytest.mark.parametrize("kept", [None, np.arange(0, 60, 2)])
def test_images_of_one_patient_go_together(kept):
    groups = np.repeat(np.arange(15), 4)
    labels = np.tile([0, 1], 30)
    labels = labels if kept is None else labels[kept] * 0 + np.arange(len(kept)) % 2
    own = groups if kept is None else groups[kept]
    for marked in rounds_left_out(model(labels, groups, kept)):
        for part in marked:
            assert not set(own[part]) & set(own[~part])
            assert set(labels[~part]) == {0, 1}


def test_the_only_patient_of_a_class_stays():
    groups = np.array([0] * 6 + [1] * 6 + [2] * 6 + [3] * 6)
    labels = np.array([0] * 18 + [1] * 6)
    for marked in rounds_left_out(model(labels, groups)):
        assert not marked[:, labels == 1].any()
        assert all(set(labels[~part]) == {0, 1} for part in marked)


def test_other_images_choose_what_is_nearly_as_good():
    labels = np.zeros(100, dtype=np.int64)
    right = np.zeros((3, 100), dtype=bool)
    right[0, :60], right[1, 40:], right[2, :20] = True, True, True  # two as good, and a poor one
    found = choices(model(labels), right)
    assert found.shape == (CHOICES,)
    assert set(found) == {0, 1}
    assert 20 < (found == 0).sum() < 80
    clear = np.stack([np.ones(100, dtype=bool), np.zeros(100, dtype=bool)])
    assert set(choices(model(labels), clear)) == {0}
    few = choices(model(labels, np.repeat([0, 1, 2, 3], 25)), right)  # four patients are four draws
    assert set(few) <= {0, 1}


def test_neighbours_are_asked_without_each_part():
    """Against a plain vote among what is left."""
    rng = np.random.default_rng(0)
    rows = torch.nn.functional.normalize(
        torch.from_numpy(rng.normal(size=(120, 6)).astype(np.float32)), dim=1
    )
    labels = (rows[:, 0] > 0).long().numpy() + (rows[:, 1] > 0).long().numpy()
    task = model(labels, embeddings=rows)
    found = Knn(k=5).answer(task, task).variants
    for part, right in zip(np.concatenate(rounds_left_out(task)), found.right(120), strict=True):
        left = torch.from_numpy(~part)
        cosines = (rows @ rows[left].T).double()
        near, who = cosines.topk(5, dim=1)
        votes = torch.zeros(120, 3, dtype=torch.float64)
        votes.scatter_add_(1, torch.from_numpy(labels)[left][who], ((near - near[:, :1]) / 0.07).exp())
        assert np.array_equal(right, votes.argmax(dim=1).numpy() == labels)
    assert Knn(k=100).answer(task, task).variants is None  # fewer than k are left without a part
