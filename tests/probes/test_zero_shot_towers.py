"""Whether the base's texts make a question of their own: by what text towers read, not by their bits."""

from dataclasses import dataclass, replace

import pytest
import torch

from forgetcheck import catalog
from forgetcheck.clip.features.encoded_task import EncodedTask
from forgetcheck.clip.model.load import rebuilt
from forgetcheck.errors import InputError
from forgetcheck.tasks.drawn import Drawn

SPECS = ("zero-shot:text=base", "zero-shot:text=base,top=2")


def changed(encoder, change):
    """Return a copy with changed text weights."""
    twin = encoder.twin()
    with torch.no_grad():
        for name, value in twin.weights.items():
            if not name.startswith("visual.") and value.is_floating_point():
                change(name, value)
    assert twin.digests["text"] != encoder.digests["text"]
    return twin


def interpolate(_name, value):
    value.copy_((1 - 0.4) * value + 0.4 * value)


def rescale(name, value):
    if name == "logit_scale":
        value.add_(0.1)


def train(_name, value):
    value.mul_(1 + 1e-3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0)))


def break_down(name, value):
    if name == "text_projection":
        value[0, 0] = torch.nan


def applied(tuned, base, task=None):
    """Say for each spec whether it is asked; both must say the same."""
    task = task or Drawn("size")
    pair = (EncodedTask(task, tuned, {}), EncodedTask(task, base, {}))
    assert catalog.build("probes", "zero-shot").applies(*pair)
    said = {catalog.build("probes", spec).applies(*pair) for spec in SPECS}
    assert len(said) == 1
    return said.pop()


@pytest.mark.parametrize(
    ("change", "asked"), [(interpolate, False), (rescale, False), (train, True), (break_down, True)]
)
def test_what_differs_by_rounding_is_one_question(tiny, change, asked):
    assert applied(changed(tiny, change), tiny) is asked


def test_equal_towers_are_told_without_reading(tiny, monkeypatch):
    monkeypatch.setattr(type(tiny), "read", lambda *_: pytest.fail("read"))
    assert not applied(tiny.twin(), tiny)


def test_equal_weights_of_another_activation_read_otherwise(tiny):
    model = {**tiny.config["model_cfg"], "quick_gelu": True}
    assert applied(rebuilt(tiny, {**tiny.config, "model_cfg": model}), tiny)


def test_equal_weights_with_a_default_spelled_out_are_one_question(tiny):
    model = {**tiny.config["model_cfg"], "quick_gelu": False}
    assert not applied(replace(tiny, config={**tiny.config, "model_cfg": model}), tiny)


def test_texts_of_another_width_are_no_question(tiny, vit):
    assert not applied(vit, tiny)


@dataclass(frozen=True)
class Wordless(Drawn):
    """Its data isn't there, and so aren't its class names."""

    @property
    def class_names(self):
        raise InputError("no data.")


def test_where_the_words_are_missing_other_bits_are_another_question(tiny):
    assert applied(changed(tiny, interpolate), tiny, Wordless())
    assert not applied(tiny.twin(), tiny, Wordless())
