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
