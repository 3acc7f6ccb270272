"""A stranger's config follows, asks and runs nothing and fills no memory, whatever its fields hold."""

import json
import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from guard import guarded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from open_clip.coca_model import MultimodalCfg
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import save_file

from forgetcheck.clip.identity.resolve import find_checkpoint, look_at
from forgetcheck.clip.model.checkpoint import CONFIG, HEADER, TEXT_MODEL
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.errors import InputError

pytestmark = pytest.mark.slow

CASES = int(os.environ.get("FORGETCHECK_FUZZ", "60"))  # for each kind of image and text tower
ROOM = 2**31  # bytes beside what this process has: the models are of 10 MB

PLACES = {
    (): ("embed_dim", "init_logit_scale", "init_logit_bias", "quick_gelu", "custom_text", "output_dict",
         "cast_dtype", "model_type", "nonscalar_logit_scale", "vision_cfg", "text_cfg", "multimodal_cfg"),
    ("vision_cfg",): tuple(field.name for field in fields(CLIPVisionCfg)),
    ("text_cfg",): tuple(field.name for field in fields(CLIPTextCfg)),
    ("multimodal_cfg",): tuple(field.name for field in fields(MultimodalCfg)),
    ("preprocess_cfg",): ("size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color"),
    (TEXT_MODEL,): ("model_type", "auto_map", "hidden_size", "num_hidden_layers", "vocab_size", "hidden_act",
                    "max_position_embeddings", "_attn_implementation", "attn_implementation", "_name_or_path",
                    "num_attention_heads", "dtype", "quantization_config", "is_decoder", "type_vocab_size"),
}  # fmt: skip


def values(trap: Path) -> st.SearchStrategy[Any]:
    """What a stranger may write into a field: names of what could be followed, and enormous numbers."""
    return st.one_of(
        st.sampled_from(
            [str(trap), f"local-dir:{trap}", f"hf-hub:{trap}", f"file://{trap}", os.path.relpath(trap),
             "some/model", "hf-hub:some/model", "https://example.org/model", "roberta-base", "resnet50",
             "vit_giant_patch14_clip_224", "/etc/passwd", "../../trap", "bert", "mean_pooler", "tanh",
             "gelu", "canonicalize", "bilinear", "longest", "x" * 10_000, ""]
        ),
        st.sampled_from([None, True, False, 0, -1, 1, 2, 8, 10**4, 10**6, 10**9, 10**12, 10**30, 0.5, 1e300]),
        st.lists(st.sampled_from([1, 2, 8, 32, 10**6, "x", None, 0.5]), max_size=4),
        st.sampled_from(
            [{}, {"trust_remote_code": True}, {"auto_map": {"AutoTokenizer": "code.T"}},
             {"clean": str(trap)}, {"language": str(trap)}, {"approximate": "tanh"}, {"eps": 1e-6}]
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that brings code for every class that transformers may ask for."""
    folder = tmp_path_factory.mktemp("trap")
    (folder / "code.py").write_text("raise SystemExit('the code of a stranger ran')\n")
    maps = {name: f"code.{name}" for name in ("AutoConfig", "AutoModel", "AutoTokenizer")}
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "auto_map": maps}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": maps}))
    return folder


@pytest.fixture(params=["vit", "timm", "bert"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Each kind of tower, whose weights fit its config as long as nothing is changed."""
    if request.param == "bert":
        found: Path = request.getfixturevalue("bert")
        return found
    from conftest import TIMM, VIT, random_encoder, save_folder

    return save_folder(tmp_path / "clip", random_encoder({"vit": VIT, "timm": TIMM}[request.param]))


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go, away from those of other tests."""
    place = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@contextmanager
def little_room() -> Iterator[None]:
    """Let an allocation fail that has nothing to do with weights of 10 MB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.filterwarnings("ignore")
def test_no_field_of_a_config_leads_out(folder: Path, trap: Path, temporary: Path) -> None:
    whole = json.loads((folder / CONFIG).read_text())
    if (folder / "text_config.json").is_file():
        whole[TEXT_MODEL] = json.loads((folder / "text_config.json").read_text())
    load_encoder(find_checkpoint(str(folder)), "cpu")  # what is imported late is imported now

    @settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def attack(data: st.DataObject) -> None:
        config = json.loads(json.dumps(whole))
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.sampled_from(list(PLACES)))
            at = config if place in (("preprocess_cfg",), (TEXT_MODEL,)) else config["model_cfg"]
            for step in place:
                at = at.setdefault(step, {}) if isinstance(at, dict) else at
            if isinstance(at, dict):
                at[data.draw(st.sampled_from(PLACES[place]))] = data.draw(values(trap))
        try:
            text = json.dumps(config, allow_nan=False)
        except ValueError:
            return
        (folder / CONFIG).write_text(text)
        refused = ""
        with guarded() as guard, little_room():
            try:
                load_encoder(find_checkpoint(str(folder)), "cpu")
            except InputError as problem:
                refused = str(problem)
        guard.check(folder, temporary, "/proc")
        assert not [name for name in guard.imports if name == "code" or "transformers_modules" in name]
        assert "llocate" not in refused, refused  # it was too large, and found out by trying

    attack()


@pytest.mark.parametrize("key", ["hf_model_name", "hf_tokenizer_name"])
def test_a_header_names_a_folder_with_code(
    folder: Path, trap: Path, temporary: Path, tmp_path: Path, key: str
) -> None:
    """The kind of attack that asked "run the custom code? [y/N]", and ran it for `yes |`."""
    config = json.loads((folder / CONFIG).read_text())
    config["model_cfg"]["text_cfg"][key] = str(trap)
    if (folder / "text_config.json").is_file():
        config[TEXT_MODEL] = json.loads((folder / "text_config.json").read_text())
    if key == "hf_model_name":
        config.pop(TEXT_MODEL, None)
    weights = load_encoder(find_checkpoint(str(folder)), "cpu").weights
    tensors = {name: value.detach().clone().contiguous() for name, value in weights.items()}
    save_file(tensors, tmp_path / "x.safetensors", {HEADER: json.dumps(config)})
    with guarded() as guard:
        with pytest.raises(InputError, match="is no name of the hub"):
            find_checkpoint(str(tmp_path / "x.safetensors"))
        look_at([str(tmp_path / "x.safetensors")])
    guard.check(tmp_path, temporary)
