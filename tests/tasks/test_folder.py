"""Class folders: names, parts, links, and what is refused with the way out."""

import hashlib
import os
import shutil

import pytest
from sources import encoded, folder, picture, put

from forgetcheck import catalog
from forgetcheck.errors import InputError
from forgetcheck.tasks.base import Unreadable
from forgetcheck.tasks.folder import Folder

WHOLE = {"": 9}


def refused(task, *words):
    with pytest.raises(InputError) as caught:
        task.split("test")
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def ids(task):
    return {part: task.split(part).ids for part in ("train", "test")}


def test_names_are_said_as_people_say_them(tmp_path):
    folder(tmp_path)
    assert Folder(str(tmp_path)).class_names == ("blue jay", "red fox", "Übersee-Käfer")
    assert Folder(str(tmp_path), names="as-is").class_names == ("blue_jay", "red fox", "Übersee-Käfer")


def test_classes_that_are_numbers_are_in_the_order_of_their_values(tmp_path):
    """Whoever names them by position means 2 before 10."""
    folder(tmp_path / "x", {"": 1}, tuple(map(str, range(12))))
    assert Folder(str(tmp_path / "x")).class_names == tuple(map(str, range(12)))
    folder(tmp_path / "y", {"train": 1, "test": 1}, ("-1", "10", "2.5"))
    task = Folder(str(tmp_path / "y"))
    assert task.class_names == ("-1", "2.5", "10")
    assert [name.split("/")[1] for name in task.split("test").ids] == ["-1", "2.5", "10"]


def test_numbers_in_front_are_dropped_where_every_class_has_one(tmp_path):
    folder(tmp_path / "birds", {"": 1}, ("001.Black_footed_Albatross", "002.Laysan_Albatross"))
    assert Folder(str(tmp_path / "birds")).class_names == ("Black footed Albatross", "Laysan Albatross")
    folder(tmp_path / "mixed", {"": 1}, ("001.a", "b"))
    assert Folder(str(tmp_path / "mixed")).class_names == ("001.a", "b")
    folder(tmp_path / "numbers", {"": 1}, ("1.5", "2.5"))
    assert Folder(str(tmp_path / "numbers")).class_names == ("1.5", "2.5")


def test_the_parts_are_those_of_the_folders(tmp_path):
    task = catalog.build("tasks", folder(tmp_path))
    assert task.split("train").ids[0] == "train/blue_jay/image 0.png"
    assert (len(task.split("train")), len(task.split("test"))) == (18, 12)
    assert task.split("test").labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert task.split("train").image(0).tobytes() == picture("blue_jay", 0).tobytes()
    assert task.notes == ()


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Test"])
def test_a_validation_folder_is_test_where_there_is_no_other(tmp_path, name):
    task = catalog.build("tasks", folder(tmp_path, {"train": 2, name: 1}))
    assert task.split("test").ids[0] == f"{name}/blue_jay/image 0.png"


def test_a_validation_folder_beside_test_is_left_out(tmp_path):
    task = catalog.build("tasks", folder(tmp_path, {"train": 2, "val": 1, "test": 3}))
    assert len(task.split("test")) == 9


def test_a_part_that_is_missing_is_named(tmp_path):
    task = catalog.build("tasks", folder(tmp_path, {"test": 2}))
    assert len(task.split("test")) == 6
    with pytest.raises(InputError, match="has no train part"):
        task.split("train")


def test_without_parts_a_third_of_each_class_is_test_and_the_task_says_so(tmp_path):
    task = catalog.build("tasks", folder(tmp_path, WHOLE))
    assert [task.split("test").labels.tolist().count(label) for label in range(3)] == [3, 3, 3]
    assert len(task.split("train")) == 18
    assert "hash of the content" in task.notes[0]


def test_equal_images_are_in_one_part_whatever_their_class(tmp_path):
    folder(tmp_path, WHOLE)
    for number in range(9):
        shutil.copy(
            tmp_path / "red fox" / f"image {number}.png", tmp_path / "blue_jay" / f"copy {number}.png"
        )
        shutil.copy(tmp_path / "red fox" / f"image {number}.png", tmp_path / "red fox" / f"copy {number}.png")
    task = Folder(str(tmp_path))
    marks = {
        part: {hashlib.sha256(image.tobytes()).digest() for image in map(split.image, range(len(split)))}
        for part, split in ((part, task.split(part)) for part in ("train", "test"))
    }
    assert not marks["train"] & marks["test"]
    assert sum(len(found) for found in ids(task).values()) == 45


def test_another_name_or_another_image_moves_next_to_nothing(tmp_path):
    folder(tmp_path, WHOLE)
    before = set(ids(Folder(str(tmp_path)))["test"])
    put(tmp_path / "red fox" / "new.png", encoded(picture("red fox", 77)))
    after = set(ids(Folder(str(tmp_path)))["test"])
    assert len(before ^ after) <= 2
    put(tmp_path / "a new class" / "new.png", encoded(picture("new", 5)))
    assert set(ids(Folder(str(tmp_path)))["test"]) == after


def test_a_class_with_one_image_is_for_training(tmp_path):
    folder(tmp_path, WHOLE)
    put(tmp_path / "lonely" / "x.png", encoded(picture("lonely")))
    task = Folder(str(tmp_path))
    label = task.class_names.index("lonely")
    assert label in task.split("train").labels
    assert label not in task.split("test").labels


def test_subfolders_of_a_class_belong_to_it_and_hidden_files_do_not(tmp_path):
    folder(tmp_path, {"train": 1, "test": 1})
    put(tmp_path / "test" / "red fox" / "old" / "très bon.JPEG", encoded(picture("red fox", 9), "JPEG"))
    put(tmp_path / "test" / "red fox" / "._image 0.png", b"of a Mac")
    put(tmp_path / "test" / "red fox" / "Thumbs.db", b"of Windows")
    put(tmp_path / "__MACOSX" / "x", b"")
    task = Folder(str(tmp_path))
    assert task.split("test").ids[1:3] == ("test/red fox/image 0.png", "test/red fox/old/très bon.JPEG")
    assert len(task.split("test")) == 4
    assert task.notes == (
        "1 of 8 files, which are no images: 'test/red fox/Thumbs.db'",
        "hidden files and those of the system: '__MACOSX'",
    )
    assert task.left_out == task.notes


def test_folders_of_parts_have_the_names_that_people_give_them(tmp_path):
    folder(tmp_path / "x", {"Training": 2, "Testing": 1})
    assert [len(Folder(str(tmp_path / "x")).split(part)) for part in ("train", "test")] == [6, 3]
    folder(tmp_path / "x", {"train": 1})
    refused(Folder(str(tmp_path / "x")), "'Training' and 'train' are both called train")
    folder(tmp_path / "y", {"train": 1, "test": 1, "Test": 1})
    refused(Folder(str(tmp_path / "y")), "'Test' and 'test' are both called test")


@pytest.mark.parametrize(("train", "test"), [("Red Fox", "red fox"), ("Käfer", "Ka\u0308fer")])
def test_a_class_that_is_written_otherwise_in_the_other_part_is_one(tmp_path, train, test):
    folder(tmp_path, {"train": 2}, (train, "owl"))
    folder(tmp_path, {"test": 2}, (test, "owl"))
    task = Folder(str(tmp_path))
    assert len(task.class_names) == 2
    assert sorted(task.split("test").labels.tolist()) == sorted(task.split("train").labels.tolist())


@pytest.mark.parametrize("place", [".thumbnails", "@eaDir", "red fox/.thumbs", "red fox/@eaDir"])
def test_thumbnails_in_folders_of_the_system_are_no_images_and_counted(tmp_path, place):
    folder(tmp_path, {"": 4})
    put(tmp_path / place / "image 0.png", encoded(picture("red fox", 50, side=4)))
    task = Folder(str(tmp_path))
    assert len(task.index.whole) == 12
    assert task.left_out == (f"hidden files and those of the system: '{place}'",)


def test_the_same_images_in_two_folders_of_a_class_are_refused(tmp_path):
    folder(tmp_path / "x", {"": 4})
    shutil.copytree(tmp_path / "x" / "red fox", tmp_path / "x" / "red fox" / "copy")
    refused(
        Folder(str(tmp_path / "x")), "class 'red fox' holds its images twice", "remove one of the folders"
    )
    folder(tmp_path / "y", {"": 4})
    for number in range(4):
        data = encoded(picture("red fox", number, side=4), "JPEG")
        put(tmp_path / "y" / "red fox" / "thumbnails" / f"image {number}.jpg", data)
    refused(Folder(str(tmp_path / "y")), "class 'red fox' holds its images twice", "thumbnails")
    for camera in ("left", "right"):  # cameras number their frames alike
        for number in range(4):
            place = tmp_path / "z" / "red fox" / camera / f"{number}.png"
            put(place, encoded(picture("red fox", number + 10 * len(camera))))
    put(tmp_path / "z" / "owl" / "0.png", encoded(picture("owl")))
    assert len(Folder(str(tmp_path / "z")).index.whole) == 9


def test_images_that_nobody_reads_are_missed(tmp_path):
    folder(tmp_path, {"test": 2})
    for number in range(6):
        put(tmp_path / "test" / "red fox" / f"{number}.HEIC", b"ftypheic")
    task = Folder(str(tmp_path))
    assert len(task.split("test")) == 12  # so that they count against what is tolerated
    with pytest.raises(Unreadable, match="no image of a known format"):
        task.split("test").image(task.split("test").ids.index("test/red fox/0.HEIC"))


def test_an_image_that_cannot_be_read_keeps_its_place(tmp_path):
    folder(tmp_path)
    put(tmp_path / "test" / "red fox" / "image 1.png", b"text")
    (tmp_path / "test" / "red fox" / "image 2.png").unlink()
    (tmp_path / "test" / "red fox" / "image 2.png").symlink_to("gone.png")
    task = Folder(str(tmp_path), unreadable=0.2)
    split = task.split("test")
    assert len(split) == 12
    assert task.tolerated == 0.2
    for i, words in ((5, "no image of a known format"), (6, "No such file")):
        with pytest.raises(Unreadable, match=words):
            split.image(i)
    assert split.contents()


def test_a_change_of_one_byte_changes_the_contents(tmp_path):
    spec = folder(tmp_path)
    before = catalog.build("tasks", spec).split("test").contents()
    path = tmp_path / "test" / "red fox" / "image 1.png"
    put(path, path.read_bytes() + b"\0")
    assert catalog.build("tasks", spec).split("test").contents() != before


def test_prompts_of_ones_own(tmp_path):
    folder(tmp_path / "images")
    assert Folder(str(tmp_path / "images")).templates == ("a photo of a {}.",)
    path = put(tmp_path / "prompts.txt", b"a photo of a {c}.\nart of {}\n\n")
    assert Folder("x", prompts=str(path)).templates == ("a photo of a {}.", "art of {}")
    put(path, b"a photo\n")
    with pytest.raises(InputError, match=r"line 1: expected one \{\}"):
        _ = Folder("x", prompts=str(path)).templates
    put(path, b"")
    with pytest.raises(InputError, match="is empty"):
        _ = Folder("x", prompts=str(path)).templates
    with pytest.raises(InputError, match="cannot read"):
        _ = Folder("x", prompts=str(tmp_path)).templates


def test_a_share_is_one(tmp_path):
    assert catalog.build("tasks", "folder:path=x,unreadable=0.01").tolerated == 0.01
    for text in ("1.5", "-0.1", "nan", "half"):
        with pytest.raises(InputError, match=f"folder:unreadable={text}: input should be"):
            catalog.build("tasks", f"folder:path=x,unreadable={text}")


def test_what_is_no_folder_of_classes(tmp_path):
    with pytest.raises(InputError, match=r"folder needs path: write folder:path=VALUE\."):
        catalog.build("tasks", "folder")
    refused(Folder(str(tmp_path / "gone")), "no folder of images", "gone")
    refused(Folder(str(put(tmp_path / "file", b""))), "no folder of images")
    (tmp_path / "empty").mkdir()
    refused(Folder(str(tmp_path / "empty")), "has 0 classes")
    put(tmp_path / "flat" / "x.png", b"")
    refused(Folder(str(tmp_path / "flat")), "'x.png' outside of any class", "folder of its name")
    folder(tmp_path / "one", WHOLE, ("red fox",))
    refused(Folder(str(tmp_path / "one")), "has 1 classes")


def test_classes_that_cannot_be_told_apart_or_have_no_image(tmp_path):
    folder(tmp_path / "twice", WHOLE, ("red fox", "red_fox"))
    refused(Folder(str(tmp_path / "twice")), "both 'red fox'")
    folder(tmp_path / "accents", WHOLE, ("caf\u00e9", "cafe\u0301"))
    refused(Folder(str(tmp_path / "accents")), "both 'café'")
    folder(tmp_path / "nameless", WHOLE, ("_", "x"))
    refused(Folder(str(tmp_path / "nameless")), "can't be asked")
    folder(tmp_path / "empty", WHOLE)
    (tmp_path / "empty" / "snow leopard").mkdir()
    refused(Folder(str(tmp_path / "empty")), "no image of 'snow leopard'", "remove the folder")


def test_a_class_name_that_is_no_text(tmp_path):
    folder(tmp_path, WHOLE)
    try:
        os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    except OSError:
        pytest.skip("this file system has Unicode names only")
    put(tmp_path / "caf\udce9" / "x\udce9.png", encoded(picture("x")))
    refused(Folder(str(tmp_path)), "can't be asked: rename it")
    (tmp_path / "caf\udce9").rename(tmp_path / "cafe")
    assert Folder(str(tmp_path)).split("train").contents()


def test_a_folder_called_train_may_be_a_class(tmp_path):
    folder(tmp_path, WHOLE, ("plane", "train", "tram"))
    refused(Folder(str(tmp_path)), "'train' beside 'plane', 'tram'", "layout=classes", "layout=parts")
    assert Folder(str(tmp_path), layout="classes").class_names == ("plane", "train", "tram")
    refused(Folder(str(tmp_path), layout="parts"), "outside of any class")
    refused(Folder(str(tmp_path / "plane"), layout="parts"), "neither a train nor a test folder")


def test_links_inside_are_followed_and_links_out_only_on_request(tmp_path):
    folder(tmp_path / "data", WHOLE)
    put(tmp_path / "secret" / "mine.png", encoded(picture("mine")))
    inside = tmp_path / "data" / "red fox" / "linked.png"
    inside.symlink_to(tmp_path / "data" / "blue_jay" / "image 0.png")
    assert len(Folder(str(tmp_path / "data")).split("train")) >= 18
    (tmp_path / "alias").symlink_to(tmp_path / "data")
    assert Folder(str(tmp_path / "alias")).class_names == Folder(str(tmp_path / "data")).class_names
    for target in (tmp_path / "secret", tmp_path / "secret" / "mine.png"):
        out = tmp_path / "data" / "red fox" / "out.png"
        out.unlink(missing_ok=True)
        out.symlink_to(target)
        refused(Folder(str(tmp_path / "data")), "is a link out of", "links=follow")
        found = ids(Folder(str(tmp_path / "data"), links="follow"))
        assert any("out.png" in name for names in found.values() for name in names)


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_loop_of_links_ends(tmp_path, target):
    folder(tmp_path / "data", WHOLE)
    (tmp_path / "data" / "red fox" / "again").symlink_to(target, target_is_directory=True)
    refused(Folder(str(tmp_path / "data"), links="follow"), "leads back")
    if target != "../..":
        refused(Folder(str(tmp_path / "data")), "leads back", "remove the link")


def test_two_folders_that_link_to_each_other(tmp_path):
    folder(tmp_path, WHOLE)
    (tmp_path / "red fox" / "x").symlink_to(tmp_path / "blue_jay")
    (tmp_path / "blue_jay" / "x").symlink_to(tmp_path / "red fox")
    refused(Folder(str(tmp_path)), "leads back")


def test_a_link_to_itself_is_an_image_that_cannot_be_read(tmp_path):
    folder(tmp_path, {"train": 1, "test": 1})
    path = tmp_path / "test" / "red fox" / "image 0.png"
    path.unlink()
    path.symlink_to(path)
    split = Folder(str(tmp_path)).split("test")
    with pytest.raises(Unreadable, match="symbolic links"):
        split.image(split.ids.index("test/red fox/image 0.png"))


def test_the_order_is_that_of_the_composed_names(tmp_path):
    folder(tmp_path / "one", WHOLE, ("z", "cafe\u0301", "caff"))
    folder(tmp_path / "two", WHOLE, ("caf\u00e9", "z", "caff"))
    names = {Folder(str(tmp_path / place)).class_names for place in ("one", "two")}
    assert names == {("caff", "café", "z")}


def test_folders_that_only_sound_like_thumbnails_are_images(tmp_path):
    places = ("scrap/aluminium", "scrap/steel", "apple/large", "apple/small")
    for number in range(4):
        for place, name in enumerate(places):
            put(tmp_path / name / f"{number}.png", encoded(picture("red fox", number + 20 * place)))
    assert len(Folder(str(tmp_path)).index.whole) == 16
    (tmp_path / "scrap" / "gone").mkdir()
    (tmp_path / "scrap" / "gone" / "0.png").symlink_to(tmp_path / "scrap" / "nowhere.png")
    assert len(Folder(str(tmp_path), unreadable=0.5).index.whole) == 17


def test_a_spelling_that_both_parts_have_is_a_class_of_its_own(tmp_path):
    folder(tmp_path, {"train": 2}, ("Polish", "polish", "x"))
    folder(tmp_path, {"test": 2}, ("polish", "x"))
    task = Folder(str(tmp_path), names="as-is")
    named = {task.class_names[label] for label in task.split("test").labels}
    assert named == {"polish", "x"}
    folder(tmp_path / "y", {"": 2}, ("valid", "validation", "test", "Test"))
    assert len(Folder(str(tmp_path / "y"), layout="classes", names="as-is").class_names) == 4


def test_what_lies_beside_images_is_no_image(tmp_path):
    folder(tmp_path, {"": 4})
    put(tmp_path / "Icon.ico", b"icon")
    put(tmp_path / "red fox" / "image 0.NEF", b"raw")  # beside image 0.png
    task = Folder(str(tmp_path))
    assert len(task.index.whole) == 12
    assert "2 of 14 files, which are no images" in task.left_out[0]


def test_a_pipe_beside_a_pipe_of_its_name_keeps_nobody_waiting(tmp_path):
    folder(tmp_path, {"": 2})
    for inner in ("a", "b"):
        (tmp_path / "red fox" / inner).mkdir()
        os.mkfifo(tmp_path / "red fox" / inner / "0.png")
    assert len(Folder(str(tmp_path)).index.whole) == 8
