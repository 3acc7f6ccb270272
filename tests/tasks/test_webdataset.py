"""CLIP_benchmark's layout, written by the library that writes it; what is not whole is refused."""

import gc
import io
import tarfile

import numpy as np
import pytest
from PIL import Image
from sources import COLOURS, encoded, lines, picture, put, shards

from forgetcheck import catalog
from forgetcheck.errors import InputError
from forgetcheck.tasks.base import Unreadable
from forgetcheck.tasks.captions import Captions
from forgetcheck.tasks.webdataset import Webdataset


def refused(task, *words, part="test"):
    with pytest.raises(InputError) as caught:
        task.split(part)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def pack(root, members, part="test", number=0):
    """Replace a tar by one with these members."""
    with tarfile.open(root / part / f"{number}.tar", "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def alone(root, members):
    """Write a data set whose test part is one tar with these members."""
    shards(root, {"train": 1, "test": 1})
    lines(root / "test" / "nshards.txt", "1")
    pack(root, members)
    return Webdataset(str(root))


def test_samples_are_those_that_were_written(tmp_path):
    task = catalog.build("tasks", shards(tmp_path))
    assert task.class_names == ("red fox", "Übersee-Käfer", "blue_jay")
    assert task.templates == ("a photo of a {}.", "art of {}.")
    assert task.notes == ()
    test = task.split("test")
    assert (len(task.split("train")), len(test)) == (18, 12)
    assert (test.ids[0], test.ids[11]) == ("test/0/s0000000", "test/1/s0000011")
    assert test.labels.tolist() == [0, 1, 2] * 4
    for i in range(12):
        expected = picture(tuple(COLOURS)[i % 3], i // 3 + 100)
        assert test.image(i).tobytes() == expected.tobytes()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_same_samples_as_the_library_reads_with_its_own_decoder(tmp_path):
    split = catalog.build("tasks", shards(tmp_path)).split("train")
    found = read_with_the_library(str(tmp_path / "train" / "{0..2}.tar"))
    gc.collect()  # it leaves files open: here, where that is expected
    assert [label for _, label in found] == split.labels.tolist()
    assert [image.tobytes() for image, _ in found] == [split.image(i).tobytes() for i in range(len(split))]


def read_with_the_library(urls):
    import webdataset

    handler = webdataset.autodecode.ImageHandler("pil", extensions=["webp", "png", "jpg", "jpeg"])
    read = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).decode(handler)
    return list(read.to_tuple("webp;png;jpg;jpeg", "cls"))


def test_a_class_with_one_image_and_names_in_unicode(tmp_path):
    images = [("très/é è.JPG", encoded(picture("x"), "JPEG")), ("très/é è.cls", b"2\n")]
    split = alone(tmp_path, images).split("test")
    assert (split.ids, split.labels.tolist()) == (("test/0/très/é è",), [2])
    assert split.image(0).size == (12, 12)


def test_metadata_and_other_pieces_are_no_samples(tmp_path):
    image = encoded(Image.new("L", (9, 5)), "WEBP")
    members = [
        ("__index__", b"1"),
        ("README", b"hello"),
        ("a.seg.png", b"no image of the sample"),
        ("a.webp", image),
        ("a.png", image),  # the same again
        ("a.json", b"{}"),
        ("a.cls", b"1"),
    ]
    split = alone(tmp_path, members).split("test")
    assert len(split) == 1
    assert split.image(0).size == (9, 5)


@pytest.mark.parametrize("captioned", [False, True])
def test_of_two_images_of_a_sample_none_is_taken_in_silence(tmp_path, captioned):
    """CLIP_benchmark takes the webp, and the training code that wrote the tar maybe the jpg."""
    webp, jpg = encoded(picture("blue_jay"), "WEBP", lossless=True), encoded(Image.new("RGB", (9, 5)), "JPEG")
    members = [("a.webp", webp), ("a.jpg", jpg), ("a.cls", b"1"), ("a.txt", b"a jay\na bird")]
    path = alone(tmp_path, members).path
    if captioned:
        lines(tmp_path / "dataset_type.txt", "retrieval")

    def task(**options):
        return (Captions if captioned else Webdataset)(path, **options)

    refused(task(), "different images (webp and jpg): say which is meant, as image=webp")
    assert task(image="webp").split("test").image(0).tobytes() == picture("blue_jay").tobytes()
    assert task(image="jpg").split("test").image(0).size == (9, 5)
    refused(task(image="png"), "has no image (png) but webp, jpg, cls, txt")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("a.jpg", b"x")], "the sample 'a' in"),
        ([("a.jpg", b"x")], "has no label (cls) but jpg"),
        ([("a.cls", b"0")], "has no image (webp, png, jpg, jpeg) but cls"),
        ([("a.jpg", b"x"), ("a.cls", b"3")], "has the label 3, but classnames.txt has 3 lines"),
        ([("a.jpg", b"x"), ("a.cls", b"-1")], "has the label -1"),
        ([("a.jpg", b"x"), ("a.cls", b"fox")], "which is no number"),
        ([("a.jpg", b"x"), ("a.cls", b"")], "which is no number"),
        ([("a.jpg", b"x"), ("a.cls", b"9" * 9999)], "has the label 9999"),
        ([("a.jpg", b"x"), ("a.cls", b"0"), ("a.jpg", b"y")], "holds 'a.jpg' twice"),
        ([], "holds no samples"),
        ([("a.jpg", b"x"), ("a.cls", b"0"), ("../b.jpg", b"x")], "leads out of it"),
    ],
)
def test_a_sample_that_is_not_whole_is_refused(tmp_path, members, words):
    refused(alone(tmp_path, members), words)


def test_an_image_that_cannot_be_decoded_keeps_its_place(tmp_path):
    members = [("a.jpg", b"x"), ("a.cls", b"0"), ("b.jpg", b""), ("b.cls", b"1")]
    split = alone(tmp_path, members).split("test")
    for i, words in enumerate(("known format", "empty")):
        with pytest.raises(Unreadable, match=words):
            split.image(i)
    (tmp_path / "test" / "0.tar").unlink()
    with pytest.raises(Unreadable, match="No such file"):
        split.image(0)


def test_what_is_missing_is_named(tmp_path):
    refused(Webdataset(str(tmp_path)), "there is no", "check the path")
    for name in ("test/1.tar", "test/nshards.txt", "classnames.txt"):
        shards(tmp_path / "x")
        (tmp_path / "x" / name).unlink()
        refused(Webdataset(str(tmp_path / "x")), name)


def test_without_templates_a_general_one_is_used_and_told(tmp_path):
    shards(tmp_path)
    (tmp_path / "zeroshot_classification_templates.txt").unlink()
    task = Webdataset(str(tmp_path))
    assert task.templates == ("a photo of a {}.",)
    assert "a general one is used" in task.notes[0]


@pytest.mark.parametrize("text", ["", "none", "0", "-1", "1.5", "2 2", "1\n1", "9" * 9, "9" * 5000])
def test_a_count_that_is_none(tmp_path, text):
    shards(tmp_path)
    put(tmp_path / "test" / "nshards.txt", text.encode())
    refused(Webdataset(str(tmp_path)), "should hold the number of tars")


def test_tars_that_are_not_counted(tmp_path):
    shards(tmp_path)
    put(tmp_path / "test" / "2.tar", b"")
    refused(Webdataset(str(tmp_path)), "holds '2.tar', but nshards.txt says 2")


def test_classes_that_are_none(tmp_path):
    shards(tmp_path)
    lines(tmp_path / "classnames.txt", "fox", "fox", "jay")
    refused(Webdataset(str(tmp_path)), "classes 0 and 1 are both 'fox'")
    lines(tmp_path / "classnames.txt", "fox", "", "jay")
    refused(Webdataset(str(tmp_path)), "class 1 has the name ''")
    lines(tmp_path / "classnames.txt", "fox", "jay")
    refused(Webdataset(str(tmp_path)), "has the label 2")


def test_data_that_is_not_for_classification(tmp_path):
    shards(tmp_path)
    lines(tmp_path / "dataset_type.txt", "Classification")
    assert len(Webdataset(str(tmp_path)).split("test")) == 12
    lines(tmp_path / "dataset_type.txt", "retrieval")
    refused(Webdataset(str(tmp_path)), "captions are read by the source captions:path=")


def test_the_index_holds_numbers_and_no_images(tmp_path):
    task = catalog.build("tasks", shards(tmp_path))
    places = task.test.read.__self__
    assert np.asarray(places.size).sum() < sum(path.stat().st_size for path in tmp_path.rglob("*.tar"))
    assert {type(value) for value in vars(places).values()} <= {list, type(places.size)}


@pytest.mark.parametrize("name", ["shards.json", "shards.idx", "0.tar"])
def test_a_file_in_the_place_of_the_folder_is_told(tmp_path, name):
    path = put(tmp_path / name, b'{"shardlist": [{"url": "0.tar", "nsamples": 1}]}')
    what = "is one tar" if name == "0.tar" else "is an index of tars, and not the tars"
    with pytest.raises(InputError, match=f"{what}: name the folder of CLIP_benchmark's layout"):
        catalog.build("tasks", f"webdataset:path={path}").split("test")
    if name == "shards.json":
        with pytest.raises(InputError, match="is an index of tars, and not the tars"):
            catalog.build("tasks", f"captions:path={path}").split("test")
    if name != "0.tar":
        told = f"there is no '.*', only an index of tars .'{name}'. without the tars"
        for spec in ("webdataset", "captions"):
            with pytest.raises(InputError, match=told):
                catalog.build("tasks", f"{spec}:path={tmp_path}").split("test")
