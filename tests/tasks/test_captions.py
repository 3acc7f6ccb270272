"""Captions are read from every layout the field writes them in, with their images, kinds and groups."""

import io
import json
import re
import tarfile

import numpy as np
import pytest
from sources import encoded, lines, picture, put, told
from webdataset import TarWriter

from forgetcheck import catalog
from forgetcheck.errors import InputError
from forgetcheck.tasks.captions import Captions

SAID = {"a.png": ["a cat", "one cat"], "b c.png": ["a dog"], "ü/d.png": ["a bird,  in a tree"]}
PAIRS = [
    ("a.png", "a cat"),
    ("a.png", "one cat"),
    ("b c.png", "a dog"),
    ("ü/d.png", "a bird, in a tree"),
]


def images(root):
    for number, name in enumerate(SAID):
        put(root / name, encoded(picture(name, number)))


def pairs(task):
    split = task.split("test")
    captions = split.captions
    return [(split.ids[place], text) for place, text in zip(captions.places, captions.texts, strict=True)]


def coco():
    return {
        "info": {"year": 2014},
        "images": [{"id": 7 + k, "file_name": name, "width": 12} for k, name in enumerate(SAID)],
        "annotations": [
            {"id": 1, "image_id": 7 + k, "caption": text}
            for k, (_, texts) in enumerate(SAID.items())
            for text in texts
        ],
    }


def karpathy(split="test"):
    return {
        "dataset": "coco",
        "images": [
            {
                "filepath": "ü" if "/" in name else "",
                "filename": name.rpartition("/")[2],
                "split": split,
                "sentences": [{"raw": text, "tokens": text.split()} for text in texts],
            }
            for name, texts in SAID.items()
        ],
    }


def listed():
    return [{"image": name, "caption": texts if len(texts) > 1 else texts[0]} for name, texts in SAID.items()]


def table():
    rows = [f'{name},"{text}"' for name, texts in SAID.items() for text in texts]
    return "\n".join(["path,caption", *rows])


def write(root, name, content):
    images(root)
    text = content if isinstance(content, str) else json.dumps(content)
    return put(root / name, text.encode())


@pytest.mark.parametrize(
    ("name", "content"),
    [("t.csv", table()), ("c.json", coco()), ("k.json", karpathy()), ("l.json", listed())],
)
def test_every_layout_gives_the_same_captions(tmp_path, name, content):
    task = Captions(str(write(tmp_path, name, content)))
    assert pairs(task) == PAIRS
    assert task.class_names == ("caption",)
    assert task.split("test").image(1).size == (12, 12)
    assert task.notes == ()


def test_images_may_lie_elsewhere(tmp_path):
    images(tmp_path / "pictures")
    path = put(tmp_path / "words" / "l.json", json.dumps(listed()).encode())
    assert pairs(Captions(str(path), root=str(tmp_path / "pictures"))) == PAIRS


def test_of_parts_test_is_asked_and_the_others_are_told(tmp_path):
    found = karpathy()
    found["images"][0]["split"] = "restval"
    task = Captions(str(write(tmp_path, "k.json", found)))
    assert pairs(task) == PAIRS[2:]
    assert task.notes == ("only 'test' is asked: 2 captions of other parts are left out",)
    only = Captions(str(write(tmp_path, "t.json", karpathy("train"))))
    with pytest.raises(InputError, match="has the parts 'train': nothing is asked of any but test"):
        only.split("test")


def test_the_name_of_a_part_counts_in_either_case(tmp_path):
    rows = ["path,caption,split", "a.png,x,Test", "b c.png,y,test", "ü/d.png,z,train"]
    task = Captions(str(write(tmp_path, "t.csv", "\n".join(rows))))
    assert [text for _, text in pairs(task)] == ["x", "y"]
    assert "1 captions of other parts" in task.notes[0]


def test_kinds_are_concepts_and_groups_are_those_of_images(tmp_path):
    rows = [
        "path,caption,kind,group",
        "a.png,x,size_of,p1",
        "a.png,y,colour,p1",
        "b c.png,z,colour,",
        "ü/d.png,w,10,p1",
    ]
    split = (task := Captions(str(write(tmp_path, "t.csv", "\n".join(rows))))).split("test")
    assert task.class_names == ("10", "colour", "size of")
    assert split.captions.kinds.tolist() == [2, 1, 1, 0]
    assert split.labels.tolist() == [2, 1, 0]  # of the first caption of each image
    assert split.groups.tolist() == [0, 1, 0]


def test_tars_as_clip_benchmark_writes_them(tmp_path):
    lines(tmp_path / "test" / "nshards.txt", "2")
    lines(tmp_path / "dataset_type.txt", "retrieval")
    for shard, chosen in enumerate((["a.png", "b c.png"], ["ü/d.png"])):
        with TarWriter(str(tmp_path / "test" / f"{shard}.tar")) as writer:
            for key, name in enumerate(chosen):
                writer.write(
                    {"__key__": f"s{key}", "png": picture(name), "txt": "\n".join(SAID[name]) + "\n"}
                )
    task = catalog.build("tasks", f"captions:path={tmp_path}")
    assert [text for _, text in pairs(task)] == [text for _, text in PAIRS]
    assert task.split("test").ids == ("test/0/s0", "test/0/s1", "test/1/s0")
    assert task.split("test").image(2).size == (12, 12)


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ({"png": b"", "cls": b"0"}, "has no captions .txt. but png, cls"),
        ({"png": b"", "txt": b" \n"}, "the sample 'test/0/s' has no caption"),
        ({"png": b"", "txt": b"\xff\xfe"}, "captions that are not UTF-8"),
        ({"png": b"", "txt": b"x" * (2**20 + 1)}, "has 1,048,577 bytes of captions; at most 1,048,576"),
    ],
)
def test_tars_without_captions_are_refused(tmp_path, pieces, said):
    lines(tmp_path / "test" / "nshards.txt", "1")
    with tarfile.open(tmp_path / "test" / "0.tar", "w") as tar:
        for ending, content in pieces.items():
            member = tarfile.TarInfo(f"s.{ending}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(InputError, match=said):
        Captions(str(tmp_path)).split("test")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "is no file of captions: expected COCO's images and annotations"),
        ([], "has no captions: nothing would be measured"),
        ("nothing", "cannot read"),
        ("[" * 100_000, "nested too deeply"),
        ([{"image": "a.png"}], "at 0.caption: field required"),
        ([{"image": "a.png", "caption": 3}], "at 0.caption"),
        ([{"image": "../x.png", "caption": "x"}], "has the path '../x.png', which is not below"),
        ([{"image": "/etc/passwd", "caption": "x"}], "which is not below"),
        ({**coco(), "images": []}, "annotation 0 is about the image 7, which it doesn't list"),
        ({"images": [{"filename": "a.png"}]}, "at images.0.split: field required"),
        ([{"image": "a.png", "caption": " "}], "entry 0, about 'a.png', has an empty caption: write it"),
        ([{"image": "a.png", "caption": ["x", ""]}], "entry 1, about 'a.png', has an empty caption"),
        ([{"image": "a.png", "caption": "caf\udce9"}], "entry 0 is not Unicode (a lone surrogate"),
        (
            {
                "images": [
                    {"filename": "a", "filepath": "\ud83d", "split": "test", "sentences": [{"raw": "x"}]}
                ]
            },
            "entry 0 is not Unicode (a lone surrogate",
        ),
        ([{"image": "a.png", "caption": []}], "entry 0, about 'a.png', has no captions: write one"),
        (
            {"images": [{"filename": "a.png", "split": "test", "sentences": []}]},
            "entry 0, about 'a.png', has no captions: write one",
        ),
        ({**coco(), "images": [{"id": 7, "file_name": x} for x in "ab"]}, "gives the id 7 to 'a' and 'b'"),
        ("path,caption", "expected JSON in UTF-8, or a table whose name ends in .csv or .tsv"),
    ],
)
def test_files_that_say_nothing_usable(tmp_path, content, said):
    with pytest.raises(InputError, match=re.escape(said)):
        Captions(str(write(tmp_path, "x.json", content))).split("test")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("path,text\na.png,x", "has no column 'caption' but 'path', 'text': pass caption=NAME"),
        ("path,caption,odd\na.png,x,1", "unknown column 'odd': pass kind=odd or part=odd or group=odd"),
        ("path,caption\na.png,", "line 2 has no caption"),
        ("path,caption\na.png", "line 2 has 1 fields where the header has 2"),
        ("path,caption,split\na.png,x,often", "has the split 'often': write one of"),
        ("path,caption,group\na.png,x,p\na.png,y,q", "puts 'a.png' into the groups 'p' and 'q': keep one"),
        ("path,caption,kind\na.png,x,of_size\na.png,y,of size", "differ in little but their writing"),
    ],
)
def test_tables_that_say_nothing_usable(tmp_path, rows, said):
    with pytest.raises(InputError, match=said):
        Captions(str(write(tmp_path, "x.csv", rows))).split("test")


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*nowhere\.json"):
        Captions(str(tmp_path / "nowhere.json")).split("test")
    with pytest.raises(InputError, match=r"nshards\.txt"):
        Captions(str(tmp_path)).split("test")


def test_tabs_are_as_good_as_commas(tmp_path):
    commas, tabs = (
        catalog.build("tasks", told(tmp_path / kind, kind)).split("test") for kind in ("csv", "tsv")
    )
    assert commas.captions.texts == tabs.captions.texts
    assert np.array_equal(commas.captions.places, tabs.captions.places)
