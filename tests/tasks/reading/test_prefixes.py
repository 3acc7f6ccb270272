"""Tables whose paths begin with what a server or a mount wrote, in every source that reads a table."""

import json

import pytest
from sources import encoded, picture, put

from forgetcheck import catalog
from forgetcheck.errors import InputError
from forgetcheck.tasks.base import Unreadable

NAMES = ("red fox", "blue_jay")
PREFIXES = (
    "/data/upload/3/",
    "/data/local-files/?d=",
    "https://server.example/uploads/",
    "s3://bucket/",
    "mnt/disk1/",
    "C:\\data\\",
)


def images(root, count=6):
    """Write images below root/photos, and return what a table says of them: path and label."""
    rows = [(f"photos/{name} {number}.png", name, number) for name in NAMES for number in range(count)]
    for path, name, number in rows:
        put(root / path, encoded(picture(name, number)))
    return [(path, name) for path, name, _ in rows]


def csv(root, rows):
    text = "path,label\n" + "".join(f"{path},{label}\n" for path, label in rows)
    return f"csv:path={put(root / 'list.csv', text.encode())}"


def json_lines(root, rows):
    text = "".join(json.dumps({"path": path, "label": label}) + "\n" for path, label in rows)
    return f"csv:path={put(root / 'list.jsonl', text.encode())}"


def captions(root, rows):
    text = "path,caption\n" + "".join(f"{path},a {label} {n}\n" for n, (path, label) in enumerate(rows))
    return f"captions:path={put(root / 'list.csv', text.encode())}"


def caption_list(root, rows):
    found = [{"image": path, "caption": f"a {label} {n}"} for n, (path, label) in enumerate(rows)]
    return f"captions:path={put(root / 'list.json', json.dumps(found).encode())}"


def coco_captions(root, rows):
    found = {
        "images": [{"id": n, "file_name": path} for n, (path, _) in enumerate(rows)],
        "annotations": [{"image_id": n, "caption": f"a {label} {n}"} for n, (_, label) in enumerate(rows)],
    }
    return f"captions:path={put(root / 'coco.json', json.dumps(found).encode())}"


def karpathy(root, rows):
    found = [
        {"filename": path, "split": "test", "sentences": [{"raw": f"a {label} {n}"}]}
        for n, (path, label) in enumerate(rows)
    ]
    return f"captions:path={put(root / 'dataset.json', json.dumps({'images': found}).encode())}"


def swaps(root, rows):
    text = "path,caption,swap\n" + "".join(
        f"{path},a {label} {n},no {n}\n" for n, (path, label) in enumerate(rows)
    )
    return f"swaps:path={put(root / 'list.csv', text.encode())}"


def sugar_crepe(root, rows):
    found = {
        str(n): {"filename": path, "caption": f"a {label} {n}", "negative_caption": f"no {n}"}
        for n, (path, label) in enumerate(rows)
    }
    return f"swaps:path={put(root / 'swaps.json', json.dumps(found).encode())}"


TABLES = (csv, json_lines, captions, caption_list, coco_captions, karpathy, swaps, sugar_crepe)


def told(spec):
    with pytest.raises(InputError) as caught:
        catalog.build("tasks", spec).split("test")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_message_names_the_prefix_that_works(tmp_path, table, prefix):
    rows = images(tmp_path)
    plain = catalog.build("tasks", table(tmp_path, rows)).split("test")
    spec = table(tmp_path, [(prefix + path, label) for path, label in rows])
    said = told(spec)
    assert f"strip={prefix} of the source would find it" in said
    found = catalog.build("tasks", f"{spec},strip={prefix}").split("test")
    assert found.ids == plain.ids
    assert found.labels.tolist() == plain.labels.tolist()
    assert found.contents() == plain.contents()


def test_several_prefixes_and_one_without_its_last_slash(tmp_path):
    rows = images(tmp_path)
    mixed = [
        (("s3://bucket/" if n % 2 else "/data/upload/3/") + path, label)
        for n, (path, label) in enumerate(rows)
    ]
    spec = csv(tmp_path, mixed)
    task = catalog.build("tasks", f"{spec},strip=s3://bucket|/data/upload/3")
    assert len(task.split("train")) + len(task.split("test")) == 12
    assert "which is not below" in told(f"{spec},strip=s3://bucket")
    assert told(f"{spec},strip=s3://bucket|/data/upload/3|gs://b").startswith(
        f"'{tmp_path / 'list.csv'}': strip=gs://b begins none of its paths, such as '/data/upload/3/photos/"
    )


def test_one_that_is_missing_among_others_says_it_too(tmp_path):
    (first, *rows) = images(tmp_path)
    spec = csv(tmp_path, [("https://server.example/" + first[0], first[1]), *rows])
    task = catalog.build("tasks", spec)
    split = next(
        part for part in map(task.split, ("train", "test")) if any("server" in name for name in part.ids)
    )
    place = next(n for n, name in enumerate(split.ids) if "server" in name)
    with pytest.raises(
        Unreadable, match=r"No such file.*; strip=https://server\.example/ of the source would"
    ):
        split.image(place)
    spec = csv(tmp_path, [("elsewhere.png", first[1]), *rows])
    task = catalog.build("tasks", spec)
    split = next(part for part in map(task.split, ("train", "test")) if "elsewhere.png" in part.ids)
    with pytest.raises(Unreadable) as caught:
        split.image(split.ids.index("elsewhere.png"))
    assert "strip" not in str(caught.value)


def test_escaped_paths_are_found(tmp_path):
    rows = images(tmp_path)
    escaped = [("/data/local-files/?d=" + path.replace(" ", "%20"), label) for path, label in rows]
    spec = csv(tmp_path, escaped)
    assert "strip=/data/local-files/?d= of" in told(spec)
    task = catalog.build("tasks", f"{spec},strip=/data/local-files/?d=")
    assert task.split("test").image(0).size == (12, 12)


@pytest.mark.parametrize(
    "path", ["x/../../secret.png", "x/%2e%2e/%2e%2e/secret.png", "x//etc/../../secret.png"]
)
def test_nothing_outside_is_read_or_named(tmp_path, path):
    """A table may come from a stranger: a prefix drops what stands before a path, and lets nothing out."""
    put(tmp_path / "secret.png", encoded(picture("x")))
    root = tmp_path / "data"
    rows, refusals = images(root), []
    spec = csv(root, [(path, NAMES[0]), *rows])
    for text in (f"{spec},strip=x/", f"{spec},strip=x", f"{spec},strip=x/,links=follow"):
        task = catalog.build("tasks", text)
        try:
            parts = [task.split(part) for part in ("train", "test")]
        except InputError as problem:
            refusals.append(str(problem))
            continue
        for part in parts:
            for place in [n for n, name in enumerate(part.ids) if "secret" in name]:
                with pytest.raises(Unreadable):
                    part.image(place)
    assert all("which is not below" in said and "would find it" not in said for said in refusals)


def test_lines_of_json_are_told_by_their_numbers(tmp_path):
    rows = images(tmp_path)
    spec = json_lines(tmp_path, rows)
    path = tmp_path / "list.jsonl"
    text = path.read_text()
    path.write_text(text + "{\n")
    assert f"'{path}' line 13: " in told(spec)
    path.write_text(text + '\n{"path": "x.png", "label": "y", "split": "test"}\n')
    assert "line 14 has the key 'split', which the first line lacks" in told(spec)
    path.write_text(text + '{"path": "x.png"}\n')
    assert "line 13 has no label" in told(spec)
    path.write_text("")
    assert "has no column 'path' but nothing" in told(spec)
