"""Many threads decode, and the memory of a few: who has no room waits, and the pixels are the same."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from forgetcheck.clip.features.image_pass import batches
from forgetcheck.clip.features.preprocess import Preparation
from forgetcheck.tasks.reading import decode as decoding
from forgetcheck.tasks.reading import in_flight
from forgetcheck.tasks.reading.decode import decode
from forgetcheck.tasks.reading.in_flight import Budget, one_of_many
from forgetcheck.tasks.reading.samples import Samples, file_samples


def pictures(count, side=40):
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        file = io.BytesIO()
        pixels = rng.integers(0, 256, (side + number % 3, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file, ("PNG", "BMP", "WEBP")[number % 3], lossless=True)
        made.append(file.getvalue())
    return made


@pytest.fixture
def budgets(monkeypatch):
    """Make the budgets small, and note the most that was ever taken of each."""
    most = {}

    class Watched(Budget):
        def take(self, amount):
            taken = super().take(amount)
            with self.changed:
                most[self] = max(most.get(self, 0), self.total - self.free)
            return taken

    files, pixels = Watched(9000), Watched(4000)
    monkeypatch.setattr(in_flight, "FILE_BUDGET", files)
    monkeypatch.setattr(in_flight, "PIXEL_BUDGET", pixels)
    yield files, pixels, most
    assert (files.free, pixels.free) == (files.total, pixels.total)  # everything is given back


def resized(image):
    return image.resize((8, 8))


def run(split, threads=8):
    ways = {"x": Preparation(lambda image: np.array(resized(image)), None)}
    found = list(batches(split, ways, threads, 16))
    return [place for batch in found for place in batch.kept], found


def test_the_pixels_are_the_same_and_the_budget_is_kept(budgets, tmp_path):
    files, pixels, most = budgets
    data = pictures(60)
    for number, each in enumerate(data):
        (tmp_path / f"{number}.png").write_bytes(each)
    samples = file_samples(tmp_path, [f"{n}.png" for n in range(60)], [0] * 60)
    kept, found = run(samples.split())
    assert kept == list(range(60))
    rows = np.concatenate([batch.pixels["x"].numpy() for batch in found])
    expected = [np.array(resized(Image.open(io.BytesIO(each)).convert("RGB"))) for each in data]
    assert np.array_equal(rows, np.stack(expected))
    assert 1600 <= most[pixels] <= pixels.total  # two images of 1,600 to 1,680 pixels fit
    assert max(map(len, data)) <= most[files] <= files.total


def test_one_that_is_larger_than_a_budget_is_alone(budgets):
    _, pixels, most = budgets
    data = pictures(6, side=70)  # 4,900 pixels and more, of 4,000
    samples = Samples(tuple("abcdef"), np.zeros(6, np.int64), lambda i: data[i])
    kept, _ = run(samples.split())
    assert kept == list(range(6))
    assert most[pixels] == pixels.total


def test_what_cannot_be_read_gives_its_room_back(budgets, tmp_path):
    for number, each in enumerate(pictures(12)):
        (tmp_path / f"{number}.png").write_bytes(each[: len(each) // 2] if number % 2 else each)
    samples = file_samples(tmp_path, [f"{n}.png" for n in range(13)], [0] * 13)  # the last isn't there
    kept, found = run(samples.split())
    assert len(kept) + sum(len(batch.unread) for batch in found) == 13


def test_an_image_after_another_in_one_thread_never_waits_for_itself(budgets):
    files, _, _ = budgets
    with one_of_many():
        for _ in range(5):
            in_flight.reading(files.total)
            decode(pictures(1)[0])


def test_alone_nothing_is_counted(budgets):
    _, _, most = budgets
    in_flight.reading(10**9)
    assert decode(pictures(1)[0]).size == (40, 40)
    assert most == {}


def test_who_has_no_room_waits_until_there_is():
    budget, order = Budget(10), []
    budget.take(8)

    def late():
        budget.take(5)
        order.append("taken")

    thread = threading.Thread(target=late)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    order.append("given")
    budget.give(8)
    thread.join(5)
    assert order == ["given", "taken"]


def test_many_threads_end(budgets):
    """Large and small ones, in an order of chance: no two wait for one another."""
    rng = np.random.default_rng(1)
    sizes = rng.integers(0, 12_000, (400, 2)).tolist()

    def one(size):
        with one_of_many():
            in_flight.reading(size[0])
            in_flight.decoding(size[1])
        return True

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, sizes, timeout=60))


@pytest.mark.parametrize("white", [65535, 4095])
def test_sixteen_bits_are_scaled_by_rows_as_all_at_once(white):
    levels = np.random.default_rng(0).integers(0, 65536, (3 * decoding.ROWS + 5, 7), dtype=np.uint16)
    whole = ((levels.astype(np.uint64) * 255 + white // 2) // white).clip(max=255).astype(np.uint8)
    assert np.array_equal(decoding.eight_bits(levels, white), whole)
