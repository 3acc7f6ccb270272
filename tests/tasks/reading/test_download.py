"""Downloads from a server of our own that dies, changes and refuses; what is here is used offline."""

import hashlib
import threading
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from sources import COLOURS, picture, put, shards

from forgetcheck.errors import InputError
from forgetcheck.tasks.reading import download
from forgetcheck.tasks.reading.download import Mirror, at_hugging_face, cache_folder
from forgetcheck.tasks.webdataset import Webdataset


class Site:
    """What a server serves, how it misbehaves, and what it was asked."""

    def __init__(self, folder):
        self.folder = folder
        self.asked = []  # path and range
        self.dies_after = []  # bytes of the next answers; then it lives
        self.refuses = []  # codes of the next answers
        self.ranges = True  # whether it can go on
        self.tagged = True  # whether it tells versions apart
        self.sized = True  # whether it says how long a file is
        self.claims = None  # bytes that it says a file has
        self.endless = False  # whether its answers have an end


class Handler(BaseHTTPRequestHandler):
    def __init__(self, site, *arguments):
        self.site = site
        super().__init__(*arguments)

    def log_message(self, *_):
        pass

    def do_GET(self):
        site, wanted = self.site, self.headers.get("Range")
        site.asked.append((self.path, wanted))
        path = site.folder / unquote(self.path).lstrip("/")
        if site.refuses:
            return self.send_error(site.refuses.pop(0))
        if not path.is_file():
            return self.send_error(404)
        data = path.read_bytes()
        tag = f'"{hashlib.sha256(data).hexdigest()[:8]}"'
        start = int(wanted[6:-1]) if wanted and site.ranges and self.headers.get("If-Range") == tag else 0
        if start > len(data) or (start and start == len(data)):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if site.tagged:
            self.send_header("ETag", tag)
        if site.sized:
            self.send_header("Content-Length", str(self.site.claims or len(data) - start))
        self.end_headers()
        with suppress(OSError):  # the other side goes
            while site.endless:
                self.wfile.write(bytes(2**16))
        sent = data[start:][: site.dies_after.pop(0)] if site.dies_after else data[start:]
        with suppress(OSError):
            self.wfile.write(sent)
        self.close_connection = True
        return None


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv("FORGETCHECK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    site = Site(tmp_path / "site")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, site)) as server:
        site.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        site.close = server.shutdown
        yield site
        server.shutdown()
        thread.join()


def mirror(site, path=""):
    return Mirror.of(site.url + path, "webdataset")


DATA = bytes(range(256)) * 400


def test_a_data_set_of_the_web_is_that_of_the_folder(site):
    shards(site.folder / "füchs e s")
    task = Webdataset(f"{site.url}/füchs%20e s/")
    assert task.class_names == tuple(COLOURS)
    assert task.split("train").image(1).tobytes() == picture("Übersee-Käfer", 0).tobytes()
    local = Webdataset(str(site.folder / "füchs e s"))
    for part in ("train", "test"):
        assert task.split(part).contents() == local.split(part).contents()
    assert task.templates == local.templates


def test_what_is_here_is_used_offline(site):
    shards(site.folder)
    (site.folder / "zeroshot_classification_templates.txt").unlink()
    Webdataset(site.url).split("test")
    assert Webdataset(site.url).templates == ("a photo of a {}.",)
    asked = len(site.asked)
    site.close()
    task = Webdataset(site.url)
    assert len(task.split("test")) == 12
    assert task.templates == ("a photo of a {}.",)
    assert task.split("test").image(0).size == (12, 12)
    assert len(site.asked) == asked


def test_without_network_what_is_missing_is_named_at_once(site, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PAUSES", (1000.0,))
    with pytest.raises(InputError, match=r"cannot download .*/classnames.txt: .*; run it again") as caught:
        _ = Webdataset("http://127.0.0.1:9/x").class_names  # the discard port: nobody listens
    assert str(tmp_path / "cache" / "webdataset") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_connection_that_dies_is_taken_up_again(site):
    put(site.folder / "test" / "0.tar", DATA)
    site.dies_after = [1000, 70_000]
    assert mirror(site).fetch("test/0.tar").read_bytes() == DATA
    assert [wanted for _, wanted in site.asked] == [None, "bytes=1000-", "bytes=71000-"]


def test_a_download_that_was_given_up_goes_on_next_time(site):
    put(site.folder / "0.tar", DATA)
    site.dies_after = [10_000, 0, 10]
    with pytest.raises(InputError, match=r"ended after 10,010 of 102,400 bytes; run it again to go on"):
        mirror(site).fetch("0.tar")
    assert not (mirror(site).folder / "0.tar").exists()
    assert mirror(site).fetch("0.tar").read_bytes() == DATA
    assert site.asked[-1][1] == "bytes=10010-"
    left = {path.name for path in mirror(site).folder.iterdir()}
    assert left == {"0.tar", ".lock"}


def test_another_version_is_never_glued_to_the_first(site):
    put(site.folder / "0.tar", DATA)
    site.dies_after = [10_000, 0, 0]
    with pytest.raises(InputError):
        mirror(site).fetch("0.tar")
    put(site.folder / "0.tar", DATA[::-1])
    assert mirror(site).fetch("0.tar").read_bytes() == DATA[::-1]


@pytest.mark.parametrize("lacking", ["ranges", "tagged"])
def test_a_server_that_cannot_go_on_begins_anew(site, lacking):
    setattr(site, lacking, False)
    put(site.folder / "0.tar", DATA)
    site.dies_after = [10_000]
    assert mirror(site).fetch("0.tar").read_bytes() == DATA


def test_a_whole_file_that_was_not_yet_named(site):
    put(site.folder / "0.tar", DATA)
    place = mirror(site).folder / ".0.tar.partial"
    put(place, DATA)
    tag = f'"{hashlib.sha256(DATA).hexdigest()[:8]}"'
    put(place.with_name(".0.tar.partial.version"), tag.encode())
    assert mirror(site).fetch("0.tar").read_bytes() == DATA


def test_a_cut_that_the_server_does_not_tell_is_seen_by_the_tar(site):
    shards(site.folder)
    site.sized = False
    whole = (site.folder / "test" / "0.tar").stat().st_size
    task = Webdataset(site.url)
    assert task.class_names
    task.root.fetch("test/nshards.txt")
    task.root.find("dataset_type.txt")
    site.dies_after = [whole // 2]
    with pytest.raises(InputError, match=r"test/0\.tar.*get it again"):
        task.split("test")


@pytest.mark.parametrize("code", [500, 503, 429])
def test_a_server_in_trouble_is_asked_again(site, code):
    put(site.folder / "0.tar", DATA)
    site.refuses = [code, code]
    assert mirror(site).fetch("0.tar").read_bytes() == DATA
    site.refuses = [code] * 3
    with pytest.raises(InputError, match=f"the server says {code}"):
        mirror(site).fetch("1.tar")


@pytest.mark.parametrize("code", [401, 403])
def test_a_server_that_says_no_is_asked_once(site, code):
    site.refuses = [code]
    with pytest.raises(InputError, match=f"says {code}.*download it yourself"):
        mirror(site).fetch("1.tar")
    assert len(site.asked) == 1


def test_what_is_not_there_is_not_there(site):
    with pytest.raises(InputError, match=r"there is no '.*1\.tar': check the address"):
        mirror(site).fetch("1.tar")
    assert mirror(site).find("1.tar") is None
    assert mirror(site).find("1.tar") is None
    assert len(site.asked) == 2  # that an optional file is missing is remembered
    put(site.folder / "2.tar", b"x")
    assert mirror(site).find("2.tar").read_bytes() == b"x"


def test_a_list_of_names_has_an_end(site, monkeypatch):
    monkeypatch.setattr(download, "LARGEST_TEXT", 100)
    put(site.folder / "classnames.txt", b"x" * 101)
    with pytest.raises(InputError, match="is no list of names"):
        mirror(site).fetch("classnames.txt")


def test_many_at_once_download_once(site):
    put(site.folder / "0.tar", DATA)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(mirror(site).fetch("0.tar").read_bytes()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [DATA] * 4
    assert len(site.asked) == 1


def test_a_full_disk_is_told(site, monkeypatch):
    put(site.folder / "0.tar", DATA)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download.os, "replace", full)
    with pytest.raises(InputError, match="the disk is full"):
        mirror(site).fetch("0.tar")


def test_a_cache_that_is_a_file(site, tmp_path, monkeypatch):
    monkeypatch.setenv("FORGETCHECK_CACHE", str(put(tmp_path / "file", b"")))
    with pytest.raises(InputError, match="cannot write"):
        mirror(site).fetch("0.tar")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ftp://x.example/y", "no address of the web"),
        ("file:///etc", "no address of the web"),
        ("pipe:cat://x", "no address of the web"),
        ("http:///x", "no address of the web"),
        ("http://[x/y", "no address of the web"),
        ("http://ü.example/y", "no address of the web"),
        ("https://me:secret@x.example/y", "a password or a query"),
        ("https://x.example/y?token=secret", "a password or a query"),
    ],
)
def test_addresses_that_are_refused(address, words):
    with pytest.raises(InputError, match=words) as caught:
        Mirror.of(address, "webdataset")
    assert "secret" not in str(caught.value)


def test_a_page_of_the_hub_is_where_its_files_are():
    page = "https://huggingface.co/datasets/clip-benchmark/wds_vtab-eurosat"
    assert at_hugging_face(page) == f"{page}/resolve/main"
    assert at_hugging_face(f"{page}/tree/v2") == f"{page}/resolve/v2"
    assert at_hugging_face(f"{page}/tree/main/a/b") == f"{page}/resolve/main/a/b"
    assert at_hugging_face(f"{page}/resolve/main") == f"{page}/resolve/main"
    assert at_hugging_face("https://example.org/x") == "https://example.org/x"


def test_the_cache_is_where_the_user_wants_it(monkeypatch, tmp_path):
    monkeypatch.setenv("FORGETCHECK_CACHE", str(tmp_path))
    assert cache_folder("webdataset") == tmp_path / "webdataset"
    monkeypatch.delenv("FORGETCHECK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("webdataset") == tmp_path / "forgetcheck" / "webdataset"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder("x") == Path.home() / ".cache" / "forgetcheck" / "x"


def test_two_addresses_never_share_a_folder():
    one, two = (Mirror.of(f"https://x.example/{name}", "webdataset").folder for name in ("a/b", "a-b"))
    assert one != two
    assert one.name.startswith("x.example-a-b-")
    for odd in (
        "https://x.example/../../etc",
        "https://x.example/ü b",
        "https://[::1]:80/..",
        "https://x.example",
    ):
        folder = Mirror.of(odd, "webdataset").folder
        assert folder.parent == cache_folder("webdataset")
        assert folder.name.isascii()


def left(site):
    return sorted(path.name for path in mirror(site).folder.iterdir())


def refused(site, *words):
    with pytest.raises(InputError) as caught:
        mirror(site).fetch("0.tar")
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in (f"{site.url}/0.tar", *words)), text
    assert left(site) == [".lock"]  # nothing of it stays
    return text


@pytest.mark.parametrize("claims", [10**15, 2**62, 201 * 2**30])
def test_a_size_beyond_what_a_task_may_take_is_refused_before_a_byte(site, claims):
    put(site.folder / "0.tar", DATA)
    site.claims = claims
    refused(site, "may take 200GiB", "--max-download")
    assert len(site.asked) == 1


def test_a_size_beyond_the_disk_is_refused_before_a_byte(site, monkeypatch):
    put(site.folder / "0.tar", DATA)
    site.claims = 2**37
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**36))
    refused(site, "of 128.0 GiB", "the disk has 64.0 GiB free", "FORGETCHECK_CACHE")


@pytest.mark.parametrize("told", [None, "1MB"])
def test_a_body_without_an_end_has_one(site, monkeypatch, told):
    put(site.folder / "0.tar", DATA)
    site.sized, site.endless = False, True
    monkeypatch.setattr(download, "UNTOLD", 2**20)
    monkeypatch.delenv("FORGETCHECK_MAX_DOWNLOAD", raising=False)
    if told:
        monkeypatch.setenv("FORGETCHECK_MAX_DOWNLOAD", told)
    refused(site, "whose size isn't told", "--max-download")


def test_a_body_without_an_end_leaves_the_disk_some_space(site, monkeypatch):
    put(site.folder / "0.tar", DATA)
    site.sized, site.endless = False, True
    free = iter(range(2**30 + 2**20, 0, -(2**19)))
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=next(free)))
    refused(site, "the disk has 1.0 GiB free")


def test_the_limit_counts_across_one_task(site, monkeypatch):
    for number in range(4):
        put(site.folder / f"{number}.tar", DATA)
    monkeypatch.setenv("FORGETCHECK_MAX_DOWNLOAD", str(3 * len(DATA)))
    for number in range(3):
        assert mirror(site).fetch(f"{number}.tar").read_bytes() == DATA
    with pytest.raises(InputError, match=r"3\.tar.* and this file 0\.0 GiB"):
        mirror(site).fetch("3.tar")
    assert mirror(site).fetch("0.tar").read_bytes() == DATA  # what is here is used
    monkeypatch.setenv("FORGETCHECK_MAX_DOWNLOAD", str(4 * len(DATA)))
    assert mirror(site).fetch("3.tar").read_bytes() == DATA


def test_a_file_that_goes_on_is_counted_whole(site, monkeypatch):
    put(site.folder / "0.tar", DATA)
    site.dies_after = [60_000]
    monkeypatch.setenv("FORGETCHECK_MAX_DOWNLOAD", str(len(DATA)))
    assert mirror(site).fetch("0.tar").read_bytes() == DATA


@pytest.mark.parametrize("size", ["much", "-1", "1e9", "", " "])
def test_a_limit_that_is_no_size(site, monkeypatch, size):
    put(site.folder / "0.tar", DATA)
    monkeypatch.setenv("FORGETCHECK_MAX_DOWNLOAD", size)
    if size:
        with pytest.raises(InputError, match=r"FORGETCHECK_MAX_DOWNLOAD .*expected a size"):
            mirror(site).fetch("0.tar")
    else:
        assert mirror(site).fetch("0.tar").read_bytes() == DATA
