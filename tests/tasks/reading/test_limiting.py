"""torchvision's own downloads are held to the limits, and leave nothing half-written."""

import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from torchvision import datasets
from torchvision.datasets.utils import download_file_from_google_drive, download_url

from forgetcheck.errors import InputError
from forgetcheck.network import closed
from forgetcheck.tasks.reading.download import LIMIT
from forgetcheck.tasks.reading.limiting import limited
from forgetcheck.tasks.torchvision import Torchvision

SENT = 50_000


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(200)
        told = {"/sound": SENT, "/huge": 10**15, "/short": 2 * SENT}.get(self.path)
        if told:
            self.send_header("Content-Length", str(told))
        self.end_headers()
        try:
            self.wfile.write(bytes(SENT))
            while self.path == "/endless":
                self.wfile.write(bytes(SENT))
        except OSError:
            pass
        self.close_connection = True


@pytest.fixture
def site():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_sound_file_comes_whole_and_the_opener_is_restored(site, tmp_path):
    before = urllib.request._opener
    with limited(tmp_path):
        download_url(f"{site}/sound", str(tmp_path))
    assert (tmp_path / "sound").stat().st_size == SENT
    assert urllib.request._opener is before


@pytest.mark.parametrize(
    ("name", "problem", "words"),
    [
        ("huge", InputError, "won't download .*--max-download"),
        ("endless", InputError, "won't download .*--max-download"),
        ("short", ConnectionError, "ended after 50,000 of 100,000"),
    ],
)
def test_what_lies_or_never_ends_leaves_nothing(site, tmp_path, monkeypatch, name, problem, words):
    monkeypatch.setenv(LIMIT, "1MB")
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(problem, match=words), limited(tmp_path):
        download_url(f"{site}/{name}", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_somebody_else_writes_meanwhile_is_kept(site, tmp_path):
    def stopped():
        with urllib.request.urlopen(f"{site}/short") as response:
            (tmp_path / "begun").write_bytes(response.read(1000))
        (tmp_path / "theirs").write_bytes(bytes(123))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), limited(tmp_path):
        stopped()
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_offline_nothing_is_asked(site, tmp_path):
    with closed(), pytest.raises(InputError, match="runs offline"), limited(tmp_path):
        download_url(f"{site}/sound", str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_google_drive_is_refused(tmp_path):
    with pytest.raises(InputError, match="Google Drive"), limited(tmp_path):
        download_file_from_google_drive("x", str(tmp_path), "a")


def test_a_source_says_it_in_one_line(site, tmp_path, monkeypatch):
    monkeypatch.setenv(LIMIT, "1MB")
    monkeypatch.setattr(datasets.DTD, "_URL", f"{site}/endless")
    with pytest.raises(InputError, match=r"^won't download [^\n]*--max-download") as refusal:
        Torchvision("DTD", str(tmp_path / "data"), download=True).split("test")
    assert "torchvision cannot read" not in str(refusal.value)
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def test_a_source_cut_short_says_how_to_go_on(site, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.DTD, "_URL", f"{site}/short")
    with pytest.raises(InputError, match=r"torchvision cannot read DTD .*ended after"):
        Torchvision("DTD", str(tmp_path / "data"), download=True).split("test")
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def test_files_of_one_task_count_together(site, tmp_path, monkeypatch):
    monkeypatch.setenv(LIMIT, "70kB")
    with limited(tmp_path):
        download_url(f"{site}/sound", str(tmp_path), "first")
        with pytest.raises(InputError, match="won't download"):
            download_url(f"{site}/sound", str(tmp_path), "second")
    assert [path.name for path in tmp_path.iterdir()] == ["first"]
