"""`battery show`, `check`, `init` and `pick`, as a user runs them."""

import json
import re

import pytest
from sources import folder

from forgetcheck import catalog

pytestmark = pytest.mark.slow

NAMES = ("golden_retriever", "red fox", "Übersee-Käfer")


@pytest.fixture
def images(tmp_path):
    folder(tmp_path / "animals", {"train": 6, "test": 5}, NAMES)


def test_show_what_is_here_and_what_is_not(run, tmp_path):
    (tmp_path / "b.toml").write_text(
        '[[task]]\nname = "size"\nsource = "drawn:family=size"\nlicence = "ours"\n'
        '[[task]]\nname = "gone"\nsource = "folder:path=nowhere"\nexpected = {classes = 7, test = 1234}\n'
        '[[task]]\nname = "far"\nsource = "webdataset:path=https://example.org/x"\n'
    )
    done = run("battery", "show", "b.toml")
    assert done.code == 0, done.err
    rows = {line.split()[0]: line.split() for line in done.out.splitlines() if line}
    assert rows["size"][1:4] == ["4", "400", "600"]
    assert rows["gone"][1:4] == ["7?", "?", "1,234?"]
    assert rows["far"][1:4] == ["?", "?", "?"]
    assert "size: licence: ours" in done.out
    assert "gone: not here (? is what is expected): no folder of images" in done.out
    assert "far: not here (? is what is expected): it is looked at when it is asked" in done.out


@pytest.mark.parametrize("name", ["drawn", "ldifs", "vtab"])
def test_show_what_ships(run, name, monkeypatch):
    monkeypatch.delenv("FORGETCHECK_DATA", raising=False)
    done = run("battery", "show", name)
    assert done.code == 0, done.err
    assert max(map(len, done.out.split("\n\n")[0].splitlines())) <= 80


def test_check_passes_and_says_what_it_saw(run, small_battery):
    done = run("battery", "check", small_battery)
    assert done.code == 0, done.err
    assert "battery small: no problem found (1 task, 1,000 images opened)." in done.out
    assert "0 images opened" in run("battery", "check", small_battery, "--no-images").out


def test_check_refuses_with_every_problem_in_a_line(run, tmp_path):
    (tmp_path / "b.toml").write_text(
        '[[task]]\nname = "a"\nsource = "digits"\ntemplates = ["x"]\n'
        '[[task]]\nname = "b"\nsource = "folder:path=nowhere"\nget = "ask Ann"\n'
    )
    done = run("battery", "check", "b.toml", "--no-images", "--quiet")
    done.refusal("battery 'b' has 2 problems in 2 of its tasks")
    lines = [line for line in done.out.splitlines() if ": note: " not in line]
    assert [line.split(":")[0] for line in lines] == ["a", "b"]
    assert "ask Ann" in lines[1]
    (tmp_path / "one.toml").write_text('[[task]]\nname = "b"\nsource = "folder:path=nowhere"\n')
    done = run("battery", "check", "one.toml", "--no-images", "--quiet")
    done.refusal("battery 'one' has 1 problem in 1 of its tasks (1 task, 0 images opened): see above")


def test_check_holds_a_battery_to_a_policy(run, tmp_path, small_battery):
    (tmp_path / "p.toml").write_text("[policy]\nmax_drop = 0.01\n")
    done = run("battery", "check", small_battery, "--policy", "p.toml", "--no-images")
    done.refusal("has 1 problem in 1 of its tasks")
    assert "600 test images can hardly show a limit of 1 points" in done.out
    (tmp_path / "forgetcheck.toml").write_text("[policy]\nmax_drop = 0.01\n")
    assert run("battery", "check", small_battery, "--no-images").code == 2


def test_init_writes_what_check_and_audit_take(run, images, tmp_path):
    done = run("battery", "init", "animals")
    assert done.code == 0, done.err
    assert "battery check battery.toml" in done.err
    assert '"golden retriever"' in (tmp_path / "battery.toml").read_text(encoding="utf-8")
    assert run("battery", "check", "battery.toml").code == 0
    asked = run("audit", "forgetcheck:tiny", "forgetcheck:tiny", "--battery", "battery.toml", "--quiet")
    assert asked.code == 0, asked.err


def test_init_never_replaces_a_file_by_accident(run, images, tmp_path):
    (tmp_path / "battery.toml").write_text("mine")
    run("battery", "init", "animals").refusal("already exists", "--overwrite")
    assert (tmp_path / "battery.toml").read_text() == "mine"
    assert run("battery", "init", "animals", "--overwrite").code == 0
    run("battery", "init", "nowhere", "--out", "x.toml").refusal("no folder of images")


def test_pick_writes_a_small_battery_and_what_it_costs(run, small_battery, tmp_path):
    done = run("battery", "pick", small_battery, "--per-class", "5", "--out", "few")
    assert done.code == 0, done.err
    assert re.search(r"^shape +zero-shot +600 +35 ", done.out, re.MULTILINE)
    assert "zero-shot: 35 of 600 test images; accuracy off by" in done.out
    assert (tmp_path / "few" / "battery.samples.csv").read_text().count("\n") == 36
    checked = run("battery", "check", "few/battery.toml")
    assert checked.code == 0, checked.out
    asked = run("audit", "forgetcheck:tiny", "forgetcheck:tiny", "--battery", "few/battery.toml", "-q")
    assert asked.code == 0, asked.err
    run("battery", "pick", small_battery, "--per-class", "5", "--out", "few").refusal("already exists")
    run("battery", "pick", small_battery, "--per-class", "0").refusal("--per-class")
    again = run("battery", "pick", small_battery, "--per-class", "5", "--out", small_battery, "--overwrite")
    again.refusal("is the battery that is picked from")


def test_a_task_is_the_target_however_a_battery_words_it(run, tmp_path):
    (tmp_path / "b.toml").write_text(
        '[[task]]\nname = "numbers"\nsource = "digits"\ntemplates = ["a {}"]\n'
        '[[task]]\nname = "size"\nsource = "drawn:family=size"\n'
    )
    tuned = run("tune", "forgetcheck:tiny", "--on", "digits", "--epochs", "1", "--out", "run", "--quiet")
    assert tuned.code == 0, tuned.err
    done = run(
        "audit", "forgetcheck:tiny", "run", "--battery", "b.toml", "--probe", "zero-shot", "--out", "a"
    )
    assert done.code == 0, done.err
    shown = run("report", "a", "--as", "json").out
    assert '"task": "numbers"' in shown
    assert re.search(r'"task": "numbers"[^}]*"target": true', shown, re.DOTALL)


def test_an_audit_asks_what_is_here_and_tells_what_is_missing(run, tmp_path, monkeypatch):
    monkeypatch.delenv("OUR_DATA", raising=False)
    (tmp_path / "b.toml").write_text(
        '[[task]]\nname = "size"\nsource = "drawn:family=size"\n'
        '[[task]]\nname = "gone"\nsource = "folder:path=${OUR_DATA}"\nget = "ask Ann."\n'
    )
    command = ("audit", "forgetcheck:tiny", "forgetcheck:tiny", "--battery", "b.toml", "--probe", "zero-shot")
    done = run(*command, "--out", "a")
    assert done.code == 2, done.err  # a question that was wanted could not be asked
    shown = run("report", "a", "--as", "json").out
    assert "${OUR_DATA} of its source is not set" in shown
    assert "To get the data: ask Ann." in shown


def test_a_person_can_see_what_each_label_is_called(run, tmp_path):
    """Twelve folders of numbers with names by position: 2 comes after 1, and one can look."""
    folder(tmp_path / "data", {"test": 1}, tuple(map(str, range(12))))
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"]
    (tmp_path / "b.toml").write_text(
        f'[[task]]\nname = "n"\nsource = "folder:path=data"\nclass_names = {names}\n'
    )
    lines = [line.split() for line in run("battery", "show", "b.toml", "--labels", "n").out.splitlines()]
    assert ["2", "2", "two", "test/2/image", "0.png"] in lines
    assert ["11", "11", "eleven", "test/11/image", "0.png"] in lines
    run("battery", "show", "b.toml", "--labels", "m").refusal("unknown task 'm'", "known: n")


SWAPPED = '[[task]]\nname = "n"\nsource = "drawn:family=shape"\nclass_names = {names}\n'


def test_a_checkpoint_says_what_it_calls_the_images_of_each_label(run, tmp_path):
    """Names by position that are dealt to the wrong labels show at a glance, and are doubted."""
    names = list(catalog.build("tasks", "drawn:family=shape").class_names)
    dealt = [*names[1:], names[0]]
    (tmp_path / "b.toml").write_text(SWAPPED.format(names=json.dumps(dealt)))
    shown = run("battery", "show", "b.toml", "--labels", "n", "--base", "forgetcheck:tiny", "--quiet")
    assert shown.code == 0, shown.err
    row = next(line for line in shown.out.splitlines() if line.split()[:1] == ["0"])
    assert f"{names[0]} (" in row  # what it says, whatever it is asked for
    assert "the labels look shifted by one" in " ".join(shown.out.split())
    seen = run("inspect", "forgetcheck:tiny", "--battery", "b.toml", "--labels", "n")
    assert row in seen.out
    told = run("inspect", "forgetcheck:tiny", "--battery", "b.toml", "--labels", "n", "--json").out
    first = json.loads(told)["labels"]["labels"][0]
    assert (first["name"], first["answer"]) == (dealt[0], names[0])
    checked = run("battery", "check", "b.toml", "--base", "forgetcheck:tiny", "--no-images")
    assert checked.code == 2
    assert "the labels look shifted by one" in checked.out
    (tmp_path / "b.toml").write_text(SWAPPED.format(names=json.dumps(names)))
    assert run("battery", "check", "b.toml", "--base", "forgetcheck:tiny", "--no-images").code == 0
    run("battery", "show", "b.toml", "--base", "forgetcheck:tiny").refusal("add --labels TASK")
    run("inspect", "forgetcheck:tiny", "--labels", "n").refusal("unknown task 'n'")
