"""A stranger's battery in whole audits: no document shows what is the user's; what can't be asked exits 2."""

import json

import pytest
from safetensors.torch import save_file
from sources import folder, put

from forgetcheck import catalog

pytestmark = pytest.mark.slow

TINY = "forgetcheck:tiny"
SECRET = "s3cret-hunter2"
SHAPE = '[[task]]\nname = "shape"\nsource = "drawn:family=shape"\n'
GONE = '[[task]]\nname = "gone"\nsource = "folder:path=gone"\n'
AUDIT = ("audit", TINY, TINY, "--gallery", "0", "--device", "cpu", "--probe", "zero-shot", "--overwrite")


@pytest.fixture
def written(tmp_path):
    """Write batteries and policies into the folder that the program runs in."""

    def write(name, text):
        return put(tmp_path / name, text.encode())

    return write


def test_no_document_says_what_a_variable_or_a_strangers_file_holds(run, tmp_path, written, monkeypatch):
    home = tmp_path / SECRET
    put(home / "notes.txt", f"{SECRET} {{}}\n".encode())
    put(home / "logins.csv", f"path,label\n{SECRET},{SECRET}\n".encode())
    folder(home / "photos")
    monkeypatch.setenv("DATA", str(home))
    monkeypatch.setenv("TOKEN", SECRET)
    written("work/b.toml", SHAPE + "".join(
        f'[[task]]\nname = "t{number}"\noptional = true\nsource = "{source}"\n'
        for number, source in enumerate((
            "folder:path=${DATA}/photos",
            "folder:path=${DATA}/gone",
            "folder:path=${TOKEN}/gone",
            "csv:path=${DATA}/logins.csv",
            "folder:path=${DATA}/photos,prompts=${DATA}/notes.txt",
            "webdataset:path=${DATA}/photos",
            "torchvision:name=CIFAR10,root=${DATA}/photos",
            "huggingface:path=${DATA}/gone",
        ))
    ))  # fmt: skip
    names = [name for name in catalog.names("exporters") if name != "github"]
    documents = [f"--as={name}={tmp_path / 'out'}/{name}.txt" for name in names]
    found = run(*AUDIT, "--battery", "work/b.toml", *documents, f"--as=github={tmp_path / 'out'}/g.txt")
    assert found.code == 0, found.err
    texts = {
        path: path.read_text() for path in [*(tmp_path / "out").iterdir(), tmp_path / "audit/audit.json"]
    }
    assert len(texts) == len(names) + 2
    assert [path for path, text in texts.items() if SECRET in text] == []
    assert SECRET not in found.out + found.err
    assert "${DATA}/photos" in texts[tmp_path / "audit/audit.json"]
    for shown in (found.out, texts[tmp_path / "out/html.txt"], texts[tmp_path / "out/json.txt"]):
        assert "${DATA}/photos" in shown
    assert "optional, and not asked: t1" in found.out
    assert "optional: " in texts[tmp_path / "out/html.txt"]
    record = json.loads(texts[tmp_path / "out/json.txt"])
    assert {item["role"] for item in record["unasked"]} == {"optional"}


@pytest.fixture
def other(tmp_path, weights):
    """Another checkpoint than the tiny one, which knows the same."""
    weights["logit_scale"] += 0.001
    save_file(weights, tmp_path / "other.safetensors")
    return (*AUDIT[:2], "other.safetensors", *AUDIT[3:], "--model", TINY)


@pytest.mark.parametrize("policy", ["", "[policy]\nmax_mean_drop = 0.5\n"])
def test_a_task_that_cannot_be_asked_exits_2_and_all_else_is_written(run, tmp_path, written, other, policy):
    written("b.toml", SHAPE + GONE)
    extra = ["--policy", written("p.toml", policy)] if policy else []
    found = run(*other, "--battery", "b.toml", "--as", "json=r.json", *extra)
    found.refusal("'gone' could not be asked", "no folder of images at", "optional = true")
    assert "shape" in found.out
    assert json.loads((tmp_path / "r.json").read_text())["findings"]
    run("report", "audit", *extra).refusal("'gone' could not be asked")
    written("b.toml", SHAPE + GONE + "optional = true\n")
    found = run(*other, "--battery", "b.toml", *extra)
    assert "optional, and not asked: gone" in found.out
    assert found.code == 0, found.err


def test_a_demand_that_was_measured_and_failed_comes_first(run, written):
    written("b.toml", SHAPE + GONE)
    failing = '[[policy.concepts]]\nmatch = "shape/circle"\nmust_forget = true\nmax_accuracy = 0.0\n'
    found = run(*AUDIT, "--battery", "b.toml", "--policy", written("p.toml", failing))
    assert found.code == 1, found.err


def test_confinement_reaches_every_command(run, tmp_path, written):
    folder(tmp_path / "data")
    folder(tmp_path / "pr" / "photos")
    put(tmp_path / "pr" / "in.toml", b'[[task]]\nname = "a"\nsource = "folder:path=photos"\n')
    put(tmp_path / "pr" / "out.toml", b'[[task]]\nname = "a"\nsource = "folder:path=../data"\n')
    for start in (
        (*AUDIT, "--battery"),
        ("battery", "check"),
        ("battery", "show"),
        ("battery", "pick", "--per-class", "1", "--out", "pr/small"),
        ("doctor", TINY, "--battery"),
    ):
        found = run(*start, "pr/out.toml", "--confine", "pr")
        assert (found.code, "--confine" in found.out + found.err) == (2, True), start
    for on in ("folder:path=data", "webdataset:path=https://example.org/x"):
        run("tune", TINY, "--on", on, "--out", "run", "--confine", "pr").refusal("--confine")
        run(*AUDIT, "--battery", "pr/in.toml", "--target", on, "--confine", "pr").refusal("--confine")
    run(*AUDIT, "--battery", written("o.toml", SHAPE), "--confine", "pr").refusal("--confine")
    run("battery", "pick", "pr/in.toml", "--per-class", "1", "--confine", "pr").refusal("--confine")
    run("battery", "show", "drawn", "--confine", "nowhere").refusal("--confine nowhere", "no such folder")
    assert run("battery", "show", "pr/in.toml", "--confine", "pr").code == 0
    assert run(*AUDIT, "--battery", "pr/in.toml", "--confine", "pr").code == 0


def test_a_picked_battery_has_its_texts_beside_it(run, tmp_path):
    folder(tmp_path / "a" / "photos")
    put(tmp_path / "a" / "prompts.txt", b"a photo of {}\nart of {}\n")
    put(tmp_path / "a" / "names.txt", "red_fox a fox\nblue_jay a jay\nÜbersee-Käfer a beetle\n".encode())
    put(
        tmp_path / "a" / "b.toml",
        b'[[task]]\nname = "my pets"\nsource = "folder:path=photos,prompts=prompts.txt"\n'
        b'class_names = "names.txt"\n',
    )
    assert run("battery", "pick", "a/b.toml", "--per-class", "2", "--out", "small").code == 0
    from forgetcheck.batteries.battery import read_battery

    task = read_battery("small/battery.toml").tasks["my pets"]
    assert task.templates == ("a photo of {}", "art of {}")
    assert sorted(task.class_names) == ["a beetle", "a fox", "a jay"]
    assert len(task.split("test")) == 6


@pytest.mark.parametrize(
    ("name", "value"),
    [("RANK", "one"), ("WORLD_SIZE", "0"), ("LOCAL_RANK", "-1"), ("MASTER_PORT", "70000"), ("RANK", "5"),
     ("TORCHELASTIC_RESTART_COUNT", "x"), ("LOCAL_RANK", "²")],
)  # fmt: skip
def test_numbers_of_torchrun_that_are_none(run, monkeypatch, small_battery, name, value):
    usual = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    for variable, text in {**usual, "TORCHELASTIC_RUN_ID": "t", name: value}.items():
        monkeypatch.setenv(variable, text)
    monkeypatch.setattr("forgetcheck.cli.console.hush_followers", lambda: None)
    run(*AUDIT, "--battery", small_battery).refusal(name, value)
