"""A CLIP whose text tower transformers builds goes through every command."""

from text_towers import NAME


def test_it_is_tuned_audited_inspected_and_converted(run, bert, small_battery, tmp_path):
    tuned = run("tune", bert, "--on", "drawn:family=shape", "--epochs", "1", "--out", "tuned")
    assert tuned.code == 0, tuned.err
    audit = run("audit", bert, "tuned", "--battery", small_battery, "--out", "audit")
    assert audit.code == 0, audit.err
    inspected = run("inspect", bert, "tuned")
    assert inspected.code == 0
    assert NAME in inspected.out
    assert run("convert", "tuned", "written").code == 0
    assert "equal, bit for bit" in run("inspect", "tuned", "written").out


def test_a_header_names_nobody_that_is_asked(run, bert, tmp_path):
    assert run("convert", bert, "alone.safetensors").code == 0
    run("audit", "alone.safetensors", "alone.safetensors").refusal(NAME, "add --allow-download")
    assert run("inspect", "alone.safetensors").code == 0  # what it needs for reading is not needed for this


def test_inspect_asks_nobody(run, bert, guard, tmp_path, monkeypatch):
    """Whatever a checkpoint names, and also where its user names something of the hub."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    (bert / "text_config.json").unlink()
    run("inspect", bert).refusal("whose config is neither beside the weights nor in the hub's cache")
    run("inspect", "hf-hub:some/clip").refusal("nothing of it is in the cache")
    run("inspect", "roberta-ViT-B-32:laion2b_s12b_b32k").refusal("neither in the local cache nor reachable")
    (tmp_path / "far.toml").write_text(
        '[[task]]\nname = "x"\nsource = "webdataset:path=http://127.0.0.1:1/x"\n'
    )
    run("inspect", "forgetcheck:tiny", "--battery", "far.toml", "--labels", "x").refusal("runs offline")
    assert guard.network == []
