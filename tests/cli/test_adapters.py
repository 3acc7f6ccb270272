"""Adapters that aren't merged, through the commands: told what they are, audited on their base, merged."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.slow

TINY = "forgetcheck:tiny"
LAYER = "visual.transformer.resblocks.1.mlp.c_fc"


@pytest.fixture
def adapter(tmp_path, weights):
    """An adapter by hand, in PEFT's files: alpha 6, rank 2, one layer."""
    folder = tmp_path / "lora"
    folder.mkdir()
    config = {
        "peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["c_fc"],
        "base_model_name_or_path": "some/model",
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    generator = torch.Generator().manual_seed(0)
    rows, columns = weights[f"{LAYER}.weight"].shape
    parts = {
        "A": torch.randn(2, columns, generator=generator),
        "B": torch.randn(rows, 2, generator=generator),
    }
    tensors = {f"base_model.model.{LAYER}.lora_{part}.weight": value for part, value in parts.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.fixture
def truth(adapter, weights):
    parts = load_file(adapter / "adapter_model.safetensors")
    low, high = (parts[f"base_model.model.{LAYER}.lora_{part}.weight"] for part in "AB")
    name = f"{LAYER}.weight"
    return {**weights, name: weights[name] + 3 * (high @ low)}


def test_inspect_says_what_an_adapter_is(run, adapter):
    found = run("inspect", adapter)
    assert found.code == 0
    for words in ("LoRA of rank 2", "c_fc", "some/model, as it says", "audit BASE", "--base BASE"):
        assert words in found.out
    record = json.loads(run("inspect", adapter, "--json").out)["adapter"]
    assert (record["kind"], record["alpha"]) == ("LoRA of rank 2", 6.0)


def test_inspect_compares_an_adapter_with_its_base(run, adapter):
    found = run("inspect", TINY, "lora")
    assert found.code == 0
    assert "text tower               equal" in found.out
    assert "LoRA of rank 2" in found.out
    passport = json.loads(run("inspect", TINY, "lora", "--json").out)["passports"]
    assert passport[1]["adapter"]["base"] == {"name": "tiny", "digest": passport[0]["digests"]}
    assert passport[0]["adapter"] == {}


def test_convert_writes_the_merged_model(run, adapter, truth):
    run("convert", "lora", "out.safetensors").refusal("is an adapter", "--base BASE")
    done = run("convert", "lora", "out.safetensors", "--base", TINY)
    assert done.code == 0, done.err
    found = load_file("out.safetensors")
    assert set(found) == set(truth)
    assert all((found[name].float() - truth[name]).abs().max() < 1e-5 for name in truth)
    shown = json.loads(run("inspect", TINY, "out.safetensors", "--json").out)["passports"]
    merged = json.loads(run("inspect", TINY, "lora", "--json").out)["passports"][1]
    assert shown[1]["digests"] == merged["digests"]
    run("convert", TINY, "whole.pt", "--base", TINY).refusal("needs no --base")
    run("convert", "lora", "lora/out.pt", "--base", TINY).refusal("lies inside")


def test_an_audit_is_that_of_the_merged_weights(run, adapter, truth, small_battery):
    torch.save(truth, "merged.pt")
    done = run("audit", TINY, "lora", "merged.pt", "--battery", small_battery, "--out", "audit")
    assert done.code in (0, 1), done.err
    provenance = json.loads(Path("audit/audit.json").read_text())["provenance"]
    base, facts = provenance["base"], provenance["tuned"]
    assert facts["lora"]["digest"] == facts["merged"]["digest"]
    lineage = facts["lora"]["lineage"]
    assert lineage["base"] == {"name": "tiny", "digest": base["digest"]}
    assert lineage["adapter"]["kind"] == "LoRA of rank 2"
    assert len(lineage["adapter"]["digest"]) == 64
    assert facts["lora"]["passport"]["family"] == "LoRA of rank 2, merged into 'tiny'"
    rows = run("report", "audit", "--as", "csv").out.splitlines()
    of = [[row.replace(name, "") for row in rows if name in row] for name in ("lora", "merged")]
    assert of[0] == of[1] != []


def test_commands_that_need_a_whole_model_say_so(run, adapter, small_battery):
    for command in (
        ("audit", "lora", TINY, "--battery", small_battery),
        ("doctor", "lora", "--battery", small_battery),
        ("tune", "lora", "--on", "digits", "--out", "run"),
    ):
        run(*command).refusal("'lora' is an adapter (LoRA of rank 2)", "'some/model' as it says", "BASE")


def test_an_image_tower_is_completed_by_its_base(run, tmp_path, tiny):
    tower = {
        name: value.detach().clone() for name, value in tiny.weights.items() if name.startswith("visual.")
    }
    save_file(tower, tmp_path / "image.safetensors")
    assert run("convert", "image.safetensors", "whole.safetensors", "--base", "forgetcheck:tiny").code == 0
    assert "equal, bit for bit" in run("inspect", "forgetcheck:tiny", "whole.safetensors").out
