"""audit(): the truth tests. A model against itself forgets exactly nothing; a scrambled one is caught."""

import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest
import sources
import torch
from captioned import Told
from changed_tiny import TINY, changed, move_text, scramble
from PIL import Image
from planted import make_answers
from safetensors.torch import save_file

from forgetcheck import catalog
from forgetcheck.auditing.audit import PROBES, audit, contents_of, plan, without_repeats
from forgetcheck.auditing.candidates import Candidate, distinct_names, mismatch
from forgetcheck.batteries.battery import Battery
from forgetcheck.clip.features.cache import FeatureCache
from forgetcheck.clip.features.runtime import Engine
from forgetcheck.clip.features.text_pass import ROUNDING
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.checkpoint import GUESS, Checkpoint
from forgetcheck.clip.model.heads import Classifier, class_embeddings
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.clip.saving.convert import read_clip
from forgetcheck.clip.saving.run_folder import Run, write_run
from forgetcheck.clip.saving.write import write_clip
from forgetcheck.errors import InputError, Terminated
from forgetcheck.retention.answers import SkippedQuestion, read_audit, write_audit
from forgetcheck.retention.pins import found_pins
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import make_report
from forgetcheck.retention.verdict import Verdict
from forgetcheck.tasks.base import Task, Unreadable
from forgetcheck.tasks.drawn import Drawn
from forgetcheck.tasks.folder import Folder

pytestmark = pytest.mark.slow

SMALL = Battery("small", {name: catalog.build("tasks", f"drawn:family={name}") for name in ("shape", "size")})


def test_a_model_against_itself_forgets_exactly_nothing():
    report = make_report(audit(TINY, [TINY], SMALL, device="cpu"), Policy(allow_identical=True))
    assert report.passed
    assert {f.verdict for f in report.findings} == {Verdict.RETAINED}
    assert all((f.retention.drop, f.retention.low, f.retention.high) == (0, 0, 0) for f in report.findings)


def test_the_same_weights_without_the_shortcut_also_forget_nothing():
    answers = audit(TINY, [TINY], SMALL, device="cpu").answers
    assert answers
    for item in answers:
        assert np.array_equal(item.base.label, item.tuned.label)
        assert np.array_equal(item.base.confidence, item.tuned.confidence)


def test_a_scrambled_image_tower_is_caught(tmp_path):
    report = make_report(
        audit(TINY, [changed(tmp_path, "scrambled", scramble)], SMALL, device="cpu"), Policy()
    )
    assert not report.passed
    assert {f.verdict for f in report.tasks()} == {Verdict.FORGOT}


def test_a_base_at_chance_never_knew(tmp_path):
    scrambled = changed(tmp_path, "scrambled", scramble)
    report = make_report(audit(scrambled, [scrambled, TINY], SMALL, ["zero-shot"], device="cpu"), Policy())
    gained = [f.verdict for f in report.tasks("tiny")]
    assert set(gained) == {Verdict.GAINED}
    other = changed(tmp_path, "other", lambda w: (scramble(w), move_text(w)))
    lost = make_report(audit(scrambled, [other], SMALL, ["zero-shot"], device="cpu"), Policy())
    assert Verdict.NEVER_KNEW in {f.verdict for f in lost.tasks()}


def test_a_moved_text_tower_is_asked_about_separately(tmp_path):
    answers = audit(TINY, [changed(tmp_path, "text", move_text), TINY], SMALL, PROBES, device="cpu").answers
    asked = {(a.checkpoint, a.probe): a for a in answers if a.task == "shape"}
    assert ("text", "zero-shot:text=base") in asked
    assert ("tiny", "zero-shot:text=base") not in asked  # the same text towers: nothing to ask
    own, borrowed, linear = (asked["text", probe] for probe in PROBES[:3])
    assert (own.tuned.label != own.labels).mean() > 0.3
    assert np.array_equal(borrowed.tuned.label, borrowed.base.label)
    assert (own.identical, borrowed.identical, linear.identical) == (False, True, True)


def stopping(at, by):
    """A progress that stops the audit when it comes to a task."""

    def progress(_stage, _done, _total, note=""):
        if note.startswith(at):
            raise by

    return progress


@pytest.mark.parametrize(("by", "name"), [(KeyboardInterrupt(), "Ctrl-C"), (Terminated(143), "SIGTERM")])
def test_who_stops_an_audit_keeps_what_was_answered(by, name):
    whole = audit(TINY, [TINY], SMALL, ["zero-shot", "linear", "head"], "cpu")
    found = audit(
        TINY, [TINY], SMALL, ["zero-shot", "linear", "head"], "cpu", stopping("size", by), keep=True
    )
    assert found.stopped == name
    asked = [(item.task, item.probe) for item in found.answers]
    assert asked == [("shape", "zero-shot"), ("shape", "linear")]
    assert [(item.task, item.probe) for item in found.unasked] == [("size", "zero-shot"), ("size", "linear")]
    assert {item.role for item in found.unasked} == {"stopped"}
    assert found.unasked[0].why == f"the audit was stopped before it was asked ({name})"
    for here, there in zip(found.answers, whole.answers, strict=False):
        assert np.array_equal(here.tuned.label, there.tuned.label)
    assert found.provenance["battery"]["data"].keys() == SMALL.tasks.keys()
    assert not make_report(found, Policy(allow_identical=True)).passed


def test_the_answers_of_a_task_that_was_begun_are_kept(monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("forgetcheck.probes.linear.Linear.answer", stop)
    found = audit(TINY, [TINY], SMALL, ["zero-shot", "linear"], "cpu", keep=True)
    assert [(item.task, item.probe) for item in found.answers] == [("shape", "zero-shot")]
    left = [(item.task, item.probe) for item in found.unasked]
    assert left == [("shape", "linear"), ("size", "zero-shot"), ("size", "linear")]


@pytest.mark.parametrize(("at", "keep"), [("shape", True), ("size", False)])
def test_an_audit_ends_as_python_does_where_nothing_was_answered_or_nobody_keeps_it(at, keep):
    with pytest.raises(KeyboardInterrupt):
        audit(TINY, [TINY], SMALL, ["zero-shot"], "cpu", stopping(at, KeyboardInterrupt()), keep=keep)


def test_who_stops_an_audit_twice_keeps_nothing():
    def progress(_stage, _done, _total, note=""):
        if note.startswith("size"):
            try:
                raise KeyboardInterrupt
            finally:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit(TINY, [TINY], SMALL, ["zero-shot"], "cpu", progress, keep=True)


def interpolate(weights):
    """Change the image tower, and the text tower by rounding, as WiSE-FT does."""
    for name, value in weights.items():
        if not name.startswith("visual."):
            weights[name] = (1 - 0.4) * value + 0.4 * value
    weights["visual.proj"] = weights["visual.proj"] * 0.9


def shift_a_little(weights):
    """Change the text tower by more than rounding, and no answer."""
    weights["text_projection"] = weights["text_projection"] + 1e-3


@pytest.mark.parametrize(("change", "by_rounding"), [(interpolate, True), (shift_a_little, False)])
def test_texts_that_change_no_answer_are_asked_about_once(tmp_path, change, by_rounding):
    tuned, task = changed(tmp_path, "tuned", change), SMALL.tasks["shape"]
    read = [
        class_embeddings(load_encoder(each, "cpu"), task.class_names, task.templates)
        for each in (tuned, TINY)
    ]
    distance = float((read[0] - read[1]).abs().max())
    assert distance > 0
    assert (distance <= ROUNDING) is by_rounding
    specs = ("zero-shot", "zero-shot:text=base", "zero-shot:top=2", "zero-shot:text=base,top=2")
    found = audit(TINY, [tuned], SMALL, specs, device="cpu")
    asked = [(item.task, item.probe) for item in found.answers]
    assert asked == [(task, spec) for task in SMALL.tasks for spec in specs[::2]]
    assert not any(item.identical for item in found.answers)


def test_the_base_texts_are_asked_about_in_every_task_or_in_none():
    """The mean over the tasks alone that happen to differ would be another, harsher question."""
    same, other = {"a": (5, 1, 0, 0), "b": (4, 0, 0, 0)}, {"a": (4, 2, 0, 0), "b": (4, 0, 0, 0)}
    own, base = "zero-shot", "zero-shot:text=base"

    def asked(**tasks):
        found = [
            item
            for task, (first, second) in tasks.items()
            for item in (make_answers(first, "x", task, own), make_answers(second, "x", task, base))
        ]
        probes = {spec: catalog.build("probes", spec) for spec in (own, base)}
        return [(item.task, item.probe) for item in without_repeats(found, probes)]

    assert asked(one=(same, same), two=(same, same)) == [("one", own), ("two", own)]
    assert asked(one=(same, same), two=(same, other)) == [
        ("one", own), ("one", base), ("two", own), ("two", base)
    ]  # fmt: skip


def test_the_base_texts_alone_are_never_left_out():
    item = make_answers({"a": (5, 1, 0, 0), "b": (4, 0, 0, 0)}, "x", "one", "zero-shot:text=base")
    probes = {item.probe: catalog.build("probes", item.probe), "linear": catalog.build("probes", "linear")}
    assert without_repeats([item], probes) == [item]


def test_what_neither_texts_could_ask_is_told_once():
    probes = {spec: catalog.build("probes", spec) for spec in ("zero-shot", "zero-shot:text=base")}
    first, second = (SkippedQuestion("x", "one", spec, "no data.") for spec in probes)
    assert without_repeats([first, second], probes) == [first]
    answered = make_answers({"a": (5, 1, 0, 0), "b": (4, 0, 0, 0)}, "x", "one", "zero-shot:text=base")
    assert without_repeats([first, answered], probes) == [first, answered]


def test_one_question_in_two_words_is_refused():
    with pytest.raises(InputError, match="--probe zero-shot:text=own asks the same as zero-shot: leave one"):
        audit(TINY, [TINY], SMALL, ["zero-shot", "zero-shot:text=own"], device="cpu")


def test_several_checkpoints_share_one_base_and_one_order(tmp_path, monkeypatch):
    import forgetcheck.auditing.audit as module

    seen = []
    original = module.encode_task
    monkeypatch.setattr(
        module, "encode_task", lambda *args: seen.append([e.name for e in args[2]]) or original(*args)
    )
    answers = audit(TINY, [TINY, changed(tmp_path, "scrambled", scramble)], SMALL, device="cpu").answers
    assert seen == [["tiny", "tiny", "scrambled"]] * 2
    shapes = [a for a in answers if a.task == "shape" and a.probe == "linear"]
    assert shapes[0].base is shapes[1].base
    assert np.array_equal(shapes[0].labels, shapes[1].labels)


def test_the_choice_of_the_linear_probe_is_recorded():
    (answers,) = audit(
        TINY, [TINY], Battery("one", {"size": SMALL.tasks["size"]}), ["linear"], device="cpu"
    ).answers
    notes = answers.base.notes
    assert notes["strength"] in {float(s) for s in notes["held_out_accuracy"]}
    assert notes["converged"]
    assert notes["gradient"] <= 1e-5


def test_a_probe_that_did_not_converge_warns(monkeypatch):
    monkeypatch.setattr("forgetcheck.probes.logistic.MAX_ITERATIONS", 1)
    (answers,) = audit(
        TINY, [TINY], Battery("one", {"size": SMALL.tasks["size"]}), ["linear"], device="cpu"
    ).answers
    assert "short of its tolerance" in answers.warnings[0]


def test_models_that_differ_in_more_than_weights_are_refused():
    other = {**TINY.config, "model_cfg": {**TINY.config["model_cfg"], "quick_gelu": True}}
    with pytest.raises(InputError, match="activation: GELU against QuickGELU"):
        audit(TINY, [replace(TINY, config=other)], SMALL)
    brighter = {**TINY.config, "preprocess_cfg": {**TINY.config["preprocess_cfg"], "mean": [0, 0, 0]}}
    with pytest.raises(InputError, match="mean"):
        mismatch(TINY, replace(TINY, config=brighter), allowed=False)
    as_tuple = {**TINY.config, "preprocess_cfg": {**TINY.config["preprocess_cfg"], "mean": (0.5,) * 3}}
    assert mismatch(TINY, replace(TINY, config=as_tuple), allowed=False) == ()


def test_nothing_to_ask_is_refused():
    with pytest.raises(InputError, match="no tuned checkpoint"):
        audit(TINY, [], SMALL)
    with pytest.raises(InputError, match="nothing was measured"):
        audit(TINY, [TINY], SMALL, ["zero-shot:text=base"], device="cpu")


def test_checkpoints_of_one_name_are_numbered():
    make = lambda name: Checkpoint(name, {}, None)  # noqa: E731
    named = lambda *names: distinct_names(make("base"), list(map(make, names)))[1:]  # noqa: E731
    assert named("a", "b", "a") == ["a-1", "b", "a-2"]
    assert named("a", "a", "a-1") == ["a-2", "a-3", "a-1"]
    assert named("a-1", "a", "a-1", "a") == ["a-1-1", "a-2", "a-1-2", "a-3"]


@pytest.fixture
def tuned(tmp_path):
    """Write tiny as a run folder that was tuned on the shapes."""
    task = catalog.build("tasks", "drawn:family=shape")
    facts = {
        "base": {"digest": ""},
        "task": {"source": "drawn:family=shape", "class_names": list(task.class_names)},
        "regularizer": {"spec": "ldifs"},
        "schedule": {"seed": 0},
    }
    weights = load_encoder(TINY, "cpu").weights
    write_run(tmp_path / "run", Run(TINY.config, weights, torch.ones(len(task.class_names), 128), [], facts))
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("head", "hint"),
    [
        (torch.ones(3, 128), "not \\(7, 128\\)"),
        (torch.ones(7, 5), "not \\(7, 128\\)"),
        (torch.ones(7), "damaged"),
        (torch.ones(7, 128, dtype=torch.int32), "damaged"),
        (torch.full((7, 128), torch.nan), "damaged"),
    ],
)
def test_a_head_that_does_not_fit_its_task_is_refused(tuned, head, hint):
    save_file({"weight": head}, tuned / "head.safetensors")
    with pytest.raises(InputError, match=hint):
        audit(TINY, [find_checkpoint(str(tuned))], SMALL, ["zero-shot"], "cpu")


def test_a_run_tuned_on_other_classes_is_refused(tuned):
    text = (tuned / "tune.json").read_text()
    (tuned / "tune.json").write_text(text.replace("circle", "disc"))
    with pytest.raises(InputError, match="other classes"):
        audit(TINY, [find_checkpoint(str(tuned))], SMALL, ["zero-shot"], "cpu")


@dataclass(frozen=True)
class Untrained(Task):
    """A drawn task of which one class has no train images: the linear probe can't be put."""

    class_names = catalog.build("tasks", "drawn:family=shape").class_names
    templates = ("{}",)

    def split(self, name):
        split = catalog.build("tasks", "drawn:family=shape").split(name)
        return split.take(np.flatnonzero(split.labels != 0)) if name == "train" else split


@dataclass(frozen=True)
class Empty(Untrained):
    """A task whose folder turned out to be empty."""

    def split(self, name):
        return super().split(name).take(np.arange(0))


def test_what_cannot_be_asked_is_recorded_with_the_reason_and_the_rest_goes_on():
    found = audit(TINY, [TINY], Battery("odd", {"odd": Untrained(), "empty": Empty(), **SMALL.tasks}))
    assert {item.task for item in found.answers} == {"odd", "shape", "size"}
    assert [(item.task, item.probe) for item in found.unasked] == [
        ("odd", "linear"),
        ("empty", "zero-shot"),
        ("empty", "linear"),
    ]
    assert "no train images" in found.unasked[0].why
    assert "nothing would be measured" in found.unasked[1].why
    assert not make_report(found, Policy()).passed


def test_if_nothing_can_be_asked_the_reason_is_told():
    with pytest.raises(InputError, match=r"nothing was measured.*no test images"):
        audit(TINY, [TINY], Battery("odd", {"empty": Empty()}), ("zero-shot",))


def test_a_tuned_model_that_breaks_leaves_the_others_standing(tmp_path):
    """Its logits are not finite; the base and the other checkpoint are asked all the same."""
    broken = changed(tmp_path, "broken", lambda weights: weights["logit_scale"].fill_(1e9))
    found = audit(TINY, [TINY, broken], SMALL, ("zero-shot",))
    assert {item.checkpoint for item in found.answers} == {"tiny"}
    assert {item.checkpoint for item in found.unasked} == {"broken"}


def test_lost_samples_are_kept_to_look_at(tmp_path):
    found = audit(TINY, [changed(tmp_path, "bad", scramble)], SMALL, ("zero-shot",), pictures=4)
    assert len(found.gallery) == 4
    assert {item.checkpoint for item in found.gallery} == {"bad"}
    assert found.gallery[0].image.startswith(b"\x89PNG")
    assert audit(TINY, [TINY], SMALL, ("zero-shot",), pictures=4).gallery == ()


def as_quick(checkpoint):
    model = {**checkpoint.config["model_cfg"], "quick_gelu": True}
    return replace(checkpoint, config={**checkpoint.config, "model_cfg": model})


def test_an_allowed_mismatch_is_in_every_answer_and_in_the_provenance():
    found = audit(TINY, [as_quick(TINY)], SMALL, ("zero-shot",), "cpu", allow_mismatch=True)
    assert all("activation: GELU against QuickGELU" in item.warnings[0] for item in found.answers)
    assert not any(item.identical for item in found.answers)  # the weights are, the models aren't
    assert found.provenance["tuned"]["tiny"]["mismatch"] == ["activation: GELU against QuickGELU"]


def test_a_doubted_activation_is_refused_or_recorded(monkeypatch):
    monkeypatch.setattr("forgetcheck.auditing.candidates.doubt_activation", lambda *_: "'tiny' is odd.")
    with pytest.raises(
        InputError, match=r"'tiny' is odd\. Pass --model NAME, correct its config, or --allow"
    ):
        audit(TINY, [TINY], SMALL, ("zero-shot",), "cpu")
    found = audit(TINY, [TINY], SMALL, ("zero-shot",), "cpu", allow_mismatch=True)
    assert all(item.warnings == ("'tiny' is odd.",) for item in found.answers)
    assert all(item.identical for item in found.answers)


def test_passports_are_in_the_provenance(tmp_path):
    found = audit(TINY, [changed(tmp_path, "x", scramble)], SMALL, ("zero-shot",), "cpu").provenance
    assert found["base"]["passport"]["activation"] == "GELU"
    assert found["tuned"]["x"]["passport"]["inferred"]["architecture"] == "the other checkpoint of the pair"
    assert found["tuned"]["x"]["passport"]["digests"] == found["tuned"]["x"]["digest"]


def test_an_image_tower_alone_is_said_in_the_report(tmp_path):
    weights = {k: v.detach() for k, v in load_encoder(TINY, "cpu").weights.items() if k.startswith("visual.")}
    save_file(weights, tmp_path / "image.safetensors")
    tuned = find_checkpoint(str(tmp_path / "image.safetensors"), like=TINY)
    found = audit(TINY, [tuned], SMALL, ("zero-shot",), "cpu")
    assert all(item.warnings == ("the file holds an image tower only: the text tower is the base's",)
               for item in found.answers)  # fmt: skip
    assert all(item.identical for item in found.answers)


def test_a_head_found_in_a_file_answers_for_its_target(tmp_path):
    """As wise-ft, FLYP and their kin save it; whose classes it has must be told."""
    encoder = load_encoder(TINY, "cpu")
    task = SMALL.tasks["shape"]
    head = encoder.scale * class_embeddings(encoder, task.class_names, task.templates)
    weights = {f"image_encoder.model.{name}": value.detach() for name, value in encoder.weights.items()}
    bias = torch.zeros(len(head))
    bias[2] = 100.0  # so that the head says one class only
    weights |= {"classification_head.weight": head, "classification_head.bias": bias}
    torch.save(weights, tmp_path / "tuned.pt")
    tuned = find_checkpoint(str(tmp_path / "tuned.pt"), like=TINY)
    untold = audit(TINY, [tuned], SMALL, ("zero-shot",), "cpu")
    assert {item.probe for item in untold.answers} == {"zero-shot"}
    assert any("name its task with --target" in warning for warning in untold.answers[0].warnings)
    assert untold.provenance["tuned"]["tuned"]["passport"]["head"] == [7, 128]
    for target in ("drawn:family=shape", "shape"):
        found = audit(TINY, [tuned], SMALL, ("zero-shot",), "cpu", target=target)
        (answer,) = (item for item in found.answers if item.probe == "head")
        assert (answer.task, answer.target) == (target, True)
        assert set(answer.tuned.label) == {2}
    with pytest.raises(InputError, match=r"head of 'tuned' is \(7, 128\), not \(10, 128\)"):
        audit(TINY, [tuned], SMALL, ("zero-shot",), "cpu", target="digits")


def test_a_target_that_nothing_is_asked_about_is_refused():
    with pytest.raises(InputError, match=r"--target digits: no task .* one of its tasks \(shape, size\)"):
        audit(TINY, [TINY], SMALL, ("zero-shot",), "cpu", target="digits")


@pytest.mark.parametrize("target", ["shape", "drawn:family=shape", "drawn"])
def test_a_target_without_a_head_counts_as_gain_and_not_in_the_mean(tmp_path, target):
    scrambled = changed(tmp_path, "scrambled", scramble)
    found = audit(TINY, [scrambled], SMALL, ("zero-shot",), "cpu", target=target)
    assert {item.task: item.target for item in found.answers} == {"shape": True, "size": False}
    report = make_report(found, Policy())
    assert report.target("scrambled").retention.task == "shape"
    assert [mean.tasks for mean in report.means] == [1]


def test_a_run_folder_knows_its_target_better_than_the_command(tuned):
    found = audit(TINY, [find_checkpoint(str(tuned))], SMALL, ("zero-shot",), "cpu", target="size")
    targets = {(item.task, item.probe): item.target for item in found.answers}
    assert targets == {
        ("shape", "zero-shot"): True,
        ("size", "zero-shot"): False,
        ("drawn:family=shape", "head"): True,
    }


def candidate(source, head=True):
    """A candidate as far as planning looks at it."""
    task, own = catalog.build("tasks", source), Classifier(torch.ones(2, 2)) if head else None
    return Candidate(source, TINY, encoder=None, source=source, target=task, head=own)


def planned(candidates, probes):
    jobs = plan(candidates, SMALL, {spec: catalog.build("probes", spec) for spec in probes})
    return [(job.name, [each.name for each in job.candidates], list(job.every)) for job in jobs]


def test_each_head_is_asked_once():
    spelled, short, digits = map(candidate, ("drawn:family=shape", "drawn", "digits"))
    battery = planned([], ["zero-shot"])
    assert planned([spelled, digits, short], ["zero-shot"])[len(battery) :] == [
        ("drawn:family=shape", ["drawn:family=shape", "drawn"], ["head"]),  # the same task, in other words
        ("digits", ["digits"], ["head"]),
    ]
    # what the battery asks heads about isn't asked again
    assert planned([spelled, digits], ["head"])[len(battery) :] == [("digits", ["digits"], ["head"])]
    assert len(planned([candidate("digits", head=False)], ["zero-shot"])) == len(battery)


def test_a_head_that_the_battery_is_asked_about_is_no_question_twice(tuned, tmp_path):
    battery = Battery("named", {"drawn:family=shape": SMALL.tasks["shape"]})
    found = audit(TINY, [find_checkpoint(str(tuned))], battery, ("head",), "cpu")
    write_audit(tmp_path / "audit", found)
    assert len(read_audit(tmp_path / "audit").answers) == 1


def test_a_checkpoint_is_called_so_that_it_hides_no_other(tmp_path):
    for folder in ("old", "new", "newer"):
        (tmp_path / folder).mkdir()
    one, *others = (
        changed(tmp_path, f"{folder}/model", lambda weights: None) for folder in ("old", "new", "newer")
    )
    found = audit(one, others, SMALL, ("zero-shot",), "cpu")
    assert {item.checkpoint for item in found.answers} == {"new/model", "newer/model"}
    assert found.provenance["base"]["name"] == found.provenance["base"]["passport"]["name"] == "old/model"
    tuned = found.provenance["tuned"]
    assert {name: facts["name"] for name, facts in tuned.items()} == {name: name for name in tuned}


def test_a_date_that_cannot_be_stored_is_refused_before_the_work(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    monkeypatch.setattr("forgetcheck.auditing.audit.load", lambda *_: pytest.fail("loaded"))
    with pytest.raises(InputError, match="SOURCE_DATE_EPOCH=yesterday"):
        audit(TINY, [TINY], SMALL, ("zero-shot",), "cpu")


def test_a_tuned_model_is_doubted_as_well(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "forgetcheck.auditing.candidates.doubt_activation", lambda c, *_: asked.append(c.name) or ""
    )
    audit(TINY, [TINY, changed(tmp_path, "x", scramble)], SMALL, ("zero-shot",), "cpu")
    assert asked == ["tiny", "x"]  # the second is the base itself


def test_what_was_guessed_or_assumed_of_a_model_is_in_the_report(tmp_path):
    guess = replace(TINY, inferred={**TINY.inferred, "preprocessing": f"{GUESS}: nobody knows"})
    found = audit(guess, [changed(tmp_path, "x", scramble)], SMALL, ("zero-shot",), "cpu")
    assert all(f"base: its preprocessing is {GUESS}: nobody knows" in item.warnings for item in found.answers)


def test_what_the_reading_assumed_is_in_the_report(monkeypatch):
    original = load_encoder

    def assuming(*arguments):
        encoder = original(*arguments)
        return replace(encoder, origin=replace(encoder.origin, doubts=("Something is assumed.",)))

    monkeypatch.setattr("forgetcheck.auditing.candidates.load_encoder", assuming)
    found = audit(TINY, [TINY], SMALL, ("zero-shot",), "cpu")
    assert all(item.warnings == ("base: Something is assumed.",) for item in found.answers)


@dataclass(frozen=True)
class Torn(Task):
    """Drawn shapes of which every tenth can't be read."""

    tolerated = 0.1
    class_names = Drawn().class_names
    templates = Drawn().templates

    def split(self, name):
        part = Drawn().split(name)

        def image(place):
            if place % 10 == 0:
                raise Unreadable("truncated")
            return part.image(place)

        return replace(part, image=image)


def test_what_cannot_be_read_is_left_out_told_and_never_shown(tmp_path):
    scrambled = changed(tmp_path, "scrambled", scramble)
    found = audit(TINY, [scrambled], Battery("torn", {"t": Torn()}), ["linear"], device="cpu", pictures=5)
    (item,) = found.answers
    assert len(item.labels) == len(item.tuned.label) == 540
    assert [text[:50] for text in item.warnings] == [
        "left out: of 400 train images 40 can't be read (sh",
        "left out: of 600 test images 60 can't be read (sha",
    ]
    ids = [f"shape/test/{place}" for place in range(600) if place % 10]
    assert len(found.gallery) == 5
    for lost in found.gallery:
        place = ids.index(lost.sample)
        assert item.class_names[item.labels[place]] == lost.concept
        assert item.base.label[place] == item.labels[place] != item.tuned.label[place]


def test_a_second_candidate_costs_its_own_pass_and_a_cached_audit_is_the_same(tmp_path):
    engine = Engine(FeatureCache(tmp_path / "cache", warn=pytest.fail))
    scrambled = changed(tmp_path, "scrambled", scramble)
    once = audit(TINY, [TINY], SMALL, device="cpu", engine=engine)
    passes = len(engine.cache.made)
    audit(TINY, [TINY, scrambled], SMALL, device="cpu", engine=engine)
    # two parts of two tasks; and, once, some images and the prompts of both under either activation
    assert len(engine.cache.made) - passes == 4 + 6
    again = audit(TINY, [TINY], SMALL, device="cpu", engine=Engine(FeatureCache(tmp_path / "cache")))
    plain = audit(TINY, [TINY], SMALL, device="cpu")
    for one, other, third in zip(once.answers, again.answers, plain.answers, strict=True):
        assert np.array_equal(one.base.confidence, other.base.confidence)
        assert np.array_equal(one.base.confidence, third.base.confidence)


def test_captions_of_one_image_count_as_a_cluster_in_the_report(tmp_path):
    scrambled = changed(tmp_path, "scrambled", scramble)
    battery = Battery("told", {"told": Told(per_class=2)})
    found = audit(
        TINY, [scrambled], battery, probes=("retrieval:to=text", "retrieval:to=image"), device="cpu"
    )
    images, captions = (finding.retention for finding in make_report(found, Policy()).tasks())
    assert images.clusters is None
    assert (captions.clusters, captions.n) == (images.n, 2 * images.n)
    assert f"{captions.n} samples in {images.n} clusters" in " ".join(captions.warnings)


PHOTOS = {"train": 6, "test": 8}


def photos(tmp_path, parts=None, **options):
    parts = PHOTOS if parts is None else parts
    sources.folder(tmp_path / "photos", parts, options.pop("names", tuple(sources.COLOURS)))
    return Battery("photos", {"photos": Folder(str(tmp_path / "photos"), **options)})


def warned(found):
    return {item.probe: item.warnings for item in found.answers}


def test_what_needs_no_train_images_is_asked_where_there_are_none(tmp_path):
    found = audit(TINY, [TINY], photos(tmp_path, {"test": 8}), device="cpu")
    assert [item.probe for item in found.answers] == ["zero-shot"]
    assert found.unasked == ()
    assert warned(found)["zero-shot"] == ("not asked: linear, because the task has no train images",)
    with pytest.raises(InputError, match="has no train part"):
        audit(TINY, [TINY], photos(tmp_path, {}), ("linear",), device="cpu")


def test_equal_images_under_two_labels_are_told(tmp_path):
    battery = photos(tmp_path)
    shutil.copy(tmp_path / "photos/test/red fox/image 0.png", tmp_path / "photos/test/blue_jay/again.png")
    for told in warned(audit(TINY, [TINY], battery, device="cpu")).values():
        assert told == (
            "labels: 1 test images are equal to another with another label, such as one of 'blue jay' and "
            "one of 'red fox': whatever is answered, one is wrong",
        )


def test_test_images_that_lie_in_train_are_told(tmp_path):
    """By what the model sees: a copy that was saved otherwise is the same image to it."""
    assert set(warned(audit(TINY, [TINY], photos(tmp_path), device="cpu")).values()) == {()}
    Image.open(tmp_path / "photos/test/red fox/image 0.png").save(tmp_path / "photos/train/red fox/again.bmp")
    shutil.copy(tmp_path / "photos/test/red fox/image 1.png", tmp_path / "photos/train/blue_jay/again.png")
    battery = photos(tmp_path)
    told = warned(audit(TINY, [TINY], battery, device="cpu"))
    assert set(told) >= {"zero-shot", "linear"}
    for each in told.values():
        assert each == (
            "images: 2 test images are in train as well, as the model sees them: 'test/red fox/image 0.png' "
            "and 'train/red fox/again.bmp', 'test/red fox/image 1.png' and 'train/blue_jay/again.png' "
            "(1 with another label there); remove one of each",
        )
    assert set(warned(audit(TINY, [TINY], battery, ("zero-shot",), device="cpu")).values()) == {()}


def test_names_that_the_model_reads_alike_are_told(tmp_path):
    """forgetcheck:tiny reads 16 tokens: what differs after them doesn't differ."""
    long = "red fox that stands in a very deep wood under a tree by the lake at"
    battery = photos(tmp_path, names=(f"{long} night", f"{long} dawn", f"{long} noon", "blue_jay"))
    told = warned(audit(TINY, [TINY], battery, device="cpu"))
    assert "labels" not in str(told["linear"])
    (said,) = told["zero-shot"]
    assert said.startswith("2 class names read the same as another to the model, such as ")


def test_labels_that_no_one_would_defend_are_told(tmp_path):
    battery = photos(tmp_path, names=("red fox", "nan", "blue_jay"))
    assert (
        "labels: 'nan' reads like a missing label"
        in warned(audit(TINY, [TINY], battery, device="cpu"))["linear"][0]
    )


def photo_run(tmp_path, source, **task):
    names = list(Folder(str(tmp_path / "photos")).class_names)
    facts = {
        "base": {"digest": ""},
        "task": {"source": source, "class_names": names, **task},
        "regularizer": {"spec": "ldifs"},
        "schedule": {"seed": 0},
    }
    head = torch.ones(len(names), 128)
    write_run(tmp_path / "run", Run(TINY.config, load_encoder(TINY, "cpu").weights, head, [], facts))
    return find_checkpoint(str(tmp_path / "run"))


@pytest.mark.parametrize("spelled", ["relative", "dotted", "linked", "copied"])
def test_the_target_is_known_however_its_path_is_spelled(tmp_path, monkeypatch, spelled):
    battery = photos(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    if spelled == "copied":
        shutil.copytree(tmp_path / "photos", tmp_path / "copy")
    path = {"relative": "photos", "dotted": "./x/../photos", "linked": "link", "copied": "copy"}[spelled]
    (tmp_path / "x").mkdir()
    found = audit(TINY, [photo_run(tmp_path, f"folder:path={path}")], battery, ("zero-shot",), device="cpu")
    assert {(item.probe, item.target) for item in found.answers} == {("zero-shot", True), ("head", True)}


def test_other_images_of_the_same_names_are_no_target(tmp_path, monkeypatch):
    battery = photos(tmp_path)
    monkeypatch.chdir(tmp_path)
    sources.folder(tmp_path / "others", {"train": 6, "test": 7})
    found = audit(TINY, [photo_run(tmp_path, "folder:path=others")], battery, ("zero-shot",), device="cpu")
    assert [item.target for item in found.answers if item.task == "photos"] == [False]


def test_a_run_is_audited_from_anywhere(tmp_path, monkeypatch):
    """Its paths begin where it was tuned; where its data is gone, only its head can't be asked."""
    battery = photos(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run = photo_run(tmp_path, "folder:path=photos", folder=str(tmp_path))
    found = audit(TINY, [run], battery, ("zero-shot",), device="cpu")
    assert {(item.probe, item.target) for item in found.answers} == {("zero-shot", True), ("head", True)}
    (tmp_path / "photos").rename(tmp_path / "moved")
    found = audit(TINY, [run], SMALL, ("zero-shot",), device="cpu")
    assert {item.task for item in found.answers} == {"shape", "size"}
    (unasked,) = found.unasked
    assert (unasked.task, unasked.probe) == ("folder:path=photos", "head")
    assert "no folder of images at" in unasked.why


def test_twelve_bits_that_are_read_as_sixteen_are_told(tmp_path):
    """Every image is nearly black then; `white` says what they call white."""
    for place, name in enumerate(("circle", "star")):
        for part in ("train", "test"):
            for number in range(8):
                dice = np.random.default_rng([place, number, part == "test"])
                levels = dice.integers(0, 2000 + 2000 * place, (12, 12))
                path = tmp_path / "photos" / part / name / f"{number}{part}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(levels.astype(np.uint16)).save(path)
    folder = Folder(str(tmp_path / "photos"))
    told = warned(audit(TINY, [TINY], Battery("b", {"photos": folder}), device="cpu"))
    assert all("images: the brightest pixel of 16 of the images is 1" in str(each) for each in told.values())
    scaled = Folder(str(tmp_path / "photos"), white=4095)
    told = warned(audit(TINY, [TINY], Battery("b", {"photos": scaled}), device="cpu"))
    assert set(told.values()) == {()}
    dark, bright = (int(np.asarray(each.split("test").image(8)).max()) for each in (folder, scaled))
    assert dark == round(bright * 4095 / 65535)
    digests = {each.split("test").contents() for each in (folder, scaled)}
    assert len(digests) == 2  # or a cache would show the one for the other


@dataclass(frozen=True)
class Untaught(Task):
    """A task whose train images are far away: whoever doesn't need them must not ask for them."""

    class_names = catalog.build("tasks", "drawn:family=shape").class_names
    templates = ("{}",)

    def split(self, name):
        assert name == "test"
        return catalog.build("tasks", "drawn:family=shape").split(name)


def test_train_images_are_not_touched_for_what_does_not_need_them():
    found = audit(TINY, [TINY], Battery("b", {"far": Untaught()}), ("zero-shot",), device="cpu")
    assert [item.probe for item in found.answers] == ["zero-shot"]


def test_the_digest_of_what_is_asked_changes_with_every_image_label_and_name(tmp_path):
    for name in ("one", "two"):
        for part, count in (("train", 2), ("test", 3)):
            for label, colour in enumerate(("red", "blue")):
                for number in range(count):
                    place = tmp_path / name / part / colour / f"{number}.png"
                    place.parent.mkdir(parents=True, exist_ok=True)
                    Image.new("RGB", (8, 8), (10 * number, 200 * label, 0)).save(place)

    def digest():
        return contents_of(Folder(str(tmp_path / "two")))

    first = contents_of(Folder(str(tmp_path / "one")))
    assert first == digest()
    Image.new("RGB", (8, 8), (1, 1, 1)).save(tmp_path / "two" / "train" / "red" / "0.png")
    assert first == digest()  # what is learnt from is no part of it
    place = tmp_path / "two" / "test" / "red" / "0.png"
    place.rename(place.with_name("9.png"))
    moved = digest()
    assert moved != first
    Image.new("RGB", (8, 8), (1, 1, 1)).save(place.with_name("9.png"))
    assert digest() not in (first, moved)


def test_an_audit_records_what_was_asked_of_each_task():
    made = audit(TINY, [TINY], SMALL, probes=["zero-shot"], device="cpu")
    data = made.provenance["battery"]["data"]
    assert data == {name: contents_of(task) for name, task in SMALL.tasks.items()}
    assert all(len(each) == 64 for each in data.values())
    assert len(set(data.values())) == 2
    assert all(all(found) for name, found in found_pins(made).items() if name != "audit")


def test_a_text_tower_that_gives_zeros_is_not_measured(tmp_path):
    """Every class would be as near as any other, and the first would win in silence."""
    broken = changed(tmp_path, "w", lambda weights: weights["text_projection"].zero_())
    with pytest.raises(InputError, match="'w' reads prompts as zeros"):
        audit(TINY, [broken], SMALL, ["zero-shot"], "cpu")


def test_a_class_without_test_images_is_told(tmp_path):
    sources.folder(tmp_path / "data", {"train": 3, "test": 3}, ("circle", "line", "square"))
    shutil.rmtree(tmp_path / "data" / "test" / "line")
    task = Folder(str(tmp_path / "data"))
    found = audit(TINY, [TINY], Battery("x", {"t": task}), ["zero-shot"], "cpu")
    assert any("1 of 3 classes have no test images, such as 'line'" in w for w in found.answers[0].warnings)


def test_weights_that_their_own_header_denies_are_doubted(tmp_path):
    """A flipped bit of safetensors shows nowhere else."""
    write_clip(tmp_path / "w.safetensors", read_clip("forgetcheck:tiny").clip, "safetensors")
    data = bytearray((tmp_path / "w.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "w.safetensors").write_bytes(data)
    found = audit(TINY, [find_checkpoint(str(tmp_path / "w.safetensors"))], SMALL, ["zero-shot"], "cpu")
    assert any("records other weights: it is damaged" in w for w in found.answers[0].warnings)


def test_a_text_tower_of_zeros_loses_no_question_that_another_reads(tmp_path):
    """With the base's texts the images are asked all the same; of texts that nobody reads nothing is said."""
    broken = changed(tmp_path, "w", lambda weights: weights["text_projection"].zero_())
    found = audit(TINY, [broken], SMALL, ["zero-shot", "zero-shot:text=base", "linear"], "cpu")
    assert {item.probe for item in found.answers} == {"zero-shot:text=base", "linear"}
    assert {item.probe for item in found.unasked} == {"zero-shot"}
    assert not any("read the same" in warning for item in found.answers for warning in item.warnings)


def test_classes_that_only_the_tuned_text_tower_confuses_are_told(tmp_path):
    def collapse(weights):
        weights["ln_final.weight"].zero_()  # every text becomes one direction

    collapsed = changed(tmp_path, "w", collapse)
    found = audit(TINY, [collapsed], SMALL, ["zero-shot"], "cpu")
    for item in found.answers:
        assert any("read the same as another to the tuned model" in warning for warning in item.warnings)
