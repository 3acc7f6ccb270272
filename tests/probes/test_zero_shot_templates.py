"""Zero-shot by each prompt template alone: the answers are those of a task that has just that one."""

import numpy as np
import pytest

from forgetcheck import catalog
from forgetcheck.batteries.battery import read_battery
from forgetcheck.batteries.overrides import Stated
from forgetcheck.clip.features.encoded_task import encode_task

TEMPLATES = ("a drawing of {}", "{}", "not at all a {}")


def stated(templates):
    task = read_battery("drawn").tasks["letter"]
    return Stated(task.origin, "letter", None, templates)


@pytest.mark.parametrize("spec", ["zero-shot", "zero-shot:top=3"])
def test_every_template_alone_is_what_a_task_with_it_alone_would_be(tiny, spec):
    probe = catalog.build("probes", spec)
    (seen,) = encode_task("letter", stated(TEMPLATES), [tiny], ("test",), prompted=True)
    variants = probe.answer(seen, seen).variants
    labels = seen.splits["test"].labels.numpy()
    assert variants.of == "template"
    for template, right in zip(TEMPLATES, variants.right(len(labels)), strict=True):
        (alone,) = encode_task("letter", stated((template,)), [tiny], ("test",), prompted=True)
        said = probe.answer(alone, alone)
        assert said.variants is None
        assert np.mean(right == (said.label == labels)) > 0.998  # but for ties in the last digit


def test_the_first_five_are_kept_to_tell_knowledge_by(tiny):
    (seen,) = encode_task("letter", stated(TEMPLATES), [tiny], ("test",), prompted=True)
    said = catalog.build("probes", "zero-shot:top=5").answer(seen, seen)
    labels = seen.splits["test"].labels.numpy()
    assert said.named.shape == (len(labels), 5)
    assert np.array_equal((said.named == labels[:, None]).any(axis=1), said.label == labels)
