"""The encoding pass: each image decoded once, each model run once per image, in one order."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from forgetcheck.clip.features.encoded_task import encode_task
from forgetcheck.errors import InputError
from forgetcheck.tasks.base import Split, Task
from forgetcheck.tasks.drawn import Drawn


@dataclass(frozen=True)
class Counted(Task):
    """Drawn shapes that count how often each is decoded."""

    decoded: list

    class_names = Drawn().class_names
    templates = Drawn().templates

    def split(self, name):
        part = Drawn().split(name).take(np.arange(20))
        return replace(part, image=lambda i: self.decoded.append((name, i)) or part.image(i))


@dataclass(frozen=True)
class Empty(Counted):
    def split(self, name):
        return Split((), np.array([], dtype=np.int64), lambda i: None)


def test_one_decode_and_one_pass_feed_every_model(vit, monkeypatch):
    passes = []
    twin = vit.twin()
    for encoder in (vit, twin):
        original = encoder.model.encode_image
        monkeypatch.setattr(
            encoder.model, "encode_image", lambda x, f=original: passes.append(len(x)) or f(x)
        )
    task = Counted([])
    first, second = encode_task("shape", task, [vit, twin], ("train", "test"))
    assert sorted(task.decoded) == sorted((name, i) for name in ("train", "test") for i in range(20))
    assert sum(passes) == 2 * 40
    assert torch.equal(first.splits["test"].embeddings, second.splits["test"].embeddings)
    assert torch.equal(first.splits["test"].labels, torch.arange(20) % 7)


def test_embeddings_are_normalised_and_in_order(vit):
    (seen,) = encode_task("shape", Counted([]), [vit], ("test",))
    part = Drawn().split("test")
    with torch.no_grad():
        alone = vit.see(vit.preprocess(part.image(13))[None])
    torch.testing.assert_close(seen.splits["test"].embeddings[13:14], alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(seen.splits["test"].embeddings.norm(dim=1), torch.ones(20))


def test_different_preprocessing_is_applied_to_each_model_its_own(vit):
    other = replace(
        vit.twin(),
        config={**vit.config, "preprocess_cfg": {**vit.config["preprocess_cfg"], "mean": [0, 0, 0]}},
        preprocess=lambda image: torch.zeros(3, 32, 32),
    )
    first, second = encode_task("shape", Counted([]), [vit, other], ("test",))
    assert len(first.splits["test"].embeddings.unique(dim=0)) > 1
    assert len(second.splits["test"].embeddings.unique(dim=0)) == 1


def test_an_empty_part_is_refused(vit):
    with pytest.raises(InputError, match="no test images"):
        encode_task("none", Empty([]), [vit], ("test",))


def test_embeddings_that_are_not_finite_are_refused(vit):
    broken = vit.twin()
    with torch.no_grad():
        broken.weights["visual.proj"].fill_(float("inf"))
    with pytest.raises(InputError, match="NaN or Inf"):
        encode_task("shape", Counted([]), [broken], ("test",))


def test_embeddings_without_a_direction_are_refused(vit):
    blank = vit.twin()
    with torch.no_grad():
        blank.model.visual.proj.zero_()
    with pytest.raises(InputError, match="gives zeros on task 'shape'"):
        encode_task("shape", Counted([]), [blank], ("test",))
