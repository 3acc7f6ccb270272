"""Retrieval ranks as a plain loop does, both ways, and says what guessing would give."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captioned import Told

from forgetcheck.clip.features.encoded_task import encode_task
from forgetcheck.errors import InputError
from forgetcheck.probes.retrieval import Retrieval, Side, by_chance, find


@pytest.fixture(scope="module")
def seen(tiny):
    (found,) = encode_task("told", Told(per_class=3), [tiny], ("test",))
    return found


def sides(seen):
    test, captions = seen.splits["test"], seen.splits["test"].captions
    return test.embeddings, captions.of(captions.said.texts), captions.said.places.tolist()


@pytest.mark.parametrize("k", [1, 2])
def test_it_is_what_a_loop_says_both_ways(seen, k):
    images, texts, places = sides(seen)
    cosines = (images @ texts.T).numpy()
    to_text, to_image = [], []
    for i, row in enumerate(cosines):
        order = sorted(range(len(places)), key=lambda j: (-row[j], j))
        to_text.append(any(places[j] == i for j in order[:k]))
    for j, column in enumerate((texts @ images.T).numpy()):
        order = sorted(range(len(images)), key=lambda i: (-column[i], i))
        to_image.append(places[j] in order[:k])
    missed = len(seen.task.class_names)
    assert ((Retrieval("text", k).answer(seen, seen).label != missed) == to_text).all()
    assert ((Retrieval("image", k).answer(seen, seen).label != missed) == to_image).all()
    assert 0 < np.mean(to_text) < 1
    assert 0 < np.mean(to_image) < 1


def test_what_is_found_is_said_by_its_kind(seen):
    for way in ("text", "image"):
        probe = Retrieval(way, 2)
        question, said = probe.question(seen), probe.answer(seen, seen)
        found = said.label != len(seen.task.class_names)
        assert (said.label[found] == question.labels[found]).all()
        assert question.class_names == ("plain", "other", "(not found)")


def test_more_is_found_the_more_is_looked_at(seen):
    shares = [np.mean(Retrieval("image", k).answer(seen, seen).label < 2) for k in (1, 3, 9, 20)]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


def test_sure_is_the_probability_of_the_first_k_together(seen, tiny):
    images, texts, _ = sides(seen)
    expected = (
        (tiny.scale * images @ texts.T).double().softmax(1).sort(1, descending=True).values[:, :3].sum(1)
    )
    said = Retrieval("text", 3).answer(seen, seen)
    assert said.confidence == pytest.approx(expected.numpy(), abs=1e-5)


@pytest.mark.parametrize(
    ("own", "candidates", "k"), [(1, 10, 1), (5, 50, 1), (5, 50, 10), (3, 7, 5), (2, 9, 8)]
)
def test_chance_is_that_of_drawing(own, candidates, k):
    dice = np.random.default_rng(0)
    drawn = dice.random((20_000, candidates)).argsort(axis=1)[:, :k]
    hits = (drawn < own).any(axis=1).mean()
    assert by_chance(np.array([own]), candidates, k)[0] == pytest.approx(hits, abs=0.015)


def test_a_model_that_sees_nothing_is_right_as_often_as_chance(seen, tiny):
    dice = torch.Generator().manual_seed(0)
    for way, samples in (("text", 30), ("image", 60)):
        question = Retrieval(way, 5).question(seen)
        assert len(question.labels) == samples
        images = F.normalize(torch.randn(2000, 30, 8, generator=dice), dim=-1)
        texts = F.normalize(torch.randn(2000, 60, 8, generator=dice), dim=-1)
        places = torch.from_numpy(seen.splits["test"].captions.said.places)
        found = []
        for image, text in zip(images[:300], texts[:300], strict=True):
            pair = Side(image, torch.arange(30)), Side(text, places)
            right, _ = find(*(pair if way == "text" else pair[::-1]), scale=1.0, k=5)
            found.append(right.float().mean())
        assert float(torch.stack(found).mean()) == pytest.approx(question.chance[0], abs=0.01)


def test_of_equals_the_first_is_nearer():
    images = Side(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    for owners, right in (([1, 0], True), ([0, 1], False)):
        texts = Side(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor(owners))
        assert find(images, texts, scale=1.0, k=1)[0].tolist() == [right]


def test_to_look_at_everything_is_refused(seen):
    with pytest.raises(InputError, match="the first 60 of 60 candidates are all of them: ask a smaller k"):
        Retrieval("text", 60).question(seen)
    with pytest.raises(InputError, match="the first 30 of 30 candidates"):
        Retrieval("image", 30).question(seen)


def test_embeddings_that_are_not_finite_are_refused():
    side = Side(torch.tensor([[float("nan"), 1.0], [0.0, 1.0]]), torch.arange(2))
    with pytest.raises(InputError, match="NaN or Inf"):
        find(side, side, scale=1.0, k=1)


@pytest.mark.parametrize(("queries", "texts", "width"), [(7, 5, 64), (1, 17, 512), (3, 11, 33)])
def test_of_equal_candidates_the_first_is_nearer_wherever_they_stand(queries, texts, width):
    generator = torch.Generator().manual_seed(0)
    rows, once = (F.normalize(torch.randn(n, width, generator=generator)) for n in (queries, texts))
    again = torch.randperm(texts, generator=generator)
    twice = Side(
        torch.cat([once, once[again]]), torch.cat([torch.full((texts,), -1), torch.zeros(texts).long()])
    )
    for row in rows:  # all that is its own comes second
        right, _ = find(Side(row[None], torch.zeros(1).long()), twice, 1.0, 1)
        assert not right.any()
