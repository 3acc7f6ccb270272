"""examine(): what can be trusted passes, and every way of not being trustworthy is caught."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import pytest
import sources
import torch
from captioned import Told
from conftest import RESNET, TEXT, VIT, make_config, random_encoder
from PIL import Image

from forgetcheck import catalog
from forgetcheck.auditing import audit as auditing
from forgetcheck.auditing import candidates, doctor
from forgetcheck.auditing.doctor import (
    ROUNDING,
    Difference,
    advice,
    compare,
    draw,
    exactness,
    examine,
    examine_batches,
    examine_half,
    examine_itself,
    examine_neighbours,
    examine_padding,
    look,
)
from forgetcheck.batteries.battery import Battery
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.checkpoint import Checkpoint
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.errors import InputError
from forgetcheck.progress import silent
from forgetcheck.tasks.base import Split, Task
from forgetcheck.tasks.folder import Folder

pytestmark = pytest.mark.slow

BATTERY = Battery(
    "small", {name: catalog.build("tasks", f"drawn:family={name}") for name in ("shape", "size")}
)
SAMPLES = 90  # a whole batch and a part of one


def hooked(encoder, change):
    """Return an independent copy whose image features are changed on their way out."""
    twin = encoder.twin()
    twin.model.visual.register_forward_hook(lambda _module, _inputs, features: change(features))
    return twin


def noise(features):
    return features + 0.5 * torch.randn_like(features)


def with_text(**options):
    torch.manual_seed(0)
    config = make_config(VIT)
    config["model_cfg"]["text_cfg"] = TEXT | options
    return load_encoder(Checkpoint("random", config, weights=None), "cpu")


@pytest.fixture(scope="module")
def drawn(vit):
    return draw(vit, BATTERY, SAMPLES)


def batches(encoder, drawn):
    return examine_batches(encoder, drawn, look(encoder, drawn, silent, ""), silent)


def half(encoder, drawn, kind):
    return examine_half(encoder, drawn, look(encoder, drawn, silent, ""), kind, silent)


def test_a_sound_checkpoint_passes_and_everything_is_told(vit_folder):
    told = []
    found = examine(
        find_checkpoint(str(vit_folder)),
        BATTERY,
        SAMPLES,
        "cpu",
        lambda stage, done, total, note="": told.append((stage, note, done == total)),
    )
    assert [(item.name, item.passed) for item in found.diagnoses] == [
        ("self-audit", True),
        ("activation", True),
        ("batch size", True),
        ("neighbours", True),
        ("bfloat16", None),
        ("float16", None),
        ("padding", None),
    ]
    assert (found.checkpoint, found.device, found.failed, len(found.checked)) == ("vit", "cpu", (), 4)
    assert "two copies, 4 questions: 0 of 2,400 answers differ; drop exactly 0" in found.diagnoses[0].measured
    assert "batches of 1 and of 64: 0 of 90 predictions flip" in found.diagnoses[2].measured
    assert "45 images" in found.diagnoses[3].measured
    assert ("examining", "one at a time", True) in told
    assert told[0][0] == "auditing"


def test_noise_fails_the_audit_against_itself(vit, vit_folder, monkeypatch):
    monkeypatch.setattr(candidates, "load_encoder", lambda *_: hooked(vit, noise))
    checkpoint = find_checkpoint(str(vit_folder))
    torch.manual_seed(0)
    found = examine_itself(auditing.audit(checkpoint, [checkpoint], BATTERY, ["zero-shot"], "cpu"))
    assert found.passed is False
    assert "points (" in found.measured
    assert found.meaning == "two copies of the same weights answer differently"


def test_one_answer_that_differs_fails_the_audit_against_itself(vit_folder):
    checkpoint = find_checkpoint(str(vit_folder))
    audit = auditing.audit(checkpoint, [checkpoint], BATTERY, ["zero-shot"], "cpu")
    first, *rest = audit.answers
    wrong = np.flatnonzero(first.tuned.label != first.labels)[0]
    other = next(c for c in range(9) if c not in (first.labels[wrong], first.tuned.label[wrong]))
    label = first.tuned.label.copy()
    label[wrong] = other  # wrong before, wrong in another way now: no drop
    changed = replace(first, tuned=replace(first.tuned, label=label))
    found = examine_itself(replace(audit, answers=(changed, *rest)))
    assert found.passed is False
    assert "1 of 1,200 answers differ; drop exactly 0" in found.measured


def test_what_could_not_be_asked_is_told(vit_folder):
    checkpoint = find_checkpoint(str(vit_folder))
    battery = Battery("mixed", {**BATTERY.tasks, "few": Few(0)})
    found = examine(checkpoint, battery, SAMPLES, "cpu")
    assert found.diagnoses[0].measured.endswith("; 2 could not be asked")
    assert found.failed == ()


def test_every_kind_of_tower_gives_the_same_answers_in_any_batch(tower):
    drawn = draw(tower, BATTERY, SAMPLES)
    assert batches(tower, drawn).passed
    found = examine_neighbours(tower, drawn, silent)
    assert found.passed
    assert found.meaning == "every image is measured by itself"


@pytest.mark.parametrize(
    "change",
    [
        noise,
        lambda features: -features if len(features) == 1 else features,
        lambda features: features * (1 - 2 * (torch.arange(len(features)) % 2))[:, None],
    ],
    ids=["noise", "depends on the batch size", "depends on the place"],
)
def test_answers_that_depend_on_the_batch_are_caught(vit, drawn, change):
    torch.manual_seed(0)
    found = batches(hooked(vit, change), drawn)
    assert found.passed is False
    assert "at margins up to" in found.measured
    assert found.meaning == "a drop may come from the batch size, not from forgetting"


def test_a_nan_in_one_batch_size_is_caught(vit, drawn):
    found = batches(hooked(vit, lambda f: f * float("nan") if len(f) == 1 else f), drawn)
    assert found.passed is False
    assert "90 of 90 embeddings are NaN or Inf" in found.measured


def test_batch_norm_in_training_mode_is_caught():
    encoder = random_encoder(RESNET)
    drawn = draw(encoder, BATTERY, SAMPLES)
    assert examine_neighbours(encoder, drawn, silent).passed
    encoder.model.train()
    found = examine_neighbours(encoder, drawn, silent)
    assert found.passed is False
    assert found.meaning == "answers depend on the other images: batch norm in training mode?"


@pytest.mark.parametrize(
    ("change", "passed"),
    [
        (lambda features: features - features.mean(dim=0), False),
        (lambda features: features + 1e-3 * features.roll(1, 0), False),
        (lambda features: features * float("nan"), False),
        (noise, False),
        (lambda features: features * (1 + torch.arange(len(features)))[:, None], True),  # of the place only
    ],
    ids=["mean of the batch", "a little of the neighbour", "NaN", "noise", "the place"],
)
def test_only_neighbours_count_as_neighbours(vit, drawn, change, passed):
    torch.manual_seed(0)
    assert examine_neighbours(hooked(vit, change), drawn, silent).passed is passed


@pytest.mark.parametrize("kind", doctor.HALVES)
def test_half_precision_is_compared_and_never_fails(vit, drawn, kind):
    found = half(vit, drawn, kind)
    assert found.passed is None
    assert "against fp32:" in found.measured
    assert "embeddings differ by up to 0.0" in found.measured


def test_features_that_are_too_large_for_fp16_are_told(vit, drawn):
    found = half(hooked(vit, lambda features: features.detach() * 1e6), drawn, torch.float16)
    assert found.measured == "against fp32: 90 of 90 embeddings are NaN or Inf"
    assert found.meaning == "stay with fp32: this is too narrow for the checkpoint"


def test_answers_that_half_precision_changes_are_counted(vit, drawn):
    with torch.no_grad():  # what all images share is most of an embedding; without it, rounding shows
        shared = vit.model.encode_image(drawn.images).mean(dim=0)
    found = half(hooked(vit, lambda features: features - shared), drawn, torch.bfloat16)
    assert found.passed is None
    assert found.meaning.startswith("stay with fp32: rounding alone changes")


def refuse(*_arguments, **_options):
    raise RuntimeError("no such\ntype here")


def warn(*_arguments, **_options):
    import warnings

    warnings.warn("Disabling autocast.", UserWarning, stacklevel=1)
    return nullcontext()


@pytest.mark.parametrize(("answer", "why"), [(refuse, "no such type here"), (warn, "Disabling autocast.")])
def test_what_a_device_cannot_is_said_and_not_fatal(vit, drawn, monkeypatch, answer, why):
    usual = look(vit, drawn, silent, "")
    monkeypatch.setattr(torch, "autocast", answer)
    found = examine_half(vit, drawn, usual, torch.float16, silent)
    assert (found.passed, found.measured) == (None, f"cpu: {why}")
    assert found.meaning == "stay with fp32: this device cannot"


def test_no_flip_in_few_images_promises_little():
    found = Difference(n=10, flips=0, margin=0.0, largest=0.0, angle=0.0, broken=0)
    assert advice(found) == "usable: fewer than 25.9 % of answers change (95 % sure)"
    assert pytest.approx(0.05, rel=0.01) == (1 - 0.259) ** 10


def test_a_difference_is_measured_between_embeddings_of_length_1(vit, drawn):
    usual = look(vit, drawn, silent, "")
    angle = torch.tensor(0.01)
    turned = usual.embeddings.clone()
    turned[:, :2] = turned[:, :2] @ torch.tensor([[angle.cos(), angle.sin()], [-angle.sin(), angle.cos()]])
    found = compare(usual, replace(usual, embeddings=turned))
    assert (found.n, found.flips, found.broken) == (SAMPLES, 0, 0)
    assert found.largest == pytest.approx((turned - usual.embeddings).abs().max().item())
    assert 0 < found.angle < 0.573  # 0.01 in degrees, of the part of an embedding that was turned
    assert compare(usual, usual).angle == 0
    assert compare(usual, replace(usual, embeddings=-usual.embeddings)).angle == pytest.approx(180, abs=0.1)


def test_a_causal_text_tower_needs_no_padding(vit, drawn):
    found = examine_padding(vit, drawn)
    assert found.passed is None
    assert found.meaning == "prompts may be read without their padding"
    assert "prompts cut from 16 to" in found.measured


def test_a_text_tower_that_sees_its_padding_is_told(drawn):
    found = examine_padding(with_text(no_causal_mask=True), drawn)
    assert found.meaning == "prompts must be read at full length: the padding matters"
    assert "not exact (largest difference 0." in found.measured


def test_a_text_tower_like_siglips_cannot_be_cut(drawn):
    found = examine_padding(with_text(pool_type="last", no_causal_mask=True), drawn)
    assert (found.passed, found.meaning) == (None, "prompts must be read at full length")
    assert found.measured == "cannot be cut: it takes the meaning from the last place, which is padding."


def test_prompts_that_fill_every_place_leave_nothing_to_cut(drawn):
    found = examine_padding(with_text(context_length=5), drawn)
    assert (found.passed, found.meaning) == (None, "not examined")
    assert found.measured == "a prompt fills all 5 tokens: nothing to cut"


@pytest.mark.parametrize(
    ("largest", "words"),
    [
        (0.0, "exact"),
        (ROUNDING, "not exact (rounding, largest difference 1e-05)"),
        (0.12, "not exact (largest difference 0.12)"),
    ],
)
def test_exact_is_a_word_for_0_only(largest, words):
    assert exactness(largest) == words


@dataclass(frozen=True)
class Few(Task):
    """A task with so many test images, sorted by class, and none to train on."""

    count: int
    broken: bool = False

    class_names = ("left", "right")
    templates = ("a {}",)

    def split(self, name):
        if self.broken:
            raise InputError("unreadable.")
        count = self.count if name == "test" else 0
        labels = np.sort(np.arange(count) % 2)
        image: Callable[[int], Image.Image] = lambda i: Image.new("RGB", (32, 32), (40 * i, 0, 0))  # noqa: E731
        return Split(tuple(map(str, range(count))), labels, image)


def test_every_task_and_class_has_its_share(vit):
    counts = [count for _, count in draw(vit, BATTERY, 7).tasks]
    assert counts == [3, 4]
    assert len(draw(vit, BATTERY, 7).images) == 7
    ends = draw(vit, Battery("few", {"few": Few(6)}), 2).images
    assert not torch.equal(ends[0], ends[1])  # the first and the last, of different classes
    assert [count for _, count in draw(vit, Battery("few", {"a": Few(3), "b": Few(6)}), 100).tasks] == [3, 6]


def test_tasks_that_cannot_be_drawn_from_are_left_out(vit):
    some = draw(vit, Battery("few", {"a": Few(0), "b": Few(6), "c": Few(6, broken=True)}), 12)
    assert [words.class_names for words, _ in some.tasks] == [Few(6).class_names]
    for battery in ({"a": Few(0)}, {"a": Few(1)}, {"a": Few(6, broken=True)}):
        with pytest.raises(InputError, match="battery 'few' has too few test images"):
            draw(vit, Battery("few", battery), 12)


def test_a_wrong_activation_fails(monkeypatch, vit):
    monkeypatch.setattr(doctor, "doubt_activation", lambda *_: "'x' is configured with GELU, but ...")
    found = doctor.examine_activation(find_checkpoint("forgetcheck:tiny"), vit, BATTERY, silent)
    assert found.passed is False
    assert "configured with GELU" in found.measured


def test_captions_are_examined_as_well(tmp_path):
    """Alone and beside classes; a task without train images is no obstacle either."""
    sources.folder(tmp_path / "photos", {"test": 8})
    tasks = {"told": Told(), "swapped": Told(labelled_by="swap"), "photos": Folder(str(tmp_path / "photos"))}
    for some in ({"told": tasks["told"]}, tasks):
        examined = examine(find_checkpoint("forgetcheck:tiny"), Battery("b", some), 24, "cpu")
        assert examined.failed == ()
        assert "could not be asked" not in examined.diagnoses[0].measured
