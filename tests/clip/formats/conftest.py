"""A small file of every family, made by the library that writes it, or by a miniature of its layout."""

import importlib.util
import json
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from conftest import VIT, random_encoder
from safetensors.torch import save_file
from torch import Tensor, nn

RESEARCH = """
import torch
from pathlib import Path

with Path({log!r}).open("a") as file:
    file.write("imported\\n")


class ImageEncoder(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
        self.train_preprocess = len  # research code keeps such things beside the weights

    def __setstate__(self, state):
        with Path({log!r}).open("a") as file:
            file.write("restored\\n")
        super().__setstate__(state)


class ClassificationHead(torch.nn.Linear):
    def __init__(self, weights):
        super().__init__(weights.shape[1], weights.shape[0])
        self.normalize = True
        self.weight = torch.nn.Parameter(weights.clone())


class ImageClassifier(torch.nn.Module):
    def __init__(self, image_encoder, classification_head):
        super().__init__()
        self.image_encoder = image_encoder
        self.classification_head = classification_head
"""


@pytest.fixture
def research(tmp_path: Path) -> Iterator[ModuleType]:
    """Research code with a diary: `log` says when it is imported or its `__setstate__` runs."""
    log = tmp_path / "log.txt"
    source = tmp_path / "research_code.py"
    source.write_text(RESEARCH.format(log=str(log)))
    spec = importlib.util.spec_from_file_location("research_code", source)
    module = importlib.util.module_from_spec(spec)
    sys.modules["research_code"] = module
    spec.loader.exec_module(module)
    log.unlink()
    module.log = log
    yield module
    sys.modules.pop("research_code", None)


@pytest.fixture(scope="session")
def clip_model() -> nn.Module:
    return random_encoder(VIT, seed=3).model


@pytest.fixture
def classifier(research: ModuleType, clip_model: nn.Module) -> nn.Module:
    """wise-ft's: an image encoder around a CLIP without its text transformer, and a head."""
    model = deepcopy(clip_model)
    del model.transformer
    head = research.ClassificationHead(torch.randn(5, 16, generator=torch.Generator().manual_seed(2)))
    return research.ImageClassifier(research.ImageEncoder(model), head)


@pytest.fixture
def script() -> Callable[[nn.Module, Path], None]:
    return write_script


def write_script(model: nn.Module, path: Path) -> None:
    """Write a TorchScript archive with OpenAI's extra tensors in it."""
    for name, value in {"input_resolution": 32, "context_length": 16, "vocab_size": 49408}.items():
        model.__dict__.pop(name, None)  # open_clip's are plain numbers
        model.register_buffer(name, torch.tensor(value))
    trace(model.eval(), (torch.zeros(1, 3, 32, 32), torch.zeros(1, 16, dtype=torch.long)), path)


def trace(model: nn.Module, example: Any, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch gives TorchScript up
        torch.jit.trace(model, example, check_trace=False).save(str(path))


WEIGHTS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.float16)}
FAMILIES = (
    "safetensors",
    "index",
    "zip",
    "legacy",
    "training checkpoint",
    "module",
    "plain pickle",
    "torchscript",
    "transformers",
)


@pytest.fixture(scope="session")
def family_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small file per family; of a folder, the file that says how to read the others."""
    folder = tmp_path_factory.mktemp("families")
    made = {name: folder / name.replace(" ", "-") / "w.pt" for name in FAMILIES}
    for path in made.values():
        path.parent.mkdir()
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    save_file(WEIGHTS, made["safetensors"])
    torch.save(WEIGHTS, made["zip"])
    torch.save(WEIGHTS, made["legacy"], _use_new_zipfile_serialization=False)
    checkpoint = {"state_dict": {f"module.{name}": value for name, value in WEIGHTS.items()}, "epoch": 3}
    torch.save(checkpoint, made["training checkpoint"])
    torch.save(module, made["module"])
    made["plain pickle"].write_bytes(pickle.dumps(module))
    trace(nn.Linear(3, 2), torch.ones(1, 3), made["torchscript"])
    made["index"] = write_index(made["index"].parent, WEIGHTS)
    made["transformers"] = write_transformers(made["transformers"].parent)
    return made


@pytest.fixture(params=FAMILIES)
def family_file(request: pytest.FixtureRequest, family_files: dict[str, Path]) -> Path:
    """Each of them in turn, in a folder of its own."""
    return family_files[request.param]


def write_index(folder: Path, weights: dict[str, Tensor]) -> Path:
    parts = {name: f"part-{number}.safetensors" for number, name in enumerate(weights)}
    for name, part in parts.items():
        save_file({name: weights[name]}, folder / part)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": parts}))
    return index


def write_transformers(folder: Path) -> Path:
    """Write the least that is read as a CLIPModel: one layer in the image tower, none inside the other."""
    tower = {"hidden_size": 2, "num_attention_heads": 1, "num_hidden_layers": 1, "intermediate_size": 8}
    vision = {**tower, "image_size": 4, "patch_size": 4}
    text = {**tower, "vocab_size": 3, "max_position_embeddings": 2}
    names = {
        "visual_projection.weight": (2, 2),
        "text_projection.weight": (2, 2),
        "vision_model.embeddings.position_embedding.weight": (2, 2),
        "text_model.embeddings.token_embedding.weight": (3, 2),
        "text_model.embeddings.position_embedding.weight": (2, 2),
        "logit_scale": (1,),
    }
    for tower_name in ("vision", "text"):
        for part in "qkv":
            names[f"{tower_name}_model.encoder.layers.0.self_attn.{part}_proj.weight"] = (2, 2)
    save_file({name: torch.ones(shape) for name, shape in names.items()}, folder / "model.safetensors")
    config = {"model_type": "clip", "text_config": text, "vision_config": vision}
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "config.json"
