"""What names, headers and the policy of an audit show to be wrong is refused before an image is decoded."""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch

from forgetcheck import catalog
from forgetcheck.auditing.candidates import Outlook, Target
from forgetcheck.batteries.battery import Battery
from forgetcheck.cli.audit import refuse_blind_policy
from forgetcheck.cli.verdict import Judging
from forgetcheck.clip.features.runtime import Engine
from forgetcheck.errors import InputError
from forgetcheck.retention.policy import Policy
from forgetcheck.tasks.drawn import Drawn

pytestmark = pytest.mark.slow

TINY = "forgetcheck:tiny"
SHAPE = catalog.build("tasks", "drawn:family=shape")


class Decoded(Exception):
    """An image was decoded."""


@pytest.fixture
def undecoded(monkeypatch):
    """Let nothing be decoded; returns how often something tried."""
    tried = []

    def refuse(*arguments):
        tried.append(arguments)
        raise Decoded

    monkeypatch.setattr("forgetcheck.tasks.drawn.sketch", refuse)
    monkeypatch.setattr("forgetcheck.tasks.digits.enlarge", refuse)
    return tried


@pytest.fixture
def audit(run, tmp_path, weights, quick_twin, small_battery, undecoded):
    """Audit a base of which images must tell the activation, as far as the first image."""
    torch.save(weights, tmp_path / "base.pt")

    def call(*arguments, tuned="base.pt"):
        battery = [] if "--battery" in arguments else ["--battery", small_battery]
        return run("audit", "base.pt", tuned, *battery, *arguments)

    return call


def test_images_decide_what_bare_weights_are(audit, undecoded):
    """So the refusals below come before checkpoints are identified."""
    assert audit().code == 3
    assert undecoded


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--probe", "liner"], ["unknown probe 'liner'", "did you mean 'linear'"]),
        (["--probe", "zero-shot:top=0"], ["zero-shot:top=0"]),
        (["--probe", "zero-shot:topp=3"], ["did you mean 'top'"]),
        (["--probe", "retrieval"], ["can't be put to images labelled by class", "another --probe"]),
        (["--probe", "zero-shot", "--probe", "zero-shot:top=1"], ["asks the same as zero-shot"]),
        (["--target", "digitz"], ["unknown task for --target 'digitz'", "did you mean 'digits'"]),
        (["--target", "shap"], ["did you mean 'shape'"]),
        (["--target", "drawn:family=shap"], ["did you mean 'shape'"]),
        (["--target", "digits"], ["--target digits", "one of its tasks (shape)", "target =", "[policy]"]),
        (["--device", "cuda:9"], ["device 'cuda:9'", "--device cpu"]),
        (["--device", "gpu"], ["device 'gpu'", "--device cpu"]),
        (["--model", "ViT-B-3"], ["unknown model 'ViT-B-3'"]),
        (["--model", "RN50"], ["is no RN50"]),
        (["--max-download", "huge"], ["--max-download huge", "500MB"]),
        (["--cache-size", "huge"], ["--cache-size huge", "500MB"]),
        (["--cache-size", "huge", "--no-cache"], ["--cache-size huge", "500MB"]),
        (["--workers", "-1"], ["--workers"]),
        (["--gallery", "-1"], ["--gallery"]),
        (["--precision", "fp8"], ["--precision"]),
        (["--out", "base.pt"], ["'base.pt' is a file"]),
        (["--as", "htm=r.html"], ["did you mean 'html'"]),
        (["--as", "html"], ["--as needs a file"]),
        (["--battery", "nowhere.toml"], ["no battery file"]),
        (["--policy", "nowhere.toml"], ["no policy file"]),
    ],
)
def test_options_are_refused_before_the_first_image(audit, undecoded, arguments, words):
    audit(*arguments).refusal(*words)
    assert not undecoded


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ('target = "digits"', ["p.toml: target = 'digits'", "the battery has shape"]),
        ("min_target_accuracy = 0.9", ["p.toml: min_target_accuracy speaks of", "--target TASK"]),
        ("max_target_drop = 0.1", ["p.toml: max_target_drop speaks of", "the battery has shape"]),
        ('[[policy.concepts]]\nmatch = "shpae"\nmax_drop = 0.1', ["concepts[1] (shpae)", "has shape"]),
        ('[[policy.concepts]]\nmatch = "shape/disc"\nmax_drop = 0.1', ["concepts[1] (shape/disc)"]),
        (
            '[[policy.concepts]]\nmatch = "*"\nweight = 2\n'
            '[[policy.concepts]]\nmatch = "*"\nprobe = "knn"\nmust_forget = true\nmax_accuracy = 0.5',
            ["concepts[2] (*)", "match or probe"],
        ),
    ],
)
def test_a_policy_about_nothing_is_refused_before_the_first_image(audit, undecoded, tmp_path, policy, words):
    (tmp_path / "p.toml").write_text(f"[policy]\n{policy}\n")
    audit("--policy", "p.toml").refusal(*words)
    assert not undecoded


def test_a_date_that_answers_cannot_be_stored_with_is_refused(audit, undecoded, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    audit().refusal("SOURCE_DATE_EPOCH=yesterday")
    assert not undecoded


def test_a_precision_that_the_device_lacks_is_refused(audit, undecoded, monkeypatch):
    def unable(*_):
        raise RuntimeError("no such numbers")

    monkeypatch.setattr("forgetcheck.clip.features.runtime.computing", unable)
    audit("--precision", "fp16").refusal("can't compute in fp16", "leave --precision out")
    assert not undecoded


def test_what_cannot_be_compiled_is_refused(audit, undecoded, monkeypatch):
    def unable(*_):
        raise InputError("'tiny' can't be compiled here (no compiler): leave --compile out.")

    monkeypatch.setattr(Engine, "try_out", unable)
    audit("--compile", "--model", TINY).refusal("leave --compile out")
    assert not undecoded


def test_a_card_of_an_unknown_checkpoint_is_refused(audit, undecoded):
    done = audit("--as", "model-card:checkpoint=bass=card.md", "--model", TINY)
    done.refusal("unknown checkpoint 'bass'", "did you mean 'base'")
    assert not undecoded


@pytest.mark.parametrize("broken", ["head", "nan"])
def test_tuned_weights_that_do_not_fit_are_refused_before_the_base_is_asked(
    audit, undecoded, tmp_path, weights, broken
):
    wrapped = {f"image_encoder.model.{name}": value for name, value in weights.items()}
    if broken == "head":
        wrapped["classification_head.weight"] = torch.ones(3, 128)
    else:
        wrapped["image_encoder.model.visual.proj"][0, 0] = torch.nan
    torch.save(wrapped, tmp_path / "tuned.pt")
    words = {"head": "is (3, 128), not (7, 128)", "nan": "NaN or Inf"}[broken]
    audit("--target", "shape", "--model", TINY, tuned="tuned.pt").refusal(words)
    assert not undecoded


@dataclass(frozen=True)
class Absent(Drawn):
    """Its data isn't there, and so aren't its class names."""

    @property
    def class_names(self):
        raise InputError("no data.")


ALONE = Outlook((), told=False, sure=True)
TUNED_ON_DIGITS = Outlook((Target("digits", catalog.build("tasks", "digits")),), told=True, sure=True)
ON_THE_HUB = Outlook((), told=True, sure=False)
RULE = {"max_drop": 0.1}


def judging(**policy):
    return Judging(Policy.model_validate(policy), "p.toml", (), None, 10, False)


@pytest.mark.parametrize(
    ("rule", "outlook"),
    [
        ({"match": "shape", **RULE}, ALONE),
        ({"match": "sh*", **RULE}, ALONE),
        ({"match": "shape/circle", "probe": "linear", **RULE}, ALONE),
        ({"match": "*/circle", **RULE}, ALONE),
        ({"match": "nothing", "weight": 2}, ALONE),  # gates nothing
        ({"match": "nothing", "ignore": True}, ALONE),
        ({"match": "digits", **RULE}, TUNED_ON_DIGITS),  # asked beside the battery, with its own head
        ({"match": "digits/7", "probe": "head", **RULE}, TUNED_ON_DIGITS),
        ({"match": "digits", **RULE}, ON_THE_HUB),  # what it was tuned on isn't known before it is fetched
        ({"match": "absent/anything", **RULE}, ALONE),
    ],
)
def test_a_rule_that_may_catch_something_is_not_refused(rule, outlook):
    battery = Battery("some", {"shape": SHAPE, "absent": Absent()})
    refuse_blind_policy(judging(concepts=[rule]), battery, ("zero-shot", "linear"), outlook)


@pytest.mark.parametrize(
    ("rule", "outlook"),
    [
        ({"match": "digits", **RULE}, ALONE),
        ({"match": "digits", "probe": "zero-shot", **RULE}, TUNED_ON_DIGITS),
        ({"match": "digits/ten", **RULE}, TUNED_ON_DIGITS),
        ({"match": "digits", "probe": "zero-shot", **RULE}, ON_THE_HUB),
        ({"match": "absentee/anything", **RULE}, ALONE),
    ],
)
def test_a_rule_that_can_catch_nothing_is_refused(rule, outlook):
    battery = Battery("some", {"shape": SHAPE, "absent": Absent()})
    with pytest.raises(InputError, match=r"p.toml: concepts\[1\] .* the battery has shape, absent"):
        refuse_blind_policy(judging(concepts=[rule]), battery, ("zero-shot", "linear"), outlook)


def test_a_target_of_the_policy_is_needed_only_where_a_checkpoint_does_not_tell_it():
    battery = Battery("some", {"shape": SHAPE})
    for outlook in (TUNED_ON_DIGITS, ON_THE_HUB):
        refuse_blind_policy(judging(target="elsewhere"), battery, ("zero-shot",), outlook)
    refuse_blind_policy(judging(target="sh*"), battery, ("zero-shot",), ALONE)
    with pytest.raises(InputError, match="target = 'elsewhere' is no task of the battery"):
        refuse_blind_policy(judging(target="elsewhere"), battery, ("zero-shot",), ALONE)


def test_what_one_process_refuses_early_nobody_goes_on_with(tmp_path, small_battery):
    """Two processes as torchrun starts them; the second is asked with a probe that nobody knows."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = (
        "import os, sys\n"
        "if os.environ['RANK'] == '1': sys.argv[-1] = 'liner'\n"
        "from forgetcheck.cli.main import main\nmain()"
    )
    asked = ["audit", TINY, TINY, "--battery", small_battery, "--device", "cpu", "--probe", "linear"]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
              "TORCHELASTIC_RUN_ID": "test"}  # fmt: skip
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, *map(str, asked)],
            cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    (_, told), _ = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [2, 2]
    assert "did you mean 'linear'" in told
