"""The encoding pass: in order whoever is faster, in bounded memory, whatever can't be read or doesn't fit."""

import itertools
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from conftest import RESNET, random_encoder
from open_clip import image_transform
from PIL import Image

from forgetcheck.clip.features import image_pass, runtime
from forgetcheck.clip.features.encoded_task import encode_task
from forgetcheck.clip.features.image_pass import BATCH_ON_CPU, batches
from forgetcheck.clip.features.preprocess import preparation, prepare
from forgetcheck.clip.features.runtime import Engine
from forgetcheck.errors import InputError
from forgetcheck.tasks.base import Split, Task, Unreadable

pytestmark = pytest.mark.slow

MEMORY = """
import resource, sys
import numpy as np
from PIL import Image
from forgetcheck.clip.features.image_pass import Part, encode
from forgetcheck.clip.features.runtime import Engine
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.tasks.base import Split
from forgetcheck.tasks.drawn import Drawn
encoder = load_encoder(find_checkpoint("forgetcheck:tiny"), "cpu")
def image(place): return Image.new("RGB", (400, 400), (place % 256, 0, 0))
for count in (200, 1000):
    split = Split(tuple(map(str, range(count))), np.zeros(count, np.int64), image)
    encode(Part("t", Drawn(), "test", split), [encoder], lambda *_: None, Engine())
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def painted(place):
    """An image that tells its place."""
    return Image.new("RGB", (40, 32), (place % 256, place // 256, 7))


@dataclass(frozen=True)
class Painted(Task):
    count: int = 200
    image: object = painted
    tolerated: float = 0.0

    class_names = ("one", "two")
    templates = ("{}",)

    def split(self, name):
        labels = np.arange(self.count) % 2
        return Split(tuple(f"{name}/{place}" for place in range(self.count)), labels, self.image)


def look(task, *encoders, **options):
    found = encode_task("painted", task, encoders, ("test",), engine=Engine(**options))
    return [seen.splits["test"] for seen in found]


def refusing(*broken):
    def image(place):
        if place in broken:
            raise Unreadable("truncated")
        return painted(place)

    return image


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_the_order_is_that_of_the_task_whoever_is_faster(vit, workers):
    def slow(place):
        time.sleep(0.004 * (place % 5 == 0))
        return painted(place)

    (seen,) = look(Painted(image=slow), vit, workers=workers)
    (expected,) = look(Painted(), vit, workers=1)
    assert torch.equal(seen.embeddings, expected.embeddings)
    assert seen.labels.tolist() == [0, 1] * 100
    assert seen.kept is None


def test_batches_are_decoded_ahead_and_no_further():
    decoded = []
    split = Painted(count=1000, image=lambda place: decoded.append(place) or painted(place)).split("test")
    found = batches(split, {"way": preparation(lambda image: torch.zeros(1))}, 3, 50)
    for turn, batch in enumerate(itertools.islice(found, 5), 1):
        time.sleep(0.02)
        assert batch.kept == list(range(50 * (turn - 1), 50 * turn))
        assert len(decoded) <= 50 * (turn + 1)
    found.close()
    assert len(decoded) < 1000


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), SystemExit(143), RuntimeError("mine")])
def test_interrupted_it_leaves_no_thread_behind(vit, monkeypatch, problem):
    def broken(_images):
        raise problem

    twin = vit.twin()
    monkeypatch.setattr(twin, "see", broken)
    with pytest.raises(type(problem)):
        look(Painted(count=1000), twin)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decoding")]


def test_a_bug_of_a_source_is_no_unreadable_image(vit):
    with pytest.raises(ZeroDivisionError):
        look(Painted(image=lambda place: 1 / 0, tolerated=1.0), vit)


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [(40, 32), (31, 70), (5, 5)])
def test_preparing_in_two_steps_is_the_transform_bit_by_bit(mode, size):
    noise = np.random.default_rng(0).integers(0, 256, (4, size[1], size[0], 3), dtype=np.uint8)
    pictures = [Image.fromarray(rows) for rows in noise]
    transform = image_transform(32, is_train=False, resize_mode=mode)
    way = preparation(transform)
    assert way.last is not None
    pixels = [way.pixels(picture) for picture in pictures]
    assert {pixel.dtype for pixel in pixels} == {torch.uint8}
    assert torch.equal(way.finish(torch.stack(pixels), torch.device("cpu")), prepare(pictures, transform))


def test_a_transform_of_another_kind_is_taken_whole():
    way = preparation(lambda image: torch.full((3, 2, 2), image.size[0]))
    found = way.finish(torch.stack([way.pixels(painted(0))]), torch.device("cpu"))
    assert torch.equal(found, torch.full((1, 3, 2, 2), 40))


def test_unreadable_images_are_left_out_for_all_alike_and_named(vit):
    one, other = look(Painted(image=refusing(3, 70, 71, 199), tolerated=0.02), vit, random_encoder(RESNET))
    whole, _ = look(Painted(), vit, random_encoder(RESNET))
    kept = [place for place in range(200) if place not in (3, 70, 71, 199)]
    for seen in (one, other):
        assert seen.kept.tolist() == kept
        assert seen.labels.tolist() == [place % 2 for place in kept]
        named = "test/3: truncated; test/70: truncated; test/71: truncated; ..."
        assert seen.unread == f"of 200 test images 4 can't be read ({named})"
    assert torch.allclose(one.embeddings, whole.embeddings[kept], atol=1e-6)


def test_more_than_tolerated_refuses_the_task_before_the_models_run_on(vit):
    decoded = []
    broken = refusing(10, 11, 12, 13)
    task = Painted(count=5000, image=lambda place: decoded.append(place) or broken(place), tolerated=0.0005)
    with pytest.raises(InputError, match=r"among 64 of 5,000 test images 4 can't be read .test/10: "):
        look(task, vit)
    assert len(decoded) < 1000


def test_nothing_that_can_be_read_is_refused_however_tolerant(vit):
    with pytest.raises(InputError, match=r"2 can't be read .*nothing would be measured"):
        look(Painted(count=2, image=refusing(0, 1), tolerated=1.0), vit)


@pytest.mark.parametrize(
    "problem",
    [
        torch.OutOfMemoryError("CUDA"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_batch_that_does_not_fit_is_halved_for_good(vit, monkeypatch, problem):
    sizes = []
    twin = vit.twin()

    def narrow(images):
        sizes.append(len(images))
        if len(images) > 20:
            raise problem
        return vit.see(images)

    monkeypatch.setattr(twin, "see", narrow)
    (seen,) = look(Painted(), twin)
    assert torch.allclose(seen.embeddings, look(Painted(), vit)[0].embeddings, atol=1e-6)
    assert [size for size in sizes if size > 20] == [BATCH_ON_CPU, BATCH_ON_CPU // 2]


def test_one_image_that_does_not_fit_is_refused(vit, monkeypatch):
    def none(_images):
        raise torch.OutOfMemoryError

    twin = vit.twin()
    monkeypatch.setattr(twin, "see", none)
    with pytest.raises(InputError, match="even with one image at a time"):
        look(Painted(), twin)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_near_and_its_embeddings_are_fp32(tiny, precision):
    (full,) = look(Painted(), tiny)
    (half,) = look(Painted(), tiny, precision=precision)
    assert half.embeddings.dtype == torch.float32
    assert 0 < (half.embeddings - full.embeddings).abs().max() < 0.05
    torch.testing.assert_close(half.embeddings.norm(dim=1), torch.ones(200))


def test_a_device_without_half_precision_is_refused(vit, monkeypatch):
    def unable(*_):
        raise UserWarning("not supported here")

    monkeypatch.setattr(runtime, "half_precision", unable)
    with pytest.raises(
        InputError, match=r"can't compute in fp16 .not supported here.: leave --precision out"
    ):
        look(Painted(), vit, precision="fp16")


def test_getting_ready_changes_no_weight_and_no_name(tower):
    before = dict(tower.twin().digests)
    ready = Engine().ready(tower.twin())
    assert ready.digests == before
    assert list(ready.weights) == list(tower.weights)
    (seen,), (expected,) = look(Painted(), ready), look(Painted(), tower)
    assert torch.allclose(seen.embeddings, expected.embeddings, atol=1e-5)


def test_convolutions_run_channels_last():
    ready = Engine().ready(random_encoder(RESNET))
    weight = ready.weights["visual.layer1.0.conv2.weight"]
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_what_cannot_be_compiled_is_refused(vit, monkeypatch):
    twin = vit.twin()

    def unable(**_):
        monkeypatch.setattr(twin, "see", lambda images: 1 / 0)

    monkeypatch.setattr(twin.model.visual, "compile", unable)
    with pytest.raises(InputError, match=r"can't be compiled here .division by zero.: leave --compile out"):
        Engine(compiled=True).ready(twin)


def test_memory_is_flat_in_the_number_of_images():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    few, many = map(int, done.stdout.split())  # 800 more images of 480 kB each; peaks of one process
    assert many < 1.1 * few


def test_threads_are_as_many_as_asked_for_or_as_there_are(monkeypatch):
    monkeypatch.setattr(runtime, "processors", lambda: 64)
    assert (Engine().threads, Engine(workers=3).threads) == (16, 3)


def test_out_of_memory_is_told_from_other_failures():
    assert not image_pass.out_of_memory(RuntimeError("shapes don't match"))
    assert image_pass.out_of_memory(RuntimeError("MPS backend out of memory"))
