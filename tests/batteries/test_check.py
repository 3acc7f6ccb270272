"""lint(): for every mistake a battery that shows it and one that doesn't; all of them told at once."""

import shutil

import pytest
from sources import COLOURS, encoded, folder, picture, put, swapped, told

from forgetcheck.batteries.check import lint
from forgetcheck.batteries.near_duplicates import digest_of
from forgetcheck.batteries.sample_table import Pick, written
from forgetcheck.errors import InputError
from forgetcheck.retention.policy import Policy, Rule

NAMES = ["blue jay", "red fox", "Übersee-Käfer"]  # as the source orders them
TEMPLATES = ["a photo of a {}, an animal."]


@pytest.fixture
def battery(tmp_path):
    """Write a battery about one folder of images, clean but for what is asked for."""
    folder(tmp_path / "data", {"train": 8, "test": 40})

    def write(name="animals", source="folder:path=data", **keys):
        keys = {"templates": TEMPLATES, **keys}
        lines = [f"{key} = {value}" for key, value in keys.items() if value is not None]
        path = tmp_path / "b.toml"
        path.write_text(
            f'[[task]]\nname = "{name}"\nsource = "{source}"\n' + "\n".join(lines) + "\n", encoding="utf-8"
        )
        return str(path)

    return write


def texts(found, grave=True):
    return [remark.text for remark in found.remarks if remark.grave is grave]


def only(found, *words):
    """Assert a single problem, with these words."""
    (text,) = texts(found)
    assert all(word in text for word in words), text


def test_a_clean_battery_has_no_problem(battery):
    found = lint(battery(class_names=NAMES, expected="{classes = 3, train = 24, test = 120}"))
    assert texts(found) == []
    assert texts(found, grave=False) == [
        "120 test images can hardly show a limit of 2 points to be kept (7.3 is what they can; the smallest "
        "drop mostly found is 12.7 points): about 1,300 would do"
    ]
    assert found.images == 144


def test_class_names(battery):
    only(lint(battery(class_names=["fox", "Fox", "jay"])), "used twice: 'fox', 'Fox'")
    only(lint(battery(class_names=["fox", "", "jay"])), "missing, for label 1")


def test_names_by_label(battery, tmp_path):
    """Whatever their order: a table, and the files that data sets have beside them."""
    for named in (
        '{ red_fox = "fox", blue_jay = "jay", "Übersee-Käfer" = "beetle" }',
        '"names.txt"',
        '"names.json"',
    ):
        (tmp_path / "names.txt").write_text(
            "red_fox fox, Vulpes vulpes\nÜbersee-Käfer\tbeetle\nblue_jay jay\n"
        )
        (tmp_path / "names.json").write_text(
            '{"blue_jay": "jay",\n "red_fox": "fox", "Übersee-Käfer": "beetle"}'
        )
        found = lint(battery(class_names=named), images=False)
        assert texts(found) == []
        assert found.battery.tasks["animals"].class_names == ("jay", "fox", "beetle")
    only(
        lint(battery(class_names='{ red_fox = "fox", blue_jay = "jay" }')),
        "no name for the label 'Übersee-Käfer'",
    )
    twice = '{ red_fox = "fox", blue_jay = "fox", "Übersee-Käfer" = "beetle" }'
    only(lint(battery(class_names=twice), images=False), "used twice", "'fox'")
    (tmp_path / "names.txt").write_text("nothing\n")
    assert "names no label" in texts(lint(battery(class_names='"names.txt"'), images=False))[0]


def test_the_same_picture_under_two_labels(battery, tmp_path):
    shutil.copy(tmp_path / "data/test/red fox/image 0.png", tmp_path / "data/test/blue_jay/again.png")
    only(
        lint(battery()),
        "1 test images have the pixels of another with another label",
        "'test/blue_jay/again.png' (blue jay) and 'test/red fox/image 0.png' (red fox)",
    )


def test_names_that_no_one_would_defend_are_told(battery, tmp_path):
    (tmp_path / "data/test/blue_jay").rename(tmp_path / "data/test/no_label")
    (tmp_path / "data/train/blue_jay").rename(tmp_path / "data/train/no_label")
    assert any("reads like a missing label" in text for text in texts(lint(battery()), grave=False))


def test_a_task_without_a_train_part_is_a_note(battery, tmp_path):
    shutil.rmtree(tmp_path / "data" / "train")
    found = lint(battery())
    assert texts(found) == []
    assert any("has no train part" in text for text in texts(found, grave=False))


def test_the_order_of_class_names(battery):
    only(
        lint(battery(class_names=["red_fox", "Blue Jay", "Käfer"])),
        "another order",
        "'red_fox' is at place 0",
    )
    assert texts(lint(battery(class_names=["a blue jay", "a red fox", "a beetle"]))) == []


def test_the_number_of_class_names(battery):
    found = texts(lint(battery(class_names=[*NAMES, "emu"]), images=False))
    assert any("4 names, the source 3 classes" in text for text in found)
    found = texts(lint(battery(class_names=NAMES[:2]), images=False))
    assert any("2 names, the source 3 classes" in text for text in found)
    assert any("labels go up to 2" in text for text in found)


def test_templates(battery):
    only(lint(battery(templates=["a photo"])), "need one {}")
    only(lint(battery(templates=["a {}", "a {}"])), "given twice")


def test_fallback_templates(battery):
    assert any(
        "no templates of its own" in text for text in texts(lint(battery(templates=None)), grave=False)
    )
    stated = lint(battery(templates=["a photo of a {}."]))
    assert not any("templates" in text for text in texts(stated, grave=False))


def test_counts_against_expectation(battery):
    found = texts(lint(battery(expected="{classes = 4, train = 24, test = 99}"), images=False))
    assert found == [
        "3 classes, expected 4: complete the data, or correct `expected`",
        "120 test images, expected 99: complete the data, or correct `expected`",
    ]


def test_classes_without_images(battery, tmp_path):
    shutil.rmtree(tmp_path / "data" / "test" / "red fox")
    shutil.rmtree(tmp_path / "data" / "train" / "blue_jay")
    found = texts(lint(battery()))
    assert len(found) == 2
    assert "no test images of 'red fox'" in found[0]
    assert "no train images of 'blue jay'" in found[1]


def test_too_few_images_for_a_policy_are_a_problem(battery):
    only(lint(battery(), Policy(max_drop=0.05)), "120 test images can hardly show a limit of 5 points")
    assert texts(lint(battery(), Policy(max_drop=0.1))) == []
    rule = Rule(match="animals/red fox", max_drop=0.1)
    only(
        lint(battery(), Policy(max_drop=0.1, concepts=[rule])),
        "40 test images of 'red fox'",
        "about 75 would",
    )


def test_a_class_with_a_handful_is_an_anecdote(battery, tmp_path):
    for path in sorted((tmp_path / "data" / "test" / "red fox").iterdir())[3:]:
        path.unlink()
    notes = texts(lint(battery()), grave=False)
    assert any("1 classes have fewer than 30" in note and "'red fox' with 3" in note for note in notes)
    assert any("no drop is found" in note for note in notes)


def test_the_same_image_in_train_and_test(battery, tmp_path):
    shutil.copy(tmp_path / "data/test/red fox/image 1.png", tmp_path / "data/train/red fox/again.png")
    only(lint(battery()), "1 test images are in train as well", "again.png", "image 1.png")
    assert texts(lint(battery(), images=False)) == []


def test_an_image_that_looks_like_one_in_train(battery, tmp_path):
    name = next(iter(COLOURS))
    again = encoded(picture(name, 101), "JPEG", quality=95, subsampling=0)
    put(tmp_path / "data" / "train" / name / "again.jpg", again)
    notes = texts(lint(battery()), grave=False)
    assert any("look like a train image" in note and "again.jpg" in note for note in notes)


def test_unreadable_files(battery, tmp_path):
    put(tmp_path / "data" / "test" / "red fox" / "image 0.png", b"\x89PNG broken")
    only(lint(battery()), "1 of 120 test images can't be read", "image 0.png", "restore or remove")
    tolerant = lint(battery(source="folder:path=data,unreadable=0.5"))
    assert texts(tolerant) == []
    assert any("can't be read" in note for note in texts(tolerant, grave=False))


def test_data_that_is_not_there(battery):
    only(lint(battery(source="folder:path=nowhere", get='"ask Ann."')), "no folder of images", "ask Ann.")


def test_images_that_were_replaced_since_they_were_picked(battery, tmp_path):
    names = [f"test/{name}/image 0.png" for name in sorted(COLOURS)[:2]]
    images = [picture(name, 100) for name in sorted(COLOURS)[:2]]
    picks = [
        Pick("animals", "test", name, str(label), "", digest_of(image))
        for label, (name, image) in enumerate(zip(names, images, strict=True))
    ]
    (tmp_path / "few.csv").write_text(written(picks), encoding="utf-8")
    spec = battery(samples='"few.csv"')
    absent = "no test images of 'Übersee-Käfer'"
    only(lint(spec), absent)
    put(tmp_path / "data" / names[0], encoded(picture("other", 5)))
    found = texts(lint(spec))
    assert len(found) == 2
    assert f"1 test images have other pixels than when they were picked: '{names[0]}'" in found[1]


def test_everything_is_told_at_once_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "b.toml"
    path.write_text(
        '[[task]]\nname = "first"\nsource = "folder:path=nowhere"\n'
        '[[task]]\nname = "second"\nsource = "digits"\ncolour = 1\n'
        '[[task]]\nname = "third"\nsource = "digit"\n'
        '[[task]]\nname = "fourth"\nsource = "digits"\ntemplates = ["x"]\nclass_names = ["a", "a"]\n'
    )
    found = lint(str(path), images=False)
    tasks = [remark.task for remark in found.problems]
    assert tasks == ["task[1].colour", "first", "third", *["fourth"] * 4]
    assert len({remark.text for remark in found.problems}) == len(found.problems)


def test_progress_counts_the_images_of_all_tasks(battery):
    seen = []
    lint(battery(), progress=lambda stage, done, total, note="": seen.append((done, total, note)))
    assert seen[-1] == (144, 144, "animals")
    assert [done for done, *_ in seen] == sorted(done for done, *_ in seen)


def test_no_battery_at_all():
    with pytest.raises(InputError, match="no battery file"):
        lint("nowhere.toml")


def test_captions_need_no_templates_and_no_train_part(battery, tmp_path):
    told(tmp_path / "told")
    found = lint(battery(source="captions:path=told/list.csv", templates=None))
    assert texts(found) == []
    told_of = texts(found, grave=False)
    assert any("24 captions can hardly show a limit of 2 points" in text for text in told_of)
    assert any("fewer than 30 captions, the fewest 'drawn by us' with 12" in text for text in told_of)
    found = lint(battery(source="captions:path=told/list.csv", expected="{test = 12}"))
    assert texts(found) == []
    assert "captions are read as they are: leave out the templates" in texts(found, grave=False)
    swapped(tmp_path / "swapped")
    found = lint(battery(source="swaps:path=swapped/list.csv", templates=None, expected="{test = 9}"))
    only(found, "12 test images, expected 9")
