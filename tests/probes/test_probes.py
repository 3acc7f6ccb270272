"""The contract of every probe, found by itself, and what each one says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from captioned import Told
from sklearn.neighbors import KNeighborsClassifier

from forgetcheck import catalog
from forgetcheck.clip.features.encoded_task import EncodedSplit, EncodedTask, encode_task
from forgetcheck.clip.model.heads import Classifier
from forgetcheck.errors import InputError
from forgetcheck.probes.base import said
from forgetcheck.probes.head import Head
from forgetcheck.probes.knn import TEMPERATURE, Knn, vote
from forgetcheck.probes.linear import Linear
from forgetcheck.probes.zero_shot import ZeroShot
from forgetcheck.tasks.drawn import Drawn


@pytest.fixture(scope="session")
def seen(tiny) -> EncodedTask:
    (found,) = encode_task("size", Drawn("size"), [tiny], ("train", "test"))
    return found


@pytest.fixture(scope="session")
def every_label(tiny, seen) -> list[EncodedTask]:
    """One task for each kind of label."""
    told = [encode_task(label, Told(label), [tiny], ("test",))[0] for label in ("caption", "swap")]
    return [seen, *told]


@pytest.mark.parametrize("name", catalog.names("probes"))
def test_a_probe_answers_every_sample_the_same_way_twice(name, every_label):
    probe = catalog.build("probes", name)
    (seen,) = (task for task in every_label if probe.asks(task.task))
    question, first, again = probe.question(seen), probe.answer(seen, seen), probe.answer(seen, seen)
    assert first.label.shape == first.confidence.shape == question.labels.shape == question.places.shape
    assert question.places.max() < len(seen.splits["test"].labels)
    assert not question.samples or len(question.samples) == len(question.labels)
    assert question.chance is None or question.chance.shape == (1 + len(question.class_names),)
    assert first.label.dtype == question.labels.dtype == np.int32
    assert first.label.max() < len(question.class_names)
    assert first.confidence.min() > 0
    assert first.confidence.max() <= 1
    assert np.array_equal(first.label, again.label)
    assert np.array_equal(first.confidence, again.confidence)


def test_zero_shot_is_the_nearest_prompt_with_the_models_own_scale(seen, tiny):
    said = ZeroShot().answer(seen, seen)
    cosines = seen.splits["test"].embeddings @ seen.prompts.T
    assert np.array_equal(said.label, cosines.argmax(1).numpy())
    expected = (tiny.scale * cosines).softmax(1).max(1).values
    assert said.confidence == pytest.approx(expected.numpy(), abs=1e-5)


def test_a_head_is_used_where_there_is_one(seen):
    tuned = replace(seen, head=Classifier(torch.randn(4, 128, generator=torch.Generator().manual_seed(0))))
    assert Head().applies(tuned, seen)
    assert not Head().applies(seen, seen)
    zero_shot = ZeroShot().answer(seen, seen)
    assert np.array_equal(Head().answer(seen, seen).label, zero_shot.label)
    assert not np.array_equal(Head().answer(tuned, seen).label, zero_shot.label)


def test_the_linear_probe_never_looks_at_test_labels(seen):
    test = seen.splits["test"]
    shuffled = replace(seen, splits={**seen.splits, "test": replace(test, labels=test.labels.flip(0))})
    assert np.array_equal(Linear().answer(seen, seen).label, Linear().answer(shuffled, seen).label)


def test_the_linear_probe_prefers_the_stronger_of_equals():
    """Two far clusters: every strength is perfect, so the strongest must win."""
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]] * 20)
    part = EncodedSplit(rows, torch.tensor([0, 1] * 20))
    task = EncodedTask(Drawn("binding"), None, {"train": part, "test": part})
    said = Linear().answer(task, task)
    assert said.notes["strength"] == 1e-1
    assert np.array_equal(said.label, [0, 1] * 20)


def test_a_class_that_train_lacks_is_refused(seen):
    train = seen.splits["train"]
    few = EncodedSplit(train.embeddings[train.labels != 2], train.labels[train.labels != 2])
    with pytest.raises(InputError, match="class 'large'"):
        Linear().answer(replace(seen, splits={**seen.splits, "train": few}), seen)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_do_not_elect_the_first_class(value):
    with pytest.raises(InputError, match="NaN or Inf"):
        said(torch.tensor([[0.0, 1.0], [value, 0.0]]))


@pytest.mark.parametrize("k", [1, 5, 20])
def test_neighbours_vote_as_in_scikit_learn(seen, k):
    train, test = seen.splits["train"], seen.splits["test"]
    oracle = KNeighborsClassifier(k, metric="cosine", weights=lambda d: np.exp((1 - d) / TEMPERATURE))
    oracle.fit(train.embeddings.double().numpy(), train.labels.numpy())
    found = Knn(k=k).answer(seen, seen)
    shares = oracle.predict_proba(test.embeddings.double().numpy())
    assert found.confidence == pytest.approx(shares.max(axis=1), abs=1e-4)
    clear = np.sort(shares, axis=1)[:, -1] - np.sort(shares, axis=1)[:, -2] > 1e-6
    assert np.array_equal(found.label[clear], oracle.predict(test.embeddings.double().numpy())[clear])


def test_far_neighbours_do_not_underflow_and_of_equal_votes_the_first_class_wins():
    shares = vote(torch.tensor([[-1.0, -1.0, -0.999]]), torch.tensor([2, 1, 0]), 3, 2).tolist()
    assert sum(shares[0]) == pytest.approx(1)
    assert shares[0][0] > 0.5
    tied = vote(torch.tensor([[0.5, 0.5]]), torch.tensor([1, 0]), 2, 2)
    assert said(tied.log()).label.tolist() == [0]


def test_more_neighbours_than_images_are_refused(seen):
    with pytest.raises(InputError, match="fewer than k=10000"):
        Knn(k=10_000).answer(seen, seen)
