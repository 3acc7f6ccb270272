"""Shared fixtures: a 2-layer CLIP and a 4-stage ResNet CLIP with random weights, and a small battery."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers and child processes share two cores: before torch
import torch
from guard import Guard, guarded
from huggingface_hub import constants
from open_clip import factory
from safetensors.torch import save_file

from forgetcheck.clip.identity.architecture_index import index
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.checkpoint import CONFIG, WEIGHTS, Checkpoint
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.clip.model.text_tower import FILE

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VIT = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
RESNET = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
TIMM = {
    "image_size": 32,
    "timm_model_name": "test_convnext",
    "timm_model_pretrained": False,
    "timm_pool": "avg",
    "timm_proj": "linear",
}
PREPROCESS = {
    "size": 32,
    "mode": "RGB",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}


def make_config(vision: dict[str, Any]) -> dict[str, Any]:
    return {
        "model_cfg": {"embed_dim": 16, "vision_cfg": dict(vision), "text_cfg": dict(TEXT)},
        "preprocess_cfg": dict(PREPROCESS),
    }


def random_encoder(vision: dict[str, Any], seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    encoder = load_encoder(Checkpoint("random", make_config(vision), weights=None), "cpu")
    with torch.no_grad():  # open_clip starts some ResNet scales at 0, which would hide whole branches
        for name, weight in encoder.model.named_parameters():
            if name.endswith("bn3.weight"):
                weight.fill_(0.7)
    return encoder


def save_folder(folder: Path, encoder: Encoder) -> Path:
    """Write a folder that open_clip's local-dir: and forgetcheck both read."""
    folder.mkdir(parents=True)
    (folder / CONFIG).write_text(json.dumps(encoder.config))
    save_file({k: v.detach().clone().contiguous() for k, v in encoder.weights.items()}, folder / WEIGHTS)
    return folder


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let a worker that has nothing left take over from the other."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getvalue("dist") == "load" else None


@pytest.fixture(scope="session", autouse=True)
def no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What runs outside of a test, such as the fixture of a module, keeps away from it as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGETCHECK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache for every test that is not the user's, and empty."""
    folder = tmp_path_factory.mktemp("cache") / "forgetcheck"
    monkeypatch.setenv("FORGETCHECK_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def vit() -> Encoder:
    return random_encoder(VIT)


@pytest.fixture(scope="session", params=["vit", "resnet", "timm"])
def tower(request: pytest.FixtureRequest) -> Encoder:
    """Each kind of image tower in turn."""
    return random_encoder({"vit": VIT, "resnet": RESNET, "timm": TIMM}[request.param])


@pytest.fixture(scope="session")
def tiny() -> Encoder:
    return load_encoder(find_checkpoint("forgetcheck:tiny"), "cpu")


@pytest.fixture
def quick_twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Teach open_clip an architecture that differs from forgetcheck:tiny in its activation only."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = {**find_checkpoint("forgetcheck:tiny").config["model_cfg"], "quick_gelu": True}
    path = tmp_path / "tiny-quickgelu.json"
    path.write_text(json.dumps(model))
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", [*factory._MODEL_CONFIG_PATHS, path])
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    factory._rescan_model_configs()
    index.cache_clear()
    yield path.stem
    index.cache_clear()


@pytest.fixture
def vit_folder(tmp_path: Path, vit: Encoder) -> Path:
    return save_folder(tmp_path / "vit", vit)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's client, offline."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "hub"


@pytest.fixture
def bert(tmp_path: Path, hub: Path) -> Path:
    """A CLIP whose text tower transformers builds, with everything beside its weights."""
    from text_towers import publish  # transformers takes seconds to import

    publish(tmp_path / "clip", "BERT, its class token", tmp_path / "tower")
    shutil.copy(tmp_path / "tower" / "config.json", tmp_path / "clip" / FILE)
    return tmp_path / "clip"


@pytest.fixture
def small_battery(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text('[[task]]\nname = "shape"\nsource = "drawn:family=shape"\n')
    return path


@pytest.fixture
def forbid(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let files be closed to the user by the ending of their names; chmod doesn't keep root out."""

    def close(ending: str) -> None:
        def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
            if path.name.endswith(ending):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return opened(path, *arguments, **options)

        opened = Path.open
        monkeypatch.setattr(Path, "open", refuse)

    return close


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def guard() -> Iterator[Guard]:
    """Write down what a test opens, connects to, starts and imports: see guard.py."""
    with guarded() as heard:
        yield heard
