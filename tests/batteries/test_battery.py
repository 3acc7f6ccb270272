"""Batteries: a TOML list of tasks, every mistake named with its key."""

import pytest
from sources import folder

from forgetcheck.batteries.battery import names, read_battery, summary, survey
from forgetcheck.errors import InputError
from forgetcheck.tasks.drawn import FAMILIES, Drawn
from forgetcheck.tasks.reading import naming


def write(tmp_path, text):
    path = tmp_path / "b.toml"
    path.write_text(text)
    return str(path)


def test_the_drawn_battery_has_every_family():
    battery = read_battery("drawn")
    assert battery.tasks == {name: Drawn(name) for name in FAMILIES}
    assert "drawn" in names()


def test_a_file_of_ones_own(tmp_path):
    path = write(tmp_path, '[[task]]\nname = "é"\nsource = "drawn:family=size"\n')
    battery = read_battery(path)
    assert battery.name == "b"
    assert summary(battery)["tasks"]["é"]["options"] == {"family": "size"}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "no tasks"),
        ("task = []", "no tasks"),
        ("[[task]", "cannot read"),
        ('[[task]]\nname = "a"\n', r"task\[0\]\.source: field required"),
        ('[[task]]\nname = 3\nsource = ""\n', r"task\[0\]\.name.*task\[0\]\.source"),
        ('[[task]]\nname = "a"\nsource = "digits"\nx = 1\n', r"task\[0\]\.x"),
        ('[[tasks]]\nname = "a"\nsource = "digits"\n', "tasks"),
        ('[[task]]\nname = "a"\nsource = "digit"\n', "did you mean 'digits'"),
        ('[[task]]\nname = "a"\nsource = "digits"\n' * 2, "two tasks are named 'a'"),
        ('[[task]]\nname = "a"\nsource = "digits"\ntemplate = ["{}"]\n', "did you mean 'templates'"),
        ('[[task]]\nname = "a"\nsource = "digits"\ntemplates = ["a digit"]\n', "a: templates need one {}"),
        ('[[task]]\nname = "a"\nsource = "digits"\ntemplates = []\n', "no templates"),
        ('[[task]]\nname = "a"\nsource = "digits"\nclass_names = []\n', "class_names is empty"),
        ('[[task]]\nname = "a"\nsource = "digits"\nclass_names = ["x", " X"]\n', "used twice: 'x', ' X'"),
        ('[[task]]\nname = "a"\nsource = "digits"\nexpected = {tests = 3}\n', r"expected\.tests"),
        ('[[task]]\nname = "a"\nsource = "digits"\nexpected = {test = 0}\n', r"expected\.test"),
        ('task = ["digits"]', r"task\[0\]"),
        ('task = "digits"', "no tasks"),
    ],
)
def test_mistakes_are_named(tmp_path, text, hint):
    with pytest.raises(InputError, match=hint):
        read_battery(write(tmp_path, text))


def test_names_that_are_no_battery():
    with pytest.raises(InputError, match="did you mean 'drawn'"):
        read_battery("drawm")
    with pytest.raises(InputError, match="no battery file"):
        read_battery("nowhere.toml")


def test_a_battery_that_cannot_be_read_says_why(tmp_path, forbid):
    with pytest.raises(InputError, match="it is a folder, not a file"):
        read_battery(str(tmp_path))
    path = write(tmp_path, "")
    forbid(".toml")
    with pytest.raises(InputError, match="': Permission denied"):
        read_battery(path)


def test_all_mistakes_of_a_file_are_named_together(tmp_path):
    text = """[[task]]
name = "a"
source = "nowhere"
templates = ["none"]
[[task]]
name = "b"
source = "digits"
colour = 3
[[task]]
name = "c"
source = "digits"
"""
    battery, mistakes = survey(write(tmp_path, text))
    assert list(battery.tasks) == ["c"]
    assert [mistake.task for mistake in mistakes] == ["a", "a", "task[1].colour"]
    with pytest.raises(InputError, match=r"templates need one.*unknown task 'nowhere'.*unknown key"):
        read_battery(write(tmp_path, text))


def test_the_file_words_a_task_its_own_way(tmp_path):
    digits = [f"the {word}" for word in ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")]
    text = f"""[[task]]
name = "a"
source = "digits"
class_names = {digits}
templates = ["{{}}, handwritten"]
expected = {{classes = 10, test = 596}}
licence = "free"
note = "small"
"""
    battery = read_battery(write(tmp_path, text))
    task, entry = battery.tasks["a"], battery.entries["a"]
    assert task.class_names == tuple(digits)
    assert task.templates == ("{}, handwritten",)
    assert len(task.split("test")) == entry.expected.test
    assert (entry.licence, entry.note, entry.expected.train) == ("free", "small", None)
    assert summary(battery)["tasks"]["a"] == {
        "source": "digits",
        "options": {},
        "class_names": digits,
        "templates": ["{}, handwritten"],
    }


def test_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    folder(tmp_path / "data")
    path = write(tmp_path, '[[task]]\nname = "a"\nsource = "folder:path=data"\n')
    monkeypatch.chdir("/")
    assert len(read_battery(path).tasks["a"].split("test")) == 12


def test_a_battery_is_read_before_its_data_is_there(tmp_path, monkeypatch):
    monkeypatch.delenv("OUR_DATA", raising=False)
    text = '[[task]]\nname = "a"\nsource = "folder:path=${OUR_DATA}/x"\nget = "ask Ann."\n'
    battery = read_battery(write(tmp_path, text))
    with pytest.raises(
        InputError, match=r"\$\{OUR_DATA\} of its source is not set.*To get the data: ask Ann"
    ):
        _ = battery.tasks["a"].class_names
    assert "OUR_DATA" in summary(battery)["tasks"]["a"]["missing"]
    monkeypatch.setenv("OUR_DATA", str(tmp_path))
    battery = read_battery(write(tmp_path, text))
    with pytest.raises(InputError, match=r"no folder of images at.*To get the data: ask Ann"):
        battery.tasks["a"].split("test")
    folder(tmp_path / "x")
    assert read_battery(write(tmp_path, text)).tasks["a"].class_names


def test_class_names_must_name_every_kind_of_caption(tmp_path):
    rows = ["path,caption,kind", "a.png,x,one", "a.png,y,two"]  # the image itself counts as of kind one
    (tmp_path / "t.csv").write_text("\n".join(rows))
    (tmp_path / "b.toml").write_text(
        '[[task]]\nname = "t"\nsource = "captions:path=t.csv"\nclass_names = ["x"]\n'
    )
    task = read_battery(str(tmp_path / "b.toml")).tasks["t"]
    with pytest.raises(InputError, match="class_names has 1 names, but the labels go up to 1"):
        task.split("test")


def test_long_numbers_stay_apart():
    labels = ("12345678901234567890", "12345678901234567891", "7.0")
    told = {labels[0]: "a", labels[1]: "b", "7": "c"}
    assert naming.by_label("x", labels, told) == ("a", "b", "c")
    assert naming.in_order(reversed(labels)) == ["7.0", *labels[:2]]
