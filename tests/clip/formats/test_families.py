"""Every family that docs/checkpoints.md promises is read, end to end: the same images and texts as before.

A row of the table there without a maker here fails, and so does a maker without a row.
"""

import json
import pickle
import re
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from conftest import TEXT, VIT, save_folder
from open_clip.model import CLIP
from safetensors.torch import save_file
from torch import Tensor, nn

from forgetcheck.clip.identity.resolve import find_checkpoint, find_checkpoints
from forgetcheck.clip.model.checkpoint import WEIGHTS
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.load import load_encoder

DOCS = Path(__file__).parents[3] / "docs" / "checkpoints.md"
ROW = re.compile(r"^\| (.+?) \| .+ \| .+ \|$", re.MULTILINE)
PROMPTS = ["a photo of a cat", "a red circle"]


@dataclass(frozen=True)
class Making:
    """What a maker has at hand."""

    folder: Path  # an empty one
    vit: Encoder
    request: pytest.FixtureRequest
    patch: pytest.MonkeyPatch

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.vit.weights.items()}

    def save(self, content: object, name: str = "w.pt") -> list[str]:
        """Write a file of torch, beside a folder whose architecture it takes."""
        torch.save(content, self.folder / name)
        return [self.base, str(self.folder / name)]

    @property
    def base(self) -> str:
        place = self.folder / "base"
        return str(place if place.exists() else save_folder(place, self.vit))


@dataclass(frozen=True)
class Made:
    """A model of its own: how it is named, and what it sees and reads by its own library."""

    words: list[str]
    see: Callable[[Tensor], Tensor]
    read: Callable[[list[str]], Tensor]


Maker = Callable[[Making], list[str] | Made]


def state_dict(making: Making) -> list[str]:
    return making.save(making.tensors)


def training_checkpoint(making: Making) -> list[str]:
    inner = {f"module._orig_mod.{name}": value for name, value in making.tensors.items()}
    return making.save({"state_dict": inner, "epoch": 3, "optimizer": {"lr": 0.1}})


def legacy(making: Making) -> list[str]:
    torch.save(making.tensors, making.folder / "w.bin", _use_new_zipfile_serialization=False)
    return [making.base, str(making.folder / "w.bin")]


def safetensors(making: Making) -> list[str]:
    save_file(making.tensors, making.folder / "w.safetensors")
    return [making.base, str(making.folder / "w.safetensors")]


def parts_with_an_index(making: Making) -> list[str]:
    place = save_folder(making.folder / "x", making.vit)
    (place / WEIGHTS).unlink()
    names = {name: f"part-{number % 3}.safetensors" for number, name in enumerate(making.tensors)}
    for part in set(names.values()):
        save_file({n: making.tensors[n] for n in names if names[n] == part}, place / part)
    (place / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    return [str(place)]


def folder_of_open_clip(making: Making) -> list[str]:
    return [making.base]


def of_the_hub(making: Making) -> list[str]:
    hub: Path = making.request.getfixturevalue("hub")
    from text_towers import cache_repository

    cache_repository(hub, Path(making.base), "some/clip")
    return ["hf-hub:some/clip"]


def tag(making: Making) -> list[str]:
    from open_clip import factory, pretrained

    making.patch.setitem(factory._MODEL_CONFIGS, "test-vit", making.vit.config["model_cfg"])
    file = {"file": str(Path(making.base) / WEIGHTS), "mean": (0.5,) * 3, "std": (0.5,) * 3}
    making.patch.setitem(pretrained._PRETRAINED, "test-vit", {"mine": file})
    return ["test-vit:mine"]


def pickled(making: Making) -> list[str]:
    research: ModuleType = making.request.getfixturevalue("research")
    head = research.ClassificationHead(torch.randn(5, 16))
    whole = research.ImageClassifier(research.ImageEncoder(making.vit.twin().model), head)
    return making.save(whole)


def plainly_pickled(making: Making) -> list[str]:
    research: ModuleType = making.request.getfixturevalue("research")
    path = making.folder / "w.pt"
    path.write_bytes(pickle.dumps(research.ImageEncoder(making.vit.twin().model)))
    return [making.base, str(path)]


def image_tower(making: Making) -> list[str]:
    return making.save({name: value for name, value in making.tensors.items() if name.startswith("visual.")})


def archive(making: Making) -> Made:
    """With OpenAI's layout and heads, which are 64 wide."""
    torch.manual_seed(0)
    text = {**TEXT, "width": 64, "heads": 1}
    model = CLIP(16, {**VIT, "width": 128, "head_width": 64}, text, quick_gelu=True).eval()
    script: Callable[[nn.Module, Path], None] = making.request.getfixturevalue("script")
    script(deepcopy(model), making.folder / "w.pt")
    words_of = open_clip.get_tokenizer("ViT-B-32", context_length=16)
    return Made(
        [str(making.folder / "w.pt")],
        lambda images: F.normalize(model.encode_image(images), dim=-1),
        lambda texts: F.normalize(model.encode_text(words_of(texts)), dim=-1),
    )


def of_transformers(making: Making) -> Made:
    import transformers

    torch.manual_seed(0)
    tower = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 64}
    vision = {**tower, "image_size": 32, "patch_size": 8}
    ends = {"bos_token_id": 49406, "eos_token_id": 49407}
    text = {**tower, **ends, "vocab_size": 49408, "max_position_embeddings": 16}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(making.folder / "x")
    words_of = open_clip.get_tokenizer("ViT-B-32", context_length=16)

    def features(found: Any) -> Tensor:
        return F.normalize(getattr(found, "pooler_output", found), dim=-1)

    return Made(
        [str(making.folder / "x")],
        lambda images: features(model.get_image_features(pixel_values=images)),
        lambda texts: features(model.get_text_features(input_ids=words_of(texts))),
    )


def text_tower_of_transformers(making: Making) -> Made:
    from text_towers import publish

    folder = making.folder / "x"
    model = publish(folder, "BERT, its class token", making.folder / "tower")
    shutil.copy(making.folder / "tower" / "config.json", folder / "text_config.json")
    words_of = open_clip.get_tokenizer(f"local-dir:{folder}")
    return Made(
        [str(folder)],
        lambda images: F.normalize(model.encode_image(images), dim=-1),
        lambda texts: F.normalize(model.encode_text(words_of(texts)), dim=-1),
    )


def adapter(making: Making) -> Made:
    """Behind the base that the user names; merged by PEFT itself for comparison."""
    from adapters import adapted, save, transformers_clip

    model = transformers_clip()
    model.save_pretrained(making.folder / "base")
    wrapped = adapted(model, r=4, target_modules=["q_proj", "fc1"])
    save(wrapped, making.folder / "adapter")
    return merged_by_peft(wrapped, [str(making.folder / "base"), str(making.folder / "adapter")])


def merged_by_peft(wrapped: Any, words: list[str]) -> Made:
    whole = wrapped.merge_and_unload().eval()
    words_of = open_clip.get_tokenizer("ViT-B-32", context_length=12)

    def features(found: Any) -> Tensor:
        return F.normalize(getattr(found, "pooler_output", found), dim=-1)

    return Made(
        words,
        lambda images: features(whole.get_image_features(pixel_values=images)),
        lambda texts: features(whole.get_text_features(input_ids=words_of(texts))),
    )


def whole_of_peft(making: Making) -> Made:
    """Base and adapter in one state dict, under PEFT's names, with its config beside it."""
    from adapters import adapted, save, transformers_clip

    wrapped = adapted(
        transformers_clip(), r=4, target_modules=["q_proj"], modules_to_save=["visual_projection"]
    )
    transformers_clip().save_pretrained(making.folder / "x")
    save(wrapped, making.folder / "config")
    (making.folder / "x" / "model.safetensors").unlink()
    torch.save(wrapped.state_dict(), making.folder / "x" / "pytorch_model.bin")
    shutil.copy(making.folder / "config" / "adapter_config.json", making.folder / "x")
    return merged_by_peft(wrapped, [str(making.folder / "x" / "pytorch_model.bin")])


def weights_in_parts(making: Making) -> Made:
    """Weight norm over one tensor: its directions, and how long each is."""
    tensors, name = making.tensors, "visual.conv1.weight"
    whole = tensors.pop(name)
    tensors[f"{name}_v"] = 3 * whole
    tensors[f"{name}_g"] = whole.flatten(1).norm(dim=1)[:, None, None, None]
    return Made(making.save(tensors), making.vit.see, making.vit.read)


MAKERS: dict[str, tuple[Maker, ...]] = {
    "state dict, training checkpoint": (state_dict, training_checkpoint, legacy),
    "safetensors": (safetensors, parts_with_an_index),
    "folder of open_clip": (folder_of_open_clip,),
    "`hf-hub:": (of_the_hub,),
    "`NAME:TAG`": (tag,),
    "folder of transformers": (of_transformers,),
    "a text tower of transformers": (text_tower_of_transformers,),
    "OpenAI's TorchScript": (archive,),
    "whole-module pickles": (pickled, plainly_pickled),
    "an image tower alone": (image_tower,),
    "a LoRA or DoRA adapter": (adapter,),
    "a whole state dict of PEFT": (whole_of_peft,),
    "weights in parts": (weights_in_parts,),
}


def test_every_family_of_the_docs_is_made_here() -> None:
    table = DOCS.read_text(encoding="utf-8").partition("| family |")[2].partition("\n\n")[0]
    rows = [row for row in ROW.findall(table) if not row.startswith("---")]
    missing = [row for row in rows if sum(row.startswith(start) for start in MAKERS) != 1]
    assert not missing
    assert len(rows) == len(MAKERS)


@pytest.mark.parametrize(
    "make", [make for makers in MAKERS.values() for make in makers], ids=lambda make: make.__name__
)
def test_a_family_is_read(
    make: Maker,
    tmp_path: Path,
    vit: Encoder,
    images: Tensor,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "made").mkdir()
    making = Making(tmp_path / "made", vit, request, monkeypatch)
    made = make(making)
    words = made.words if isinstance(made, Made) else made
    see, read = (made.see, made.read) if isinstance(made, Made) else (vit.see, vit.read)
    found = find_checkpoints(words)[-1] if len(words) > 1 else find_checkpoint(words[0])
    encoder = load_encoder(found, "cpu")
    with torch.no_grad():
        assert torch.allclose(encoder.see(images), see(images), atol=1e-5)
        assert torch.allclose(encoder.read(PROMPTS), read(PROMPTS), atol=1e-5)
    if not isinstance(made, Made):
        assert encoder.digests == vit.digests
