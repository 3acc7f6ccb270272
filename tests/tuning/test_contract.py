"""The contract carries other ways of tuning, several at once, and a run that goes on where it stopped."""

from dataclasses import asdict, dataclass, replace

import pytest
import torch
from few_digits import SHORT, TINY, FewDigits
from methods.ewc import EWC
from methods.flyp import FLYP
from methods.lora import LoRA
from methods.wise_ft import WiSEFT
from methods.zscl import ZSCL

from forgetcheck.clip.model.heads import prompt_head
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.clip.model.view import Learner
from forgetcheck.errors import InputError
from forgetcheck.regularizers.base import Regularizer
from forgetcheck.regularizers.cross_entropy import CrossEntropy
from forgetcheck.regularizers.l2sp import L2SP
from forgetcheck.regularizers.ldifs import LDIFS
from forgetcheck.tuning.data import Named, split_off
from forgetcheck.tuning.together import Together
from forgetcheck.tuning.tune import accuracy, tune

TASK = Named("digits", FewDigits())
QUICK = replace(SHORT, batch_size=64, epochs=1)
OTHERS = [FLYP(), EWC(), ZSCL(), LoRA(), WiSEFT()]


def run(method, **options):
    return tune(TINY, TASK, Named(method.spec, method), QUICK, device="cpu", **options)


def moved(found):
    base = load_encoder(TINY, "cpu").weights
    assert found.weights.keys() == base.keys()
    assert all(weight.shape == base[name].shape for name, weight in found.weights.items())
    return {name for name in base if not torch.equal(base[name], found.weights[name])}


@pytest.mark.parametrize("method", OTHERS, ids=lambda method: method.spec)
def test_other_methods_leave_a_whole_clip_and_a_head(method):
    found = run(method)
    names = moved(found)
    assert found.head.shape == (10, 128)
    assert any(name.startswith("visual.") for name in names)
    assert any(not name.startswith("visual.") for name in names) == (method == FLYP())
    if method == LoRA():
        assert all(".mlp." in name for name in names)
    learner = Learner(load_encoder(TINY, "cpu"), prompt_head(load_encoder(TINY, "cpu"), ["a"] * 10, ["{}"]))
    learner.load({**found.weights, "head": found.head})
    _, validation = split_off(TASK, learner.encoder)
    assert accuracy(learner, validation) == found.facts["validation_accuracy"]  # of what is kept


def test_what_is_kept_can_be_between_base_and_tuned():
    whole, half, none = (run(WiSEFT(alpha)) for alpha in (1.0, 0.5, 0.0))
    base = load_encoder(TINY, "cpu")
    start = prompt_head(base, TASK.thing.class_names, TASK.thing.templates).weight
    assert torch.equal(none.head, start)
    assert moved(none) == set()
    torch.testing.assert_close(half.head, (start + whole.head).detach() / 2)


@pytest.mark.parametrize(
    "method",
    [
        CrossEntropy(),
        L2SP(),
        LDIFS(),
        Together((L2SP(), LDIFS(slices=2), EWC(), ZSCL(), WiSEFT())),
        LoRA(),
        FLYP(),
    ],
    ids=lambda method: method.spec.replace(":", " "),
)
def test_a_run_that_goes_on_gives_the_same_bits(method):
    snapshots = []
    whole = run(method, keep=snapshots.append)
    assert [each.step for each in snapshots] == list(range(1, len(whole.history) + 1))
    rest = run(method, since=snapshots[len(snapshots) // 2])
    assert all(torch.equal(whole.weights[name], rest.weights[name]) for name in whole.weights)
    assert torch.equal(whole.head, rest.head)
    assert rest.history == whole.history


def test_together_each_computes_what_it_does_alone():
    first = [run(method).history[0] for method in (L2SP(), LDIFS(), ZSCL())]
    both = run(Together((L2SP(), LDIFS(), LDIFS(slices=2), ZSCL())))
    assert both.history[0]["loss"] == first[0]["loss"]
    assert both.facts["regularizer"]["spec"] == "l2sp + ldifs + ldifs:slices=2 + zscl"
    assert both.facts["regularizer"]["together"][0] == {"spec": "l2sp", "options": asdict(L2SP())}


@dataclass(frozen=True)
class Frozen(Regularizer):
    def trains(self, name):
        return False


def test_two_that_contradict_each_other_are_refused():
    with pytest.raises(InputError, match="'flyp' and 'flyp' each bring a loss of their own"):
        Together((FLYP(), L2SP(), FLYP()))
    with pytest.raises(InputError, match=r"'flyp' and 'lora' disagree on whether '.*' is trained: use one"):
        run(Together((FLYP(), LoRA())))
    with pytest.raises(
        InputError, match="wants 'drawn:family=shape' as reference data and 'zscl:reference=dig"
    ):
        Together((ZSCL(), ZSCL(reference="digits")))
    assert Together((L2SP(), Frozen())).trains("head") is False
