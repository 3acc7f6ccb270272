"""Weights name their architecture by their shapes, whatever harmless differences they carry."""

import json
import os
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest

from forgetcheck.clip.identity import architecture_index
from forgetcheck.clip.identity.architecture import matching, nearest
from forgetcheck.clip.identity.architecture_index import (
    SCHEMA,
    SHIPPED,
    build_index,
    cached_path,
    index,
    installed_configs,
    layout_key,
    open_index,
    read_index,
    shapes_of,
    write_index,
)
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.tensor_names import canonical
from forgetcheck.errors import InputError

pytestmark = pytest.mark.slow

# one of each kind of tower, and of each kind of twins
SAMPLE = (
    "RN50", "ViT-B-32", "ViT-B-32-quickgelu", "ViT-B-32-256", "ViT-B-16-SigLIP", "ViT-L-14-CLIPA",
    "convnext_base_w", "EVA02-B-16", "MobileCLIP-S1", "MobileCLIP2-B", "PE-Core-T-16-384", "ViTamin-S",
    "coca_ViT-B-32", "swin_base_patch4_window7_224", "vit_relpos_medium_patch16_cls_224",
)  # fmt: skip


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    known = index()
    return dict(known.layouts[known.fits[name]])


@pytest.mark.parametrize("name", SAMPLE)
def test_a_freshly_built_architecture_is_found_by_its_shapes(name: str) -> None:
    assert name in matching(shapes_of(name, {"model_cfg": installed_configs()[name]}))


def test_every_architecture_is_found_and_only_twins_share_shapes() -> None:
    known = index()
    assert set(known.configs) == {*open_clip.list_models(), "forgetcheck:tiny"}
    assert set(known.fits) | set(known.unbuildable) == set(known.configs)
    assert all(name in matching(shapes(name)) for name in known.fits)
    assert len(set(known.fits.values())) >= 110  # of some 135


def test_only_hub_text_towers_are_missing_from_the_index() -> None:
    missing = {
        name for name in open_clip.list_models()
        if open_clip.get_model_config(name)["text_cfg"].get("hf_model_name")
    }  # fmt: skip
    assert set(index().unbuildable) == missing
    assert all("Hugging Face hub" in why for why in index().unbuildable.values())


def test_the_shipped_index_is_that_of_the_installed_open_clip() -> None:
    shipped = read_index(SHIPPED)
    assert shipped is not None
    if shipped.open_clip != open_clip.__version__:
        pytest.skip(f"shipped for open_clip {shipped.open_clip}, {open_clip.__version__} is installed")
    assert open_index(installed_configs(), SHIPPED, None) == shipped


def test_the_embedded_model_is_found_from_its_live_weights(tiny: Encoder) -> None:
    assert matching({name: tuple(v.shape) for name, v in tiny.weights.items()}) == ("forgetcheck:tiny",)


def test_twins_are_found_together() -> None:
    assert matching(shapes("ViT-B-32")) == ("ViT-B-32", "ViT-B-32-quickgelu")


def test_harmless_differences_are_none() -> None:
    flat = {name.removeprefix("text."): shape for name, shape in shapes("ViT-B-32").items()}
    old = flat | {"logit_scale": (1,), "attn_mask": (77, 77), "input_resolution": (), "context_length": ()}
    assert matching(flat) == matching(old) == matching(shapes("ViT-B-32"))
    counted = shapes_of("RN50", {"model_cfg": installed_configs()["RN50"]})
    uncounted = {name: shape for name, shape in counted.items() if "num_batches_tracked" not in name}
    assert len(uncounted) < len(counted)
    assert matching(uncounted) == matching(counted) == ("RN50", "RN50-quickgelu")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("logit_scale", {"logit_scale": (2,)}),
        ("visual.proj", {"visual.proj": (768, 256)}),
        ("extra", {"extra": (1,)}),
    ],
)
def test_any_other_difference_is_no_match_and_is_named(name: str, change: dict[str, tuple[int]]) -> None:
    changed = shapes("ViT-B-32") | change
    assert matching(changed) == ()
    assert nearest(changed).name == "ViT-B-32"
    assert nearest(changed).count == 1
    assert f"'{name}'" in nearest(changed).mismatches[0]


def test_another_resolution_does_not_match_silently() -> None:
    resized = shapes("ViT-B-32") | {"visual.positional_embedding": (145, 768)}  # 384 pixels
    assert matching(resized) == ()
    found = nearest(resized)
    assert (found.name, found.count) == ("ViT-B-32", 1)
    assert found.mismatches == ("'visual.positional_embedding' is (145, 768), not (50, 768)",)


def test_the_first_three_of_many_mismatches_are_told_in_the_checkpoints_own_names() -> None:
    odd = {name.removeprefix("text."): shape for name, shape in shapes("ViT-B-32").items()}
    odd["token_embedding.weight"] = (100, 512)
    del odd["visual.conv1.weight"]
    odd |= {"head.weight": (10, 512), "head.bias": (10,)}
    found = nearest(odd)
    assert found.count == 4
    assert found.mismatches == (
        "'token_embedding.weight' is (100, 512), not (49408, 512)",
        "'visual.conv1.weight' is missing",
        "'head.weight' is unknown",
    )


@pytest.fixture
def few() -> dict[str, dict[str, object]]:
    return {name: installed_configs()[name] for name in ("ViT-S-32", "ViT-M-32")}


def test_what_is_missing_is_built_once_and_cached(
    few: dict[str, dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped, cached = tmp_path / "shipped.xz", tmp_path / "deep" / "cached.xz"
    write_index(build_index({"ViT-S-32": few["ViT-S-32"]}), shipped)
    built: list[str] = []
    genuine = architecture_index.shapes_of
    monkeypatch.setattr(
        architecture_index, "shapes_of", lambda name, config: built.append(name) or genuine(name, config)
    )
    first = open_index(few, shipped, cached)
    assert built == ["ViT-M-32"]
    assert open_index(few, shipped, cached) == first
    changed = few | {"ViT-S-32": few["ViT-S-32"] | {"embed_dim": 7}}
    second = open_index(changed, shipped, cached)
    assert built == ["ViT-M-32", "ViT-S-32"]
    assert second.layouts[second.fits["ViT-S-32"]]["visual.proj"] == (384, 7)
    assert len(second.layouts) == 2


def test_an_index_of_another_open_clip_is_not_believed(
    few: dict[str, dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "index.xz"
    write_index(build_index(few), path)
    monkeypatch.setattr(architecture_index.open_clip, "__version__", "99.0")
    fresh = open_index(few, path, None)
    assert (fresh.open_clip, set(fresh.fits)) == ("99.0", set(few))


@pytest.mark.parametrize("damage", [b"", b"nonsense", "half", "schema", "dangling"])
def test_a_damaged_cache_is_built_again(
    damage: bytes | str, few: dict[str, dict[str, object]], tmp_path: Path
) -> None:
    path = tmp_path / "index.xz"
    write_index(build_index(few), path)
    whole = path.read_bytes()
    text = architecture_index.lzma.decompress(whole).decode()
    foreign, dangling = text.replace(SCHEMA, "other@1"), json.dumps(json.loads(text) | {"layouts": {}})
    spoilt = {
        "half": whole[: len(whole) // 2],
        "schema": architecture_index.lzma.compress(foreign.encode()),
        "dangling": architecture_index.lzma.compress(dangling.encode()),
    }
    path.write_bytes(spoilt[damage] if isinstance(damage, str) else damage)
    assert read_index(path) is None
    assert set(open_index(few, tmp_path / "none.xz", path).fits) == set(few)
    assert read_index(path) is not None


def test_a_cache_that_cannot_be_written_is_no_cache(
    few: dict[str, dict[str, object]], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    found = open_index(few, tmp_path / "none.xz", tmp_path / "file" / "index.xz")
    assert set(found.fits) == set(few)


def test_the_cache_lies_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FORGETCHECK_CACHE", str(tmp_path / "told"))
    assert cached_path().parent == tmp_path / "told"
    monkeypatch.delenv("FORGETCHECK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    name = f"architectures-{open_clip.__version__}.json.xz"
    assert cached_path() == tmp_path / "forgetcheck" / name
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cached_path() == tmp_path / ".cache" / "forgetcheck" / name


def test_what_cannot_be_built_says_why() -> None:
    with pytest.raises(InputError, match="nor in the hub's cache"):
        shapes_of("x", {"model_cfg": {"vision_cfg": {}, "text_cfg": {"hf_model_name": "roberta-base"}}})
    with pytest.raises(InputError, match="open_clip cannot build x"):
        shapes_of("x", {"model_cfg": {"embed_dim": 8, "vision_cfg": {"width": "wide"}, "text_cfg": {}}})


def test_the_layout_key_is_independent_of_order() -> None:
    found = canonical(shapes("ViT-S-32"))
    assert layout_key(found) == layout_key(dict(reversed(found.items())))


def test_a_fresh_process_looks_up_in_less_than_two_seconds(tmp_path: Path) -> None:
    program = (
        "import time\nfrom forgetcheck.clip.identity.architecture import matching, nearest\n"
        "start = time.process_time()\nmatching({'a': (1,)}), nearest({'a': (1,)})\n"
        "print(time.process_time() - start)"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert float(done.stdout) < 2
