"""Candidates: names that hide no model, what words tell unread, and what files say of their making."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from forgetcheck import catalog
from forgetcheck.auditing import candidates
from forgetcheck.auditing.candidates import (
    Target,
    distinct_names,
    find_target,
    foresee,
    lineage_of,
    model_facts,
    told_apart,
)
from forgetcheck.batteries.battery import Battery
from forgetcheck.batteries.overrides import Stated
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.checkpoint import TINY_FOLDER, WEIGHTS, Checkpoint
from forgetcheck.clip.saving.run_folder import Run, tuned_clip, write_run
from forgetcheck.clip.saving.write import Clip, write_clip
from forgetcheck.errors import InputError

SHAPE, DIGITS = catalog.build("tasks", "drawn:family=shape"), catalog.build("tasks", "digits")
BATTERY = Battery("small", {"shape": SHAPE, "own": Stated(DIGITS, "own", own_names=tuple("abcdefghij"))})
TINY = Checkpoint("tiny", {}, TINY_FOLDER / WEIGHTS)


def file(path):
    return Checkpoint(Path(path).stem, {}, Path(path))


def folder(path):
    return Checkpoint(Path(path).name, {}, Path(path) / WEIGHTS)


def tag(name):
    return Checkpoint(name, {}, None, tag=tuple(name.split(":")))


def named(base, *tuned):
    return distinct_names(base, tuned)


@pytest.mark.parametrize(
    ("checkpoints", "names"),
    [
        ((TINY, file("x/model.pt"), file("runs/best.pt")), ["tiny", "model", "best"]),
        ((TINY, file("x/model.pt"), file("y/model.pt")), ["tiny", "x/model", "y/model"]),
        ((file("old/model.pt"), file("new/model.pt")), ["old/model", "new/model"]),
        ((file("old/model.pt"), file("new/model.safetensors")), ["old/model", "new/model"]),
        (
            (TINY, file("a/x/model.pt"), file("b/x/model.pt"), file("y/model.pt")),
            ["tiny", "a/x/model", "b/x/model", "y/model"],
        ),
        ((file("d/model.pt"), file("d/model.safetensors")), ["model.pt", "model.safetensors"]),
        (
            (TINY, file("x/m.pt"), file("x/m.bin"), file("y/m.pt")),
            ["tiny", "x/m.pt", "x/m.bin", "y/m"],
        ),
        ((TINY, folder("a/run"), folder("b/run")), ["tiny", "a/run", "b/run"]),
        ((TINY, folder("a/run"), file("a/run.pt")), ["tiny", "run", "run.pt"]),
        ((TINY, folder("a/v1.5"), folder("b/v1.5"), file("a/v1.pt")), ["tiny", "a/v1.5", "b/v1.5", "v1"]),
        ((tag("ViT-B-32:openai"), tag("ViT-B-32:openai")), ["ViT-B-32:openai"] * 2),
        ((TINY, tag("a:b"), tag("a:b")), ["tiny", "a:b-1", "a:b-2"]),
        ((TINY, TINY), ["tiny", "tiny"]),  # against itself: nothing is hidden
        ((TINY, TINY, TINY), ["tiny", "tiny-1", "tiny-2"]),
        ((file("x/m.pt"), file("x/m.pt"), file("y/m.pt")), ["x/m", "x/m", "y/m"]),
        ((TINY, file("x/m.pt"), file("x/../x/m.pt"), file("m-1.pt")), ["tiny", "m-2", "m-3", "m-1"]),
        ((file("m-1.pt"), file("x/m.pt"), file("x/m.pt")), ["m-1", "m-2", "m-3"]),
        ((file("x/m.pt"), file("y/m.pt"), file("y/m.pt")), ["x/m", "y/m-1", "y/m-2"]),
    ],
)
def test_a_name_is_as_short_as_tells_it_from_the_others(checkpoints, names):
    assert named(*checkpoints) == names


def test_a_file_that_is_called_like_the_embedded_model_shows_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert named(TINY, file("tiny.pt")) == ["tiny", f"{tmp_path.name}/tiny"]


def test_a_folder_is_named_as_its_links_lead(monkeypatch, tmp_path):
    for name in ("a/run", "b/run"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "latest").symlink_to("a/run")
    monkeypatch.chdir(tmp_path)
    latest = Checkpoint("run", {}, Path("latest") / WEIGHTS)
    assert named(TINY, latest, folder("b/run")) == ["tiny", "a/run", "b/run"]


def test_checkpoints_carry_their_names_also_as_the_lender_of_a_text_tower():
    base = file("old/model.pt")
    image = replace(file("new/model.pt"), text_from=base)
    anchor, (tuned,) = told_apart(base, [image])
    assert (anchor.name, tuned.name, tuned.text_from.name) == ("old/model", "new/model", "old/model")


def test_a_target_is_a_task_of_the_battery_or_a_source():
    assert find_target("", BATTERY) is None
    assert find_target("shape", BATTERY) == Target("shape", SHAPE)
    assert find_target("own", BATTERY).task.class_names[0] == "a"
    assert find_target("digits", BATTERY) == Target("digits", DIGITS)
    for text, hint in (("digitz", "'digits'"), ("shap", "'shape'"), ("drawn:family=shap", "'shape'")):
        with pytest.raises(InputError, match=f"did you mean {hint}"):
            find_target(text, BATTERY)


@pytest.fixture
def run_folder(tmp_path, tiny):
    """Write tiny as if it had been tuned on the shapes."""
    facts = {
        "base": {"name": "tiny", "digest": {"visual": "before", "text": "before"}},
        "task": {"source": "drawn:family=shape", "class_names": list(SHAPE.class_names)},
        "regularizer": {"spec": "ldifs"},
        "schedule": {"seed": 3},
    }
    weights = {name: value.detach().clone() for name, value in tiny.weights.items()}
    run = Run(tiny.config, weights, torch.ones(len(SHAPE.class_names), 128), [], facts)
    write_run(tmp_path / "run", run)
    write_clip(tmp_path / "run.safetensors", tuned_clip(run), "safetensors")
    return tmp_path / "run"


def test_words_tell_what_run_folders_were_tuned_on(run_folder, tmp_path):
    found = foresee([str(run_folder)], BATTERY, "")
    assert [target.name for target in found.targets] == ["drawn:family=shape"]
    assert (found.told, found.sure, found.heads) == (True, True, True)
    found = foresee([f"local-dir:{run_folder}", "forgetcheck:tiny"], BATTERY, "")
    assert (found.told, found.sure, found.heads) == (False, True, True)
    found = foresee(["forgetcheck:tiny", "a" * 5000], BATTERY, "")
    assert (found.told, found.sure, found.heads) == (False, True, False)
    found = foresee(["hf-hub:somebody/something"], BATTERY, "")
    assert (found.told, found.sure, found.heads) == (True, False, True)  # or may turn out to be
    found = foresee(["forgetcheck:tiny"], BATTERY, "own")
    assert [target.name for target in found.targets] == ["own"]
    assert (found.told, found.sure) == (True, True)


def test_a_target_that_nothing_is_asked_about_needs_a_head(run_folder, tmp_path, tiny):
    weights = {f"image_encoder.model.{name}": value.detach() for name, value in tiny.weights.items()}
    torch.save(weights | {"classification_head.weight": torch.ones(4, 128)}, tmp_path / "head.pt")
    torch.save(dict(tiny.weights), tmp_path / "bare.pt")
    (tmp_path / "broken.pt").write_bytes(b"?")
    ways = r"add it to the battery, or name one of its tasks \(shape, own\), here or in a policy \(target = "
    for word in ("forgetcheck:tiny", tmp_path / "bare.pt", run_folder, "nowhere.pt"):
        with pytest.raises(InputError, match=f"--target drawn:family=size: no task of .*{ways}"):
            foresee([str(word)], BATTERY, "drawn:family=size")
    for word in (tmp_path / "head.pt", tmp_path / "broken.pt", "hf-hub:a/b"):
        assert foresee(["x.pt", str(word)], BATTERY, "drawn:family=size").heads
    assert foresee(["forgetcheck:tiny"], BATTERY, "digits").heads  # worded otherwise, it is asked about


def test_a_run_folder_tells_what_it_was_made_from(run_folder, tiny):
    checkpoint = find_checkpoint(str(run_folder))
    facts = model_facts(checkpoint, tiny)
    assert facts["run"]["base"] == {"name": "tiny", "digest": {"visual": "before", "text": "before"}}
    assert facts["lineage"]["base"] == facts["run"]["base"]
    json.dumps(facts, allow_nan=False)


def test_a_file_of_ours_tells_what_it_was_made_from(run_folder, tiny):
    checkpoint = find_checkpoint(f"{run_folder}.safetensors")
    assert lineage_of(checkpoint, tiny) == {
        "base": {"name": "tiny", "digest": {"visual": "before", "text": "before"}},
        "task": "drawn:family=shape",
        "regularizer": "ldifs",
        "seed": 3,
    }
    other = tiny.twin()
    with torch.no_grad():
        other.weights["logit_scale"].add_(1)
    assert lineage_of(checkpoint, other) == {}  # the header speaks of other weights
    Path(f"{run_folder}.safetensors").unlink()
    assert lineage_of(checkpoint, tiny) == {}


def test_other_files_tell_nothing(tmp_path, tiny):
    torch.save(dict(tiny.weights), tmp_path / "bare.pt")
    bare = replace(find_checkpoint("forgetcheck:tiny"), weights=tmp_path / "bare.pt")
    assert lineage_of(bare, tiny) == {}
    assert lineage_of(replace(bare, weights=None, tag=("a", "b")), tiny) == {}
    save_file(dict(tiny.weights), tmp_path / "odd.safetensors", {"forgetcheck": "no JSON"})
    assert lineage_of(replace(bare, weights=tmp_path / "odd.safetensors"), tiny) == {}


def test_a_strangers_record_is_cut_and_led_by_nowhere(tmp_path, tiny, monkeypatch):
    weights = {name: value.detach().clone() for name, value in tiny.weights.items()}
    deep = {"a": {"b": {"c": {"d": 1}}}}
    origin = {
        "task": "folder:path=/etc" + "x" * 1000,
        "base": {"name": ["y"] * 100, **{f"{number}": number for number in range(100)}},
        "deep": deep,
        "seed": 10**30,
        **{"k" * 300 + str(number): number for number in range(50)},
    }
    write_clip(tmp_path / "w.safetensors", Clip(tiny.config, weights, origin), "safetensors")
    monkeypatch.setattr(candidates.catalog, "build", lambda *_: pytest.fail("followed"))
    found = lineage_of(find_checkpoint(str(tmp_path / "w.safetensors")), tiny)
    assert len(found) <= 20
    assert max(map(len, found)) <= 200
    assert len(found["task"]) == 200
    assert len(found["base"]) == len(found["base"]["name"]) == 20
    assert found["deep"] == {"a": {"b": {}}}
    assert found["seed"] == str(10**30)
    assert len(json.dumps(found)) < 20_000
