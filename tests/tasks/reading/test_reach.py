"""What a battery may read: hostile ones read nothing else, and honest ones keep what they read."""

import json
import os
from dataclasses import fields

import pytest
from sources import EXAMPLES, encoded, folder, picture, put, shards, table, told

from forgetcheck import catalog
from forgetcheck.batteries.battery import Battery, read_battery, summary, survey
from forgetcheck.errors import InputError
from forgetcheck.tasks.base import Unreadable
from forgetcheck.tasks.reading.reach import ANYWHERE, Reach, is_in

pytestmark = pytest.mark.slow

SECRET = "s3cret-hunter2"
LINES = f"{SECRET} one\n{SECRET}-two {{}}\n{SECRET},three\n"


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A home with secrets, data of the user's, and the checkout of a stranger."""
    home, data, work = (tmp_path / name for name in ("home", "data", "work"))
    for name in ("notes.txt", "notes.csv", "notes.json", ".ssh/id_rsa", "classnames.txt", "passwd"):
        put(home / name, LINES.encode())
    put(home / "logins.csv", f"path,label,split\n{SECRET},{SECRET}-label,{SECRET}-part\n".encode())
    put(home / "logins.json", json.dumps({SECRET: {SECRET: SECRET}}).encode())
    put(home / "few.csv", f"task,split,id,label,concept,pixels\n{SECRET},test,x,0,x,x\n".encode())
    put(home / "names.txt", f"red_fox {SECRET}-a\nblue_jay {SECRET}-b\n".encode())
    put(work / ".git" / "config", LINES.encode())
    put(work / "ok.txt", b"fox\nbeetle\njay\n")
    folder(data / "photos")
    folder(work / "photos")
    table(work / "listed")
    shards(work / "tars")
    (work / "link.txt").symlink_to(home / "notes.txt")
    (work / "tars" / "classnames.txt").unlink()
    (work / "tars" / "classnames.txt").symlink_to(home / "classnames.txt")
    (work / "away").symlink_to(home)
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("DATA", str(data))
    monkeypatch.chdir(work)
    return tmp_path


def battery(world, source, **keys):
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"name": "a", "source": source, **keys}.items()]
    return str(put(world / "work" / "b.toml", "\n".join(["[[task]]", *lines]).encode()))


def everything(spec, reach=ANYWHERE):
    """Return all that a report could show of a battery, its refusals included."""
    said = []
    try:
        found, mistakes = survey(spec, reach)
    except InputError as problem:
        return [str(problem)]
    said += map(str, mistakes)
    said += [json.dumps(summary(found)), *found.folders]
    for task in found.tasks.values():
        for ask in (
            lambda task=task: task.class_names,
            lambda task=task: task.templates,
            lambda task=task: task.notes,
            lambda task=task: task.left_out,
            lambda task=task: look(task.split("test")),
            lambda task=task: look(task.split("train")),
        ):
            try:
                said.append(str(ask()))
            except InputError as problem:
                said.append(str(problem))
    return said


def look(split):
    said = [*split.ids]
    for i in range(min(3, len(split))):
        try:
            split.image(i)
        except Unreadable as problem:
            said.append(str(problem))
    return said


HOSTILE = [
    ("csv:path=/{home}/passwd", {}),
    ("csv:path=../home/notes.csv", {}),
    ("csv:path=../home/logins.csv", {}),
    ("csv:path=~/logins.csv", {}),
    ("csv:path=${HOME}/logins.csv,root=listed", {}),
    ("csv:path=${HOME}/logins.csv,image=split,others=ignore", {}),
    ("csv:path=.git/config", {}),
    ("csv:path=away/logins.csv,root=listed", {}),
    ("csv:path=listed/list.csv,classes=../home/notes.txt", {}),
    ("csv:path=listed/list.csv,classes=link.txt", {}),
    ("csv:path=listed/list.csv,classes=away/notes.txt", {}),
    ("csv:path=listed/list.csv,classes=.git/config", {}),
    ("csv:path=listed/list.csv,prompts=~/.ssh/id_rsa", {}),
    ("csv:path=listed/list.csv,root=/,classes=/{home}/notes.txt", {}),
    ("folder:path=photos,prompts=/{home}/notes.txt", {}),
    ("folder:path=photos,prompts=link.txt", {}),
    ("folder:path=${HOME},prompts=${HOME}/notes.txt", {}),
    ("folder:path=/{home}x${TOKEN}", {}),
    ("folder:path=${TOKEN}/x", {}),
    ("folder:path=photos,links=${TOKEN}", {}),
    ("${TOKEN}:path=photos", {}),
    ("drawn:family=${TOKEN}", {}),
    ("webdataset:path=https://example.org/${TOKEN}", {}),
    ("webdataset:path=${TOKEN}://example.org", {}),
    ("captions:path=http://127.0.0.1:9/${TOKEN}/x", {}),
    ("webdataset:path=tars", {}),
    ("webdataset:path=away", {}),
    ("captions:path=../home/notes.json", {}),
    ("captions:path=../home/logins.json,root=photos", {}),
    ("captions:path=away/logins.csv,caption=label,root=photos", {}),
    ("swaps:path=../home,root=photos", {}),
    ("swaps:path=../home/logins.json,root=photos", {}),
    ("huggingface:path=${TOKEN}/x", {}),
    ("huggingface:path=${TOKEN}", {}),
    ("torchvision:name=${TOKEN},root=photos", {}),
    ("torchvision:name=CIFAR10,root=${TOKEN}", {}),
    ("torchvision:name=CIFAR10,root=photos,classes=~/notes.txt", {}),
    ("folder:path=photos", {"class_names": "../home/names.txt"}),
    ("folder:path=photos", {"class_names": "link.txt"}),
    ("folder:path=photos", {"class_names": ".git/config"}),
    ("folder:path=photos", {"class_names": "../home/logins.json"}),
    ("folder:path=/", {"class_names": "/{home}/names.txt"}),
    ("folder:path=photos", {"samples": "../home/few.csv"}),
    ("folder:path=photos", {"samples": "link.txt"}),
]


@pytest.mark.parametrize(("source", "keys"), HOSTILE)
def test_a_hostile_battery_reads_nothing_and_says_nothing(world, guard, source, keys):
    pytest.importorskip("torchvision.datasets")
    home = str(world / "home").lstrip("/")
    keys = {key: text.replace("{home}", home) for key, text in keys.items()}
    spec = battery(world, source.replace("{home}", home), **keys)
    del guard.files[:]  # torchvision, which is first used here
    said = everything(spec)
    assert said
    assert [line for line in said if SECRET in line] == []
    opened = [path for path in guard.outside(world / "work", world / "data") if str(world) in path]
    assert opened == []
    assert guard.network == []
    assert guard.started == []


def test_honest_batteries_read_what_they_name(world):
    work, data = world / "work", world / "data"
    put(data / "photos" / "prompts.txt", b"a photo of {}\n")
    put(data / "names" / "names.txt", b"red_fox a\nblue_jay b\n\xc3\x9cbersee-K\xc3\xa4fer c\n")
    table(data / "listed")
    lines = "red fox\nÜbersee-Käfer\nblue_jay\n".encode()
    put(data / "listed" / "classes.txt", lines)
    put(work / "texts" / "classes.txt", lines)
    table_of_captions = told(data / "told").partition("=")[2]
    os.renames(table_of_captions, data / "annotations" / "captions.csv")
    for source in (
        "folder:path=${DATA}/photos,prompts=${DATA}/photos/prompts.txt",
        "csv:path=${DATA}/listed/list.csv",
        "csv:path=${DATA}/listed/list.csv,classes=${DATA}/listed/classes.txt",
        "csv:path=${DATA}/listed/list.csv,classes=texts/classes.txt",
        f"csv:path={data}/listed/list.csv",
        "csv:path=listed/list.csv,classes=texts/classes.txt",
        "captions:path=${DATA}/annotations/captions.csv,root=${DATA}/told",
        "webdataset:path=${DATA}/tars",
    ):
        if "tars" in source:
            shards(data / "tars")
        task = read_battery(battery(world, source)).tasks["a"]
        assert len(task.split("test")), source
        assert len(task.class_names) > 1, source
        assert task.templates is not None
        assert (
            str(data) not in json.dumps(summary(read_battery(battery(world, source)))) or str(data) in source
        )


def test_text_files_of_another_folder_are_read_where_the_user_says_so(world):
    put(world / "names" / "names.txt", "red_fox a\nblue_jay b\nÜbersee-Käfer c\n".encode())
    spec = battery(world, "folder:path=photos", class_names="../names/names.txt")
    with pytest.raises(InputError, match=r"a battery's class names.*move it.*--texts-from '.*names'"):
        read_battery(spec)
    found = read_battery(spec, Reach((str(world / "names"),)))
    assert sorted(found.tasks["a"].class_names) == ["a", "b", "c"]
    put(world / "names" / ".env", f"red_fox {SECRET}\n".encode())
    with pytest.raises(InputError, match="is hidden"):
        read_battery(battery(world, "folder:path=photos", class_names="../names/.env"),
                     Reach((str(world / "names"),)))  # fmt: skip


def test_the_cache_of_the_hub_links_its_files_beside_its_snapshots(world):
    snapshot, blobs = world / "hub" / "snapshots" / "1", world / "hub" / "blobs"
    shards(snapshot)
    for path in [*snapshot.rglob("*.t*")]:
        put(blobs / f"{path.parent.name}-{path.name}", path.read_bytes())
        path.unlink()
        path.symlink_to(blobs / f"{path.parent.name}-{path.name}")
    task = read_battery(battery(world, "webdataset:path=../hub/snapshots/1")).tasks["a"]
    assert len(task.split("test")) == 12
    assert task.templates == ("a photo of a {}.", "art of {}.")


@pytest.mark.parametrize(
    "source",
    [
        "folder:path=${DATA}/photos",
        "folder:path=/{data}/photos",
        "folder:path=away,links=follow",
        "folder:path=linked,links=follow",
        "csv:path=listed/list.csv,root=/{data}/photos",
        "csv:path=listed/linked.csv,links=follow",
        "webdataset:path=https://example.org/x",
        "webdataset:path=linked-tars",
        "huggingface:path=ann/pets",
        "torchvision:name=CIFAR10,root=photos,download=true",
        "captions:path=http://127.0.0.1:9/x",
        "captions:path=listed/list.csv,caption=label,root=/",
    ],
)
def test_nothing_leaves_the_folder_that_everything_is_confined_to(world, guard, source):
    work, data = world / "work", world / "data"
    folder(work / "linked")
    (work / "linked" / "test" / "red fox" / "z.png").symlink_to(put(data / "x.png", encoded(picture("x"))))
    put(work / "listed" / "linked.csv", b"path,label\nz.png,a\nz2.png,b\n")
    (work / "listed" / "z.png").symlink_to(data / "x.png")
    (work / "listed" / "z2.png").symlink_to(data / "x.png")
    shards(work / "linked-tars")
    put(data / "0.tar", (work / "linked-tars" / "test" / "0.tar").read_bytes())
    (work / "linked-tars" / "test" / "0.tar").unlink()
    (work / "linked-tars" / "test" / "0.tar").symlink_to(data / "0.tar")
    spec = battery(world, source.replace("{data}", str(data).lstrip("/")))
    del guard.files[:], guard.network[:]
    said = "\n".join(everything(spec, Reach(confine=str(work))))
    assert "--confine" in said
    assert [path for path in guard.outside(work) if str(world) in path] == []
    assert guard.network == []


def test_what_lies_inside_is_asked_in_confinement(world):
    for source in ("folder:path=photos", "csv:path=listed/list.csv,classes=listed/c.txt", "digits"):
        put(world / "work" / "listed" / "c.txt", "red fox\nÜbersee-Käfer\nblue_jay\n".encode())
        task = read_battery(battery(world, source), Reach(confine=str(world / "work"))).tasks["a"]
        split = task.split("test")
        assert split.image(0).size
    assert isinstance(read_battery("drawn", Reach(confine=str(world / "work"))), Battery)
    (world / "work" / "c.toml").symlink_to(put(world / "home" / "c.toml", LINES.encode()))
    with pytest.raises(InputError, match="lies outside"):
        read_battery("c.toml", Reach(confine=str(world / "work")))


def test_a_battery_names_the_folders_that_it_reads_and_no_values(world):
    spec = battery(world, "folder:path=${DATA}/photos", class_names="names.txt")
    put(world / "work" / "names.txt", "red_fox a\nblue_jay b\nÜbersee-Käfer c\n".encode())
    assert read_battery(spec).folders == ("${DATA}/photos", str(world / "work"))
    found = read_battery(battery(world, "folder:path=~/gone", get="ask"))
    assert found.folders == ("~",)
    with pytest.raises(InputError, match="no folder of images at '~/gone'"):
        found.tasks["a"].split("test")


@pytest.mark.parametrize(
    ("values", "text", "shown"),
    [
        ([("/srv/data", "${D}")], "no '/srv/data/x' in /srv/data", "no '${D}/x' in ${D}"),
        ([("/srv/data", "${D}")], "/srv/database", "/srv/database"),
        ([("/", "${D}")], "no /x/y", "no /x/y"),
        ([("/srv", "${A}"), ("/srv/data", "${B}")], "/srv/data/x /srv/y", "${B}/x ${A}/y"),
        ([("/srv/a  b/", "${D}")], "'/srv/a b/x' '/srv/a  b/x'", "'${D}/x' '${D}/x'"),
        ([("/srv/d'\n", "${D}")], repr("/srv/d'\n/x"), '"${D}/x"'),
        ([("/srv/x/../data", "${D}")], "/srv/data/x /srv/x/../data/x", "${D}/x ${D}/x"),
    ],
)
def test_values_are_never_shown(values, text, shown):
    assert Reach(values=tuple(values)).masked(text) == shown


def test_what_is_hidden_in_a_folder_is_not_in_it():
    assert is_in("/a/b/c.txt", "/a")
    assert is_in("/a/.b/c.txt", "/a/.b")
    assert not is_in("/a/.b/c.txt", "/a")
    assert not is_in("/a/.env", "/a")
    assert not is_in("/ab/c", "/a")
    assert is_in("/a/.b/c.txt", "/a", hidden=True)


@pytest.mark.parametrize("name", EXAMPLES)
def test_data_of_every_source_may_lie_elsewhere_with_its_prompts(name, tmp_path):
    """A battery is no stranger to the data that it names, wherever its user keeps that."""
    data, work = tmp_path / "data", tmp_path / "work"
    spec = EXAMPLES[name](data)
    put(data / "prompts.txt", b"a drawing of {}\n")
    prompted = "prompts" in {field.name for field in fields(catalog.build("tasks", spec))}
    put(work / "b.toml", f"[[task]]\nname = 'a'\nsource = '{spec}'\n".encode())
    task = read_battery(str(work / "b.toml")).tasks["a"]
    assert len(task.split("test"))
    assert task.class_names
    if prompted:
        put(work / "p.toml", f"[[task]]\nname = 'a'\nsource = '{spec},prompts={data}/prompts.txt'\n".encode())
        assert read_battery(str(work / "p.toml")).tasks["a"].templates == ("a drawing of {}",)


def test_roboflows_tables_may_lie_elsewhere(tmp_path):
    for name in ("fox", "jay"):
        put(tmp_path / "data" / "test" / f"{name}.png", encoded(picture("red fox", 1)))
    put(tmp_path / "data" / "test" / "_classes.csv", b"filename, fox, jay\nfox.png, 1, 0\njay.png, 0, 1\n")
    put(tmp_path / "work" / "b.toml", f"[[task]]\nname = 'a'\nsource = 'csv:path={tmp_path}/data'\n".encode())
    assert len(read_battery(str(tmp_path / "work" / "b.toml")).tasks["a"].split("test")) == 2
