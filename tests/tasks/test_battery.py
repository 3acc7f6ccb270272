"""Batteries: a TOML list of tasks, every mistake named with its key."""

import pytest

from forgetcheck.errors import CannotAsk
from forgetcheck.tasks.battery import names, read_battery, summary
from forgetcheck.tasks.drawn import FAMILIES, Drawn


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
    ],
)
def test_mistakes_are_named(tmp_path, text, hint):
    with pytest.raises(CannotAsk, match=hint):
        read_battery(write(tmp_path, text))


def test_names_that_are_no_battery():
    with pytest.raises(CannotAsk, match="did you mean 'drawn'"):
        read_battery("drawm")
    with pytest.raises(CannotAsk, match="no battery file"):
        read_battery("nowhere.toml")


def test_a_battery_that_cannot_be_read_says_why(tmp_path, forbid):
    with pytest.raises(CannotAsk, match="it is a folder, not a file"):
        read_battery(str(tmp_path))
    path = write(tmp_path, "")
    forbid(".toml")
    with pytest.raises(CannotAsk, match="': Permission denied"):
        read_battery(path)
