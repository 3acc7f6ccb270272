"""Bare weights are identified by what is told, recorded, by their pair, by what works, or not at all."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from forgetcheck import catalog
from forgetcheck.clip.identity import activation
from forgetcheck.clip.identity.activation import (
    BY_FUNCTION,
    BY_OTHER,
    BY_SHAPES,
    BY_US,
    Usual,
    doubt_activation,
)
from forgetcheck.clip.identity.identify import BY_CLASS, TOLD, Bare, by_shapes, settled
from forgetcheck.clip.identity.resolve import find_checkpoint, find_checkpoints, is_guess, look_at
from forgetcheck.clip.model.checkpoint import CONFIG, GUESS, HEADER, Checkpoint, architecture
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.clip.model.settings import differences
from forgetcheck.errors import InputError
from forgetcheck.tasks.base import Task

pytestmark = pytest.mark.slow

TINY = find_checkpoint("forgetcheck:tiny")
TASKS = tuple(catalog.build("tasks", f"drawn:family={name}") for name in ("shape", "digit"))


def plain(encoder: Encoder) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in encoder.weights.items()}


def save(path: Path, weights: Mapping[str, Tensor]) -> str:
    torch.save(dict(weights), path)
    return str(path)


def planted(encoder: Encoder, quick: bool, strength: float = 200.0) -> dict[str, Tensor]:
    """Re-export weights with one hidden unit that only one activation leaves without effect.

    Its output is constant, as in the massive activations of large CLIPs; a bias takes back what it adds.
    """
    weights, block = plain(encoder), "visual.transformer.resblocks.1.mlp"
    direction = torch.randn(weights[f"{block}.c_proj.bias"].shape, generator=torch.Generator().manual_seed(0))
    two = torch.tensor(2.0)
    weights[f"{block}.c_fc.weight"][0] = 0
    weights[f"{block}.c_fc.bias"][0] = two
    weights[f"{block}.c_proj.weight"][:, 0] = strength * direction
    output = two * torch.sigmoid(1.702 * two) if quick else torch.nn.functional.gelu(two)
    weights[f"{block}.c_proj.bias"] -= strength * direction * output
    return weights


def test_weights_alone_name_their_architecture(tmp_path: Path, tiny: Encoder) -> None:
    found = find_checkpoint(save(tmp_path / "bare.pt", plain(tiny)))
    assert found.inferred["architecture"] == BY_SHAPES
    assert found.config["preprocess_cfg"]["mean"] == [0.5, 0.5, 0.5]
    assert load_encoder(found, "cpu").digests == tiny.digests


def test_a_custom_architecture_is_that_of_its_pair(tmp_path: Path, vit: Encoder, vit_folder: Path) -> None:
    bare = save(tmp_path / "bare.pt", plain(vit))
    for texts in ([str(vit_folder), bare], [bare, str(vit_folder)]):
        found = {one.name: one for one in find_checkpoints(texts)}
        assert found["bare"].inferred == {"architecture": BY_OTHER, "preprocessing": BY_OTHER}
        assert found["bare"].config == found["vit"].config


def test_what_is_nothing_names_the_nearest_and_three_mismatches(tmp_path: Path, tiny: Encoder) -> None:
    weights = plain(tiny)
    weights["visual.proj"] = torch.ones(128, 3)
    del weights["visual.ln_post.bias"]
    weights["visual.extra"] = torch.ones(1)
    with pytest.raises(InputError) as refused:
        find_checkpoint(save(tmp_path / "odd.pt", weights))
    for words in (
        "the nearest is forgetcheck:tiny",
        "'visual.proj' is (128, 3), not (128, 128)",
        "'visual.ln_post.bias' is missing",
        "'visual.extra' is unknown",
        "--model NAME",
    ):
        assert words in str(refused.value)


def test_told_wins_and_is_recorded(tmp_path: Path, vit: Encoder, vit_folder: Path) -> None:
    found = find_checkpoint(save(tmp_path / "bare.pt", plain(vit)), model=str(vit_folder))
    assert found.inferred["architecture"] == TOLD
    assert found.config["preprocess_cfg"]["mean"] == [0.5, 0.5, 0.5]


def test_told_against_the_shapes_is_an_error(tmp_path: Path, tiny: Encoder) -> None:
    words = r"is no ViT-B-32: .*is \(16, 128\), not \(77, 512\).*pass --model forgetcheck:tiny"
    with pytest.raises(InputError, match=words):
        find_checkpoint(save(tmp_path / "bare.pt", plain(tiny)), model="ViT-B-32")


@pytest.mark.parametrize("kind", ["header", "folder", "tag"])
def test_told_against_a_record_is_an_error(
    tmp_path: Path, tiny: Encoder, vit_folder: Path, kind: str
) -> None:
    save_file(plain(tiny), tmp_path / "w.safetensors", {HEADER: json.dumps(tiny.config)})
    words = {"header": str(tmp_path / "w.safetensors"), "folder": str(vit_folder), "tag": "ViT-B-32:openai"}
    model = {"header": str(vit_folder), "folder": "forgetcheck:tiny", "tag": "ViT-B-32"}[kind]
    with pytest.raises(InputError, match=r"--model .*contradicts"):
        find_checkpoint(words[kind], model=model)
    assert find_checkpoint("ViT-B-32:openai", model="ViT-B-32-quickgelu").tag


def test_twins_are_decided_by_the_pair_else_by_what_works_else_asked(
    tmp_path: Path, tiny: Encoder, quick_twin: str
) -> None:
    bare = save(tmp_path / "bare.pt", planted(tiny, quick=True))
    with pytest.raises(
        InputError, match=f"may be forgetcheck:tiny or {quick_twin}: they differ in quick_gelu"
    ):
        find_checkpoint(bare)
    assert find_checkpoint(bare, like=TINY).inferred["architecture"] == BY_OTHER
    found = find_checkpoint(bare, tasks=TASKS)
    assert found.inferred["architecture"] == BY_FUNCTION
    assert found.config["model_cfg"]["quick_gelu"] is True
    assert not found.undecided
    with pytest.raises(InputError, match=r"do equally well on the functional test\)"):
        find_checkpoint(save(tmp_path / "shallow.pt", plain(tiny)), tasks=TASKS)
    (open_one,) = look_at([bare])
    assert open_one.candidates == ("forgetcheck:tiny", quick_twin)


def test_two_open_checkpoints_are_decided_together(tmp_path: Path, tiny: Encoder, quick_twin: str) -> None:
    texts = [save(tmp_path / f"{n}.pt", planted(tiny, quick=True)) for n in ("base", "tuned")]
    base, tuned = find_checkpoints(texts, tasks=TASKS)
    assert base.inferred["architecture"] == BY_FUNCTION
    assert tuned.inferred["architecture"] == BY_OTHER
    assert base.config == tuned.config
    assert all(one.undecided for one in look_at(texts))


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("told", [True, False])
def test_weights_under_the_wrong_activation_are_doubted(
    tmp_path: Path, tiny: Encoder, quick: bool, told: bool
) -> None:
    """QuickGELU saved in a folder that says GELU, or the other way round; and the right way, in peace."""
    folder = tmp_path / "saved"
    folder.mkdir()
    model = {**tiny.config["model_cfg"], "quick_gelu": told}
    (folder / CONFIG).write_text(json.dumps({**tiny.config, "model_cfg": model}))
    save_file(planted(tiny, quick), folder / "open_clip_model.safetensors")
    checkpoint = find_checkpoint(str(folder))
    doubt = doubt_activation(checkpoint, load_encoder(checkpoint, "cpu"), TASKS)
    if quick == told:
        assert doubt == ""
    else:
        names = ("GELU", "QuickGELU")
        assert (
            f"configured with {names[told]}, but its weights work clearly better with {names[quick]}" in doubt
        )


def test_what_cannot_be_doubted_is_not_tried(monkeypatch: pytest.MonkeyPatch, tiny: Encoder) -> None:
    monkeypatch.setattr("forgetcheck.clip.identity.activation.attempt", lambda *_: pytest.fail("tried"))
    assert doubt_activation(TINY, tiny, TASKS) == ""
    assert doubt_activation(find_checkpoint("ViT-B-32:openai"), tiny, TASKS) == ""
    works = replace(TINY, inferred={"architecture": BY_FUNCTION})
    assert doubt_activation(works, tiny, TASKS) == ""


def test_a_sound_activation_costs_few_images(
    tmp_path: Path, tiny: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / CONFIG).write_text(json.dumps(dict(tiny.config)))
    save_file(planted(tiny, quick=False), folder / "open_clip_model.safetensors")
    asked = []

    def counted(encoder: Encoder, tasks: Sequence[Task], *options: Any) -> activation.Trial:
        asked.append(sum(len(task.split("test")) for task in tasks))
        return attempt(encoder, tasks, *options)

    attempt = activation.attempt
    monkeypatch.setattr(activation, "attempt", counted)
    checkpoint = find_checkpoint(str(folder))
    assert doubt_activation(checkpoint, load_encoder(checkpoint, "cpu"), TASKS) == ""
    assert len(asked) == 2
    assert max(asked) <= activation.FIRST_IMAGES


def test_an_image_tower_takes_the_text_tower_of_its_pair(tmp_path: Path, tiny: Encoder) -> None:
    weights = {name: value for name, value in plain(tiny).items() if name.startswith("visual.")}
    weights["visual.proj"] += 1
    image = save(tmp_path / "image.pt", weights)
    with pytest.raises(InputError, match="holds an image tower only: name it in `audit` or `inspect` behind"):
        find_checkpoint(image)
    with pytest.raises(InputError, match="holds an image tower only"):
        find_checkpoint(image, model="forgetcheck:tiny")
    for model in (None, "forgetcheck:tiny"):
        _, tuned = find_checkpoints(["forgetcheck:tiny", image], model)
        assert tuned.inferred["text tower"] == BY_OTHER
        encoder = load_encoder(tuned, "cpu")
        assert encoder.digests["text"] == tiny.digests["text"]
        assert encoder.digests["visual"] != tiny.digests["visual"]
        assert torch.equal(encoder.weights["visual.proj"], weights["visual.proj"])
        assert "image tower only" in encoder.origin.notes[-1]


def test_an_image_tower_of_another_kind_is_refused(tmp_path: Path, tiny: Encoder, vit_folder: Path) -> None:
    image = save(tmp_path / "i.pt", {k: v for k, v in plain(tiny).items() if k.startswith("visual.")})
    with pytest.raises(InputError, match="is not that of 'vit'"):
        find_checkpoint(image, like=find_checkpoint(str(vit_folder)))


def test_a_moved_scale_saved_with_the_image_tower_counts(tmp_path: Path, tiny: Encoder) -> None:
    weights = {k: v for k, v in plain(tiny).items() if k.startswith("visual.") or k == "logit_scale"}
    weights["logit_scale"] = torch.tensor([1.5])
    tuned = find_checkpoint(save(tmp_path / "image.pt", weights), like=TINY)
    assert float(load_encoder(tuned, "cpu").weights["logit_scale"].detach()) == 1.5


def test_a_folder_with_other_names_of_weights(tmp_path: Path, vit: Encoder, vit_folder: Path) -> None:
    shutil.move(vit_folder / "open_clip_model.safetensors", vit_folder / "model.safetensors")
    for text in (str(vit_folder), f"local-dir:{vit_folder}"):
        assert load_encoder(find_checkpoint(text), "cpu").digests == vit.digests


@pytest.mark.parametrize("quick", [True, False])
def test_a_whole_module_names_its_activation(
    tmp_path: Path, tiny: Encoder, quick_twin: str, quick: bool
) -> None:
    model = {**tiny.config["model_cfg"], "quick_gelu": quick}
    encoder = load_encoder(replace(TINY, config={**tiny.config, "model_cfg": model}), "cpu")
    path = str(tmp_path / "module.pt")
    torch.save(encoder.model, path)
    found = find_checkpoint(path)
    assert found.config["model_cfg"]["quick_gelu"] is quick
    assert found.inferred["architecture"] == BY_CLASS
    _, tuned = find_checkpoints(["forgetcheck:tiny", path])
    assert differences(TINY.config, tuned.config) == (
        ("activation: GELU against QuickGELU",) if quick else ()
    )
    told, other = (quick_twin, "forgetcheck:tiny") if quick else ("forgetcheck:tiny", quick_twin)
    assert find_checkpoint(path, model=told).inferred["architecture"] == TOLD
    with pytest.raises(InputError, match=r"--model .* contradicts the classes in .*activation"):
        find_checkpoint(path, model=other)


def with_preprocessing(tiny: Encoder, path: Path, **changes: object) -> str:
    config = {**tiny.config, "preprocess_cfg": {**tiny.config["preprocess_cfg"], **changes}}
    save_file(plain(tiny), path, {HEADER: json.dumps(config)})
    return str(path)


def test_a_tuned_record_does_not_overrule_what_is_known_of_a_bare_base(tmp_path: Path, tiny: Encoder) -> None:
    bare = save(tmp_path / "base.pt", plain(tiny))
    told = with_preprocessing(tiny, tmp_path / "tuned.safetensors", mean=[0.0, 0.0, 0.0])
    base, tuned = find_checkpoints([bare, told])
    assert base.config["preprocess_cfg"]["mean"] == [0.5, 0.5, 0.5]
    assert differences(base.config, tuned.config) == ("mean: [0.5, 0.5, 0.5] against [0.0, 0.0, 0.0]",)


def test_bare_weights_follow_the_base_and_not_a_sibling(tmp_path: Path, tiny: Encoder) -> None:
    """Their preprocessing, and the text tower of an image tower saved alone."""
    base = with_preprocessing(tiny, tmp_path / "base.safetensors")
    other = plain(tiny)
    other["text_projection"] = other["text_projection"].flip(0)
    config = {**tiny.config, "preprocess_cfg": {**tiny.config["preprocess_cfg"], "mean": [0.0, 0.0, 0.0]}}
    save_file(other, tmp_path / "sibling.safetensors", {HEADER: json.dumps(config)})
    bare = save(tmp_path / "bare.pt", plain(tiny))
    image = save(tmp_path / "i.pt", {k: v for k, v in plain(tiny).items() if k.startswith("visual.")})
    texts = [base, str(tmp_path / "sibling.safetensors"), bare, image]
    first, _, second, third = find_checkpoints(texts)
    assert second.config == third.config == first.config
    assert third.text_from == first


def test_a_base_without_text_tower_is_refused(tmp_path: Path, tiny: Encoder) -> None:
    image = save(tmp_path / "i.pt", {k: v for k, v in plain(tiny).items() if k.startswith("visual.")})
    with pytest.raises(
        InputError, match="image tower only: name it in `audit` or `inspect` behind the whole"
    ):
        find_checkpoints([image, "forgetcheck:tiny"])


def test_a_guessed_preprocessing_gives_way_to_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Encoder
) -> None:
    usual = Usual({**tiny.config["preprocess_cfg"], "mean": [0.0, 0.0, 0.0]}, f"{GUESS}: nobody knows")
    monkeypatch.setattr("forgetcheck.clip.identity.identify.usual_preprocessing", lambda _: usual)
    bare = save(tmp_path / "base.pt", plain(tiny))
    assert is_guess(find_checkpoint(bare))
    base, tuned = find_checkpoints([bare, "forgetcheck:tiny"])
    assert base.config == tuned.config
    assert base.inferred["preprocessing"] == BY_OTHER


def test_told_takes_the_preprocessing_of_its_pair_else_the_usual(tmp_path: Path, tiny: Encoder) -> None:
    bare = save(tmp_path / "bare.pt", plain(tiny))
    base = find_checkpoint(with_preprocessing(tiny, tmp_path / "base.safetensors", mean=[0.1, 0.1, 0.1]))
    assert find_checkpoint(bare, "forgetcheck:tiny", base).config["preprocess_cfg"]["mean"] == [0.1, 0.1, 0.1]
    alone = find_checkpoint(bare, "forgetcheck:tiny")
    assert alone.config["preprocess_cfg"]["mean"] == [0.5, 0.5, 0.5]
    assert alone.inferred["preprocessing"] == BY_US


def test_candidates_that_differ_in_more_than_activation_are_not_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("forgetcheck.clip.identity.identify.by_function", lambda *_: pytest.fail("tried"))
    names = ("convnext_base_w", "convnext_base_w_320")
    with pytest.raises(InputError, match="which of both"):
        settled(Checkpoint("x", {}, None, candidates=names, undecided="which of both?"), TASKS)


def test_a_folder_named_like_an_architecture_is_not_that_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vit_folder: Path
) -> None:
    vit_folder.rename(tmp_path / "ViT-B-32")
    monkeypatch.chdir(tmp_path)
    assert architecture("ViT-B-32")["model_cfg"]["embed_dim"] == 512


@pytest.mark.parametrize("name", ["clip-v1.5", "clip-v1.6"])
def test_names_are_those_the_user_gave(tmp_path: Path, vit_folder: Path, tiny: Encoder, name: str) -> None:
    folder = vit_folder.rename(tmp_path / name)
    assert find_checkpoint(str(folder)).name == name
    blob = tmp_path / "0123abcdef"
    save(blob, plain(tiny))
    (tmp_path / "nice.pt").symlink_to(blob)
    assert find_checkpoint(str(tmp_path / "nice.pt")).name == "nice"


def test_what_the_class_of_the_activation_rules_out_is_no_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("RN50-quickgelu", "convnext_base_w", "convnext_base_w_320")
    monkeypatch.setattr("forgetcheck.clip.identity.identify.matching", lambda _: names)
    found = by_shapes(Bare(Path("module.pt"), {"visual.a": (1,)}, None, quick_gelu=False), None)
    assert found.candidates == names[1:]
    assert "RN50" not in found.undecided


@pytest.mark.parametrize("where", ["header", "folder"])
def test_an_image_tower_with_the_config_of_its_model_takes_the_text_tower_of_the_pair(
    tmp_path, vit, vit_folder, where
):
    """A config beside weights, or in their header, is of the whole model, of which one tower was saved."""
    visual = {
        name: value.detach().clone() for name, value in vit.weights.items() if name.startswith("visual.")
    }
    path = tmp_path / "x" / "open_clip_model.safetensors"
    path.parent.mkdir()
    save_file(visual, path, {HEADER: json.dumps(vit.config)} if where == "header" else {})
    if where == "folder":
        (path.parent / CONFIG).write_text(json.dumps(vit.config))
    named = str(path if where == "header" else path.parent)
    base, tuned = find_checkpoints([str(vit_folder), named])
    assert tuned.text_from == base
    assert load_encoder(tuned, "cpu").digests == vit.digests
    with pytest.raises(InputError, match="holds an image tower only: name it in `audit`"):
        find_checkpoint(named)
    with pytest.raises(InputError, match="which is not that of 'tiny'"):
        find_checkpoints(["forgetcheck:tiny", named])
