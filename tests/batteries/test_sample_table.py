"""The table of picked samples: written and read back, and every way in which it can be wrong."""

import numpy as np
import pytest

from forgetcheck import catalog
from forgetcheck.batteries.battery import read_battery, summary
from forgetcheck.batteries.sample_table import COLUMNS, Pick, read_picks, written
from forgetcheck.errors import InputError

SPLIT = catalog.build("tasks", "digits").split("test")


def picks(*places, part="test"):
    return [
        Pick("a", part, SPLIT.ids[i], str(SPLIT.labels[i]), f"digit {SPLIT.labels[i]}", "") for i in places
    ]


def battery(tmp_path, text):
    (tmp_path / "few.csv").write_text(text, encoding="utf-8")
    path = tmp_path / "few.toml"
    path.write_text('[[task]]\nname = "a"\nsource = "digits"\nsamples = "few.csv"\n')
    return read_battery(str(path))


def test_only_the_listed_samples_are_asked(tmp_path):
    task = battery(tmp_path, written(picks(7, 3, 40))).tasks["a"]
    part = task.split("test")
    assert part.ids == tuple(SPLIT.ids[i] for i in (7, 3, 40))
    assert part.labels.tolist() == SPLIT.labels[[7, 3, 40]].tolist()
    assert part.image(1).tobytes() == SPLIT.image(3).tobytes()
    assert len(task.split("train")) == 1201  # not listed: whole
    assert task.origin == catalog.build("tasks", "digits")


def test_provenance_knows_the_table(tmp_path):
    one = summary(battery(tmp_path, written(picks(7, 3))))
    other = summary(battery(tmp_path, written(picks(7, 4))))
    assert len(one["tasks"]["a"]["samples"]) == 64
    assert one != other


def test_odd_names_come_back(tmp_path):
    rows = (Pick("a, b", "test", 'x "y",\nz/é.png', "0", "ünit", "00"),)
    (tmp_path / "t.csv").write_text(written(rows), encoding="utf-8")
    assert read_picks(tmp_path / "t.csv", "a, b", "test") == rows


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "its first line isn't task,split"),
        ("task,id\n", "its first line isn't"),
        (",".join(COLUMNS) + "\na,test,x\n", "line 2 is not"),
        (",".join(COLUMNS) + "\na,test,x,one,c,p\n", "line 2 is not"),
        (",".join(COLUMNS) + "\na,test,x,1,c,p,more\n", "line 2 is not"),
        (written(picks(1)).replace("a,test", "b,test"), "lists no sample of task 'a'"),
        (written(picks(1, 2)).replace(SPLIT.ids[2], "gone"), r"1 of 2 samples .* not in the source: gone"),
        (written(picks(1)).replace(f",{SPLIT.labels[1]},", ",99,"), "have another class now"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, text, hint):
    task = battery(tmp_path, text).tasks["a"]
    with pytest.raises(InputError, match=hint):
        task.split("test")


def test_a_table_that_is_not_there(tmp_path):
    path = tmp_path / "few.toml"
    path.write_text('[[task]]\nname = "a"\nsource = "digits"\nsamples = "few.csv"\n')
    read = read_battery(str(path))
    with pytest.raises(InputError, match="cannot read the samples"):
        read.tasks["a"].split("test")
    assert "samples" not in summary(read)["tasks"]["a"]


def test_labels_are_whole_numbers(tmp_path):
    assert np.array_equal(
        battery(tmp_path, written(picks(5))).tasks["a"].split("test").labels, SPLIT.labels[[5]]
    )
