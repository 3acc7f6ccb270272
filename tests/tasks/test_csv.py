"""CSV files: columns, parts and groups; every mistake with its line, and no path that leaves the folder."""

import re

import numpy as np
import pytest
from sources import encoded, picture, put, table

from forgetcheck import catalog
from forgetcheck.errors import InputError
from forgetcheck.tasks.base import Unreadable
from forgetcheck.tasks.csv import Csv


def write(folder, text, count=40):
    for number in range(count):
        put(folder / f"{number}.png", encoded(picture("red fox", number)))
    return str(put(folder / "list.csv", text.encode()))


def listing(labels, header="path,label", tail=lambda number: ""):
    return "\n".join([header, *(f"{n}.png,{label}{tail(n)}" for n, label in enumerate(labels))])


def refused(task, *words):
    with pytest.raises(InputError) as caught:
        task.split("test")
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_rows_are_samples_in_the_order_of_the_file(tmp_path):
    task = catalog.build("tasks", table(tmp_path))
    assert task.class_names == ("blue_jay", "red fox", "Übersee-Käfer")
    assert task.split("test").labels.tolist() == [1] * 4 + [2] * 4 + [0] * 4
    assert task.split("test").ids[4] == "images/test of Übersee-Käfer, 0.png"
    assert task.split("test").image(4).tobytes() == picture("Übersee-Käfer", 100).tobytes()
    assert task.templates == ("a photo of a {}.",)
    assert task.notes == ()


def test_labels_are_sorted_and_numbers_by_value(tmp_path):
    assert Csv(write(tmp_path, listing(["b", "a", "B"]))).class_names == ("B", "a", "b")
    assert Csv(write(tmp_path, listing(["10", "9"]))).class_names == ("9", "10")
    numbers = ["11.0", "-1", "2.0", "+3"]
    assert Csv(write(tmp_path, listing(numbers))).class_names == ("-1", "2.0", "+3", "11.0")
    assert Csv(write(tmp_path, listing(["v10", "v9"]))).class_names == ("v10", "v9")


def test_numbers_are_places_among_the_classes_however_they_are_written(tmp_path):
    path = str(put(tmp_path / "classes.txt", b"zebra\nokapi\napple"))
    for written in (["0", "1", "2"], ["0.0", "1.0", "2.0"], ["00", "01", "+2"]):
        task = Csv(write(tmp_path, listing(written)), classes=path)
        assert task.index.whole.labels.tolist() == [0, 1, 2]


def test_a_file_of_classes_gives_names_and_order(tmp_path):
    path = str(put(tmp_path / "classes.txt", "zebra\n crème  brûlée\napple\n\n".encode()))
    named = Csv(write(tmp_path, listing(["apple", "zebra", "crème brûlée"])), classes=path)
    assert named.class_names == ("zebra", "crème brûlée", "apple")
    assert named.index.whole.labels.tolist() == [2, 0, 1]
    numbered = Csv(write(tmp_path, listing(["2", "0", "1"])), classes=path)
    assert numbered.index.whole.labels.tolist() == [2, 0, 1]
    refused(
        Csv(write(tmp_path, listing(["2", "0", "3"])), classes=path), "line 4 has the label '3'", "3 classes"
    )
    refused(Csv(write(tmp_path, listing(["0", "apple"])), classes=path), "line 2 has the label '0'")
    refused(Csv(write(tmp_path, listing(["a", "b"])), classes="gone.txt"), "cannot read 'gone.txt'")


def test_class_names_that_are_numbers_are_names_first(tmp_path):
    path = str(put(tmp_path / "classes.txt", b"1\n0\n"))
    assert Csv(write(tmp_path, listing(["0", "1"])), classes=path).index.whole.labels.tolist() == [1, 0]


def test_columns_have_the_names_they_have(tmp_path):
    text = "file;ignored".replace(";", ",") + ",species,fold,patient\n0.png,x,a,train,p\n1.png,x,b,val,\n"
    task = Csv(
        write(tmp_path, text), image="file", label="species", part="fold", group="patient", others="ignore"
    )
    assert task.class_names == ("a", "b")
    assert (task.split("train").ids, task.split("test").ids) == (("0.png",), ("1.png",))


def test_a_validation_part_beside_test_is_left_out_and_told(tmp_path):
    text = "path,label,split\n0.png,a,train\n1.png,b,val\n2.png,b,test\n"
    task = Csv(write(tmp_path, text))
    assert task.split("test").ids == ("2.png",)
    assert task.notes == ("not read, beside 'test': 'val'",)


def test_a_file_from_excel_and_one_with_tabs(tmp_path):
    path = write(tmp_path, "\ufeffpath,label\r\n0.png,a\r\n\r\n1.png,b\r\n")
    assert Csv(path).class_names == ("a", "b")
    put(tmp_path / "list.TSV", b"path\tlabel\n0.png\ta\n1.png\tb, or c\n")
    assert Csv(str(tmp_path / "list.TSV")).class_names == ("a", "b, or c")


def test_groups_are_numbered_and_who_has_none_is_alone(tmp_path):
    text = listing("abababab", "path,label,group", lambda n: ",p" if n < 4 else ",q" if n < 6 else ",")
    groups = Csv(write(tmp_path, text)).index.whole.groups
    assert groups.tolist() == [0, 0, 0, 0, 1, 1, 2, 3]
    assert Csv(write(tmp_path, listing("ab", "path,label,group", lambda n: ","))).index.whole.groups is None


def test_a_group_is_never_torn_apart(tmp_path):
    text = listing("ab" * 20, "path,label,group", lambda n: f",{n // 4}")
    path = write(tmp_path, text)
    put(tmp_path / "39.png", (tmp_path / "0.png").read_bytes())  # ties two groups
    task = Csv(path)
    train, test = task.split("train"), task.split("test")
    assert not set(train.groups.tolist()) & set(test.groups.tolist())
    assert len(train) + len(test) == 40
    assert len(test) >= 4
    assert ("0.png" in test.ids) == ("39.png" in test.ids)
    assert "hash of the content" in task.notes[0]


def test_a_class_with_one_image(tmp_path):
    task = Csv(write(tmp_path, listing("aaaaaab")))
    assert task.split("train").labels.tolist().count(1) == 1
    assert np.bincount(task.split("test").labels, minlength=2).tolist() == [2, 0]


def test_paths_may_begin_elsewhere(tmp_path):
    write(tmp_path / "images", "")
    path = put(tmp_path / "lists" / "x.csv", listing("ab").encode())
    task = Csv(str(path), root=str(tmp_path / "images"))
    assert task.split("train").image(0).size == (12, 12)
    inside = put(
        tmp_path / "images" / "y.csv", f"path,label\n{tmp_path}/images/0.png,a\n./1.png,b\n".encode()
    )
    assert sorted(Csv(str(inside)).index.whole.ids) == ["0.png", "1.png"]


@pytest.mark.parametrize("path", ["../x.png", "a/../../x.png", "/etc/passwd", "..", ".", ""])
def test_no_path_leaves_the_folder(tmp_path, path):
    text = f"path,label\n0.png,a\n{path},b\n"
    refused(Csv(write(tmp_path, text)), "line 3", f"'{path}'", "root=DIR")


def test_a_link_out_is_read_on_request_only(tmp_path):
    put(tmp_path / "x.png", encoded(picture("x")))
    path = write(tmp_path / "data", listing("abab", "path,label,split", lambda n: ",test"))
    (tmp_path / "data" / "1.png").unlink()
    (tmp_path / "data" / "1.png").symlink_to(tmp_path / "x.png")
    with pytest.raises(Unreadable, match="links=follow"):
        Csv(path).split("test").image(1)
    assert Csv(path, links="follow").split("test").image(1).size == (12, 12)


def test_a_missing_image_keeps_its_place(tmp_path):
    split = Csv(write(tmp_path, listing("ab", "path,label,split", lambda n: ",test"), 1)).split("test")
    assert len(split) == 2
    with pytest.raises(Unreadable, match="No such file"):
        split.image(1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column 'path' but nothing"),
        ("path,label\n", "has 0 classes"),
        ("path;label\n0.png;a\n", "no column 'path' but another first line.*image=NAME.*commas"),
        ("path,class\n0.png,a\n", "no column 'label' but 'path', 'class': pass label=NAME"),
        ("path,label,width\n0.png,a,3\n", "unknown column 'width'.*others=ignore"),
        ("path,label,label\n0.png,a,b\n", "two columns of one name"),
        ("path,label\n0.png,a\n1.png\n", "line 3 has 1 fields where the header has 2"),
        ("path,label\n0.png,a\n1.png,b,c\n", "line 3 has 3 fields"),
        ("path,label\n0.png,a\n1.png, \n", "line 3 has no label"),
        ("path,label,split\n0.png,a,train\n1.png,b,\n", "line 3 has the split ''.*train, test, val"),
        ("path,label,split\n0.png,a,train\n1.png,b,fold1\n", "line 3 has the split 'fold1'"),
        ("path,label\n0.png,a\n./0.png,b\n", "line 3 lists '0.png' again, as line 2 does"),
        ("path,label\n0.png,a\n1.png,a\n", "has 1 classes"),
        ('path,label\n"0.png,a\n', "cannot read .*unexpected end of data"),
        ("path,label\n0.png,a" + "b" * 200_000, "cannot read .*field larger"),
        ("path,label,split\n0.png,a,train\n1.png,b,train\n", "has no test part"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path, text, words):
    task = Csv(write(tmp_path, text))
    with pytest.raises(InputError) as caught:
        task.split("test")
    assert re.search(words, str(caught.value)), str(caught.value)


def test_a_file_that_cannot_be_read_says_why(tmp_path, forbid):
    refused(Csv("gone.csv"), "cannot read 'gone.csv': No such file")
    refused(Csv(str(tmp_path)), "it is a folder, not a file")
    refused(Csv(str(put(tmp_path / "latin.csv", b"path,label\n0.png,caf\xe9\n"))), "cannot read", "utf-8")
    path = write(tmp_path, listing("ab"))
    forbid(".csv")
    refused(Csv(path), "Permission denied")


@pytest.mark.parametrize(
    ("listed", "there"),
    [
        ("cats\\1.png", "cats/1.png"),
        ("K\u00e4fer/1.png", "Ka\u0308fer/1.png"),
        ("Ka\u0308fer/1.png", "K\u00e4fer/1.png"),
        ("K\u00e4fer\\1.png", "Ka\u0308fer/1.png"),
    ],
)
def test_paths_that_another_system_wrote_are_found(tmp_path, listed, there):
    put(tmp_path / there, encoded(picture("red fox", 7)))
    put(tmp_path / "b.png", encoded(picture("blue_jay", 8)))
    path = put(tmp_path / "list.csv", f"path,label,split\n{listed},fox,test\nb.png,jay,test".encode())
    split = Csv(str(path)).split("test")
    assert split.ids[0] == listed
    assert split.image(0).tobytes() == picture("red fox", 7).tobytes()


@pytest.mark.parametrize("listed", ["..\\x.png", "a\\..\\..\\x.png"])
def test_backslashes_lead_nowhere_else(tmp_path, listed):
    put(tmp_path / "x.png", encoded(picture("red fox")))
    path = put(tmp_path / "in" / "list.csv", f"path,label,split\n{listed},fox,test\nb.png,jay,test".encode())
    with pytest.raises(Unreadable):
        Csv(str(path)).split("test").image(0)
