"""`forgetcheck convert`: any checkpoint in, one that others load out, or one line of refusal."""

import json
import os

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.load import load_encoder

pytestmark = pytest.mark.slow

TINY = "forgetcheck:tiny"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def weights(vit):
    return {name: value.detach().clone() for name, value in vit.weights.items()}


def test_round_about_and_back(run, tmp_path, vit, vit_folder, weights):
    steps = [("vit", "a.pt"), ("a.pt", "b"), ("b", "c.safetensors"), ("c.safetensors", "d")]
    for source, out in steps:
        done = run("convert", source, out, *(["--model", "vit"] if source == "a.pt" else []))
        assert done.code == 0, done.err
        assert done.out.count("\n") == 1
        assert f"read {source} (" in done.out
        assert f"wrote {out} (" in done.out
    assert names(tmp_path) == ["a.pt", "b", "c.safetensors", "d", "vit"]
    end = load_file("d/open_clip_model.safetensors")
    assert all(torch.equal(end[name], weights[name]) for name in weights)
    model, _, _ = open_clip.create_model_and_transforms("local-dir:d")
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_the_line_says_what_was_read_and_written(run):
    done = run("convert", TINY, "tiny.pt")
    assert done.out == f"read {TINY} (safetensors, float16), wrote tiny.pt (pt, 15.2 MB)\n"
    assert 'pretrained="tiny.pt"' in done.err
    done = run("convert", TINY, "tiny")
    assert done.out == f"read {TINY} (safetensors, float16), wrote tiny (local-dir, 15.2 MB)\n"
    assert '"local-dir:tiny"' in done.err


def test_wrappers_and_a_head_are_told_of(run, tmp_path, vit_folder, weights):
    wrapped = {f"module.{name}": value for name, value in weights.items()}
    wrapped["module.classification_head.weight"] = torch.ones(3, 16)
    torch.save({"state_dict": wrapped}, tmp_path / "ddp.pt")
    done = run("convert", "ddp.pt", "clean.safetensors", "--model", "vit")
    assert done.code == 0, done.err
    assert "Stripped 'module.' from every name." in done.err
    assert "Left out the fine-tuned head" in done.err
    assert set(load_file("clean.safetensors")) == set(weights)


def test_what_is_converted_can_be_audited(run, small_battery):
    run("convert", TINY, "copy")
    done = run("audit", TINY, "copy", "--battery", small_battery, "--out", "a", "--quiet")
    assert done.code == 0, done.err
    assert (
        load_encoder(find_checkpoint("copy"), "cpu").digests
        == load_encoder(find_checkpoint(TINY), "cpu").digests
    )


@pytest.mark.parametrize(
    ("out", "told", "words"),
    [
        ("w.pth", None, ["suffix of 'w.pth'", "--save-as local-dir"]),
        ("ldifs-0.5", None, ["--save-as local-dir"]),
        ("w.PT", None, ["suffix"]),
        ("w", "zip", ["unknown format 'zip'"]),
        ("w", "", ["unknown format ''"]),
        ("w", "safetensors", ["must end in .safetensors"]),
        ("w.pt", "safetensors", ["must end in .safetensors"]),
        ("w.safetensors", "pt", ["'w.safetensors' can't be written as pt"]),
        ("w.pt", "local-dir", ["can't be written as local-dir"]),
        (".", None, ["holds 'vit'", "choose another"]),
        ("", None, ["choose another"]),
        ("..", None, ["choose another"]),
        ("/dev/null", None, ["choose another"]),
        ("/dev/null", "pt", ["device"]),
        ("/proc/w.pt", None, ["system"]),
        ("/dev/null/w.pt", None, ["'/dev/null/w.pt'"]),
        (f"{'x' * 300}.pt", None, ["File name too long"]),
        ("x" * 5000, None, ["File name too long"]),
        ("a\0.pt", None, ["null"]),
    ],
)
def test_outputs_that_cannot_be(run, tmp_path, vit_folder, out, told, words):
    done = run("convert", "vit", out, *(["--save-as", told] if told is not None else []))
    done.refusal(*words)
    assert done.err.count("\n") == 1
    assert names(tmp_path) == ["vit"]


@pytest.mark.parametrize(("out", "told"), [("ldifs-0.5", "local-dir"), ("w.pth", "pt"), ("w.bin", "pt")])
def test_a_format_that_is_told_takes_other_names(run, tmp_path, vit_folder, out, told):
    assert run("convert", "vit", out, "--save-as", told).code == 0
    assert (tmp_path / out).exists()


@pytest.mark.parametrize("out", ["w.safetensors", "w.pt", "w"])
def test_what_exists_is_refused_before_the_work(run, tmp_path, vit_folder, out, monkeypatch):
    assert run("convert", "vit", out).code == 0
    with monkeypatch.context() as patched:
        patched.setattr("forgetcheck.clip.saving.convert.read_clip", lambda *_: pytest.fail("worked in vain"))
        run("convert", "vit", out).refusal("already exists", "--overwrite")
    assert run("convert", "vit", out, "--overwrite").code == 0
    assert names(tmp_path) == ["vit", out]


def test_overwriting_spares_what_is_not_ours(run, tmp_path, vit_folder):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "thesis.tex").write_text("years")
    run("convert", "vit", "project", "--overwrite").refusal("--overwrite won't replace it")
    (tmp_path / "folder.pt").mkdir()
    run("convert", "vit", "folder.pt", "--overwrite").refusal("is a folder, not a file")
    assert names(tmp_path / "project") == ["thesis.tex"]


@pytest.mark.parametrize(
    ("source", "out", "words"),
    [
        ("vit", "vit", ["is what is read"]),
        ("vit", "vit/../vit", ["is what is read"]),
        ("vit", "link", ["is what is read"]),
        ("vit", "vit/w.pt", ["lies inside 'vit'"]),
        ("vit", "link/deep/w.pt", ["lies inside 'vit'"]),
        ("vit/open_clip_model.safetensors", "vit", ["'vit' holds"]),
        ("vit/open_clip_model.safetensors", "vit/open_clip_model.safetensors", ["is what is read"]),
        ("vit/open_clip_model.safetensors", "hard.safetensors", ["is what is read"]),
    ],
)
def test_what_is_read_is_never_written_to(run, tmp_path, vit_folder, source, out, words):
    (tmp_path / "link").symlink_to("vit")
    os.link(vit_folder / "open_clip_model.safetensors", tmp_path / "hard.safetensors")
    before = {path.name: path.read_bytes() for path in vit_folder.iterdir()}
    run("convert", source, out, "--overwrite").refusal(*words)
    assert before == {path.name: path.read_bytes() for path in vit_folder.iterdir()}


def test_files_beside_each_other_in_one_folder(run, tmp_path, vit_folder):
    """A file in the folder of the file that is read is neither inside of it nor around it."""
    done = run("convert", "vit/open_clip_model.safetensors", "vit/w.pt", "--model", "vit")
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere.pt", ["no checkpoint at 'nowhere.pt'"]),
        ("", ["is empty"]),
        ("bare.pt", ["no architecture of open_clip; the nearest", "--model NAME"]),
        ("half.safetensors", ["holds an image tower only", "behind the whole checkpoint"]),
        ("nan.safetensors", ["NaN or Inf"]),
        ("ViT-B-32:opena", ["did you mean 'openai'"]),
        ("empty.pt", ["0 bytes"]),
        ("folder", ["no run folder"]),
        ("a\0b", ["no checkpoint at"]),
        ("x" * 5000, ["File name too long"]),
    ],
)
def test_inputs_that_cannot_be(run, tmp_path, vit, weights, source, words):
    config = {"open_clip_config": json.dumps(vit.config)}
    torch.save(weights, tmp_path / "bare.pt")
    visual = {name: value for name, value in weights.items() if name.startswith("visual.")}
    save_file(visual, tmp_path / "half.safetensors", config)
    save_file(
        {**weights, "visual.proj": weights["visual.proj"] * torch.nan}, tmp_path / "nan.safetensors", config
    )
    (tmp_path / "empty.pt").touch()
    (tmp_path / "folder").mkdir()
    before = names(tmp_path)
    done = run("convert", source, "out.safetensors")
    done.refusal(*words)
    assert done.err.count("\n") == 1
    assert names(tmp_path) == before


@pytest.mark.parametrize("out", ["w.safetensors", "w.pt", "w"])
def test_a_full_disk_leaves_nothing_behind(tmp_path, process, out):
    """The real thing: the kernel refuses to write past a file size limit."""
    code = (
        "import resource, signal, sys;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000));"
        f"sys.argv = 'forgetcheck convert {TINY} {out}'.split();"
        "from forgetcheck.cli.main import main; main()"
    )
    done = process(code=code)
    done.refusal(f"cannot write '{out}'", "disk is full")
    assert names(tmp_path) == []


def test_a_hostile_name_cannot_repaint_the_terminal(run, vit_folder):
    done = run("convert", "vit", "\x1b[31mred\nforgetcheck: fake.pt")
    assert done.code == 0, done.err
    assert "\x1b" not in done.out + done.err
    assert done.out.count("\n") == 1
