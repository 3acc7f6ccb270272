"""Nothing is fetched offline, and a hub that doesn't answer keeps nobody waiting."""

import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from forgetcheck import network
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.clip.model.text_tower import way_out
from forgetcheck.errors import InputError
from forgetcheck.tasks.huggingface import Huggingface
from forgetcheck.tasks.reading.download import Mirror

SWITCH = "HF_HUB_OFFLINE"


class Answer(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start as a user who has said nothing, and ask the hub anew."""
    for name in network.SWITCHES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, SWITCH, False)
    network.hub_answers.cache_clear()
    yield
    network.hub_answers.cache_clear()


@pytest.fixture
def silent_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A hub that takes every connection and never says a word, as behind a firewall."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/{revision}/{filename}"
        )
        monkeypatch.setattr(network, "PATIENCE", 0.3)
        yield address


@pytest.mark.parametrize(
    ("word", "said"), [("1", True), ("yes", True), ("ON", True), ("0", False), ("", False)]
)
@pytest.mark.parametrize("name", network.SWITCHES)
def test_the_environment_says_it(monkeypatch: pytest.MonkeyPatch, name: str, word: str, said: bool) -> None:
    monkeypatch.setenv(name, word)
    assert network.offline() == said


def test_closed_is_closed_for_the_clients_too_and_opens_again() -> None:
    with network.closed():
        assert network.offline()
        assert constants.is_offline_mode()
        assert os.environ[SWITCH] == "1"
        with network.closed():
            pass
        assert network.offline()
    assert not network.offline()
    assert not constants.is_offline_mode()
    assert SWITCH not in os.environ


def test_a_hub_that_answers_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    try:
        with network.hub_asked():
            assert not network.offline()
    finally:
        server.shutdown()
        server.server_close()


def test_a_hub_that_says_nothing_is_given_up_once(silent_hub: str) -> None:
    with network.hub_asked():
        assert network.offline()
    assert not network.offline()
    assert network.hub_answers.cache_info().misses == 1


@pytest.mark.parametrize("name", ["hf-hub:some/clip", "ViT-B-32:laion2b_s34b_b79k"])
def test_a_checkpoint_behind_it_is_refused_in_a_line(silent_hub: str, name: str, hub_cache: None) -> None:
    with pytest.raises(InputError, match="neither in the local cache nor reachable"):
        load_encoder(find_checkpoint(name), "cpu")


@pytest.fixture
def hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))


def test_what_must_be_fetched_is_refused_offline() -> None:
    network.refuse_offline("x")
    with (
        network.closed(),
        pytest.raises(InputError, match="x would have to be fetched, and this runs offline"),
    ):
        network.refuse_offline("x")


def test_a_mirror_of_the_web_asks_nobody_offline() -> None:
    mirror = Mirror.of("http://127.0.0.1:1/data", "webdataset")
    with network.closed(), pytest.raises(InputError, match="would have to be fetched, and this runs offline"):
        mirror.fetch("classnames.txt")


CLIP, TIMM = "hf download some/clip`", "hf download timm/vit_base_patch32_clip_224.openai`"


@pytest.mark.parametrize(
    ("ask", "command"),
    [
        (lambda: find_checkpoint("hf-hub:some/clip"), CLIP),
        (lambda: find_checkpoint("hf-hub:some/clip@abc"), "hf download some/clip --revision abc`"),
        (lambda: load_encoder(find_checkpoint("ViT-B-32:openai"), "cpu"), TIMM),
    ],
)
def test_what_is_not_cached_is_told_with_its_place_and_command(ask, command, hub: Path) -> None:
    with pytest.raises(InputError) as refusal:
        ask()
    assert "\n" not in str(refusal.value)
    assert command in str(refusal.value)
    assert f"it was looked for in '{hub}'" in str(refusal.value)


def test_a_text_tower_and_a_tokenizer_too(bert: Path, hub: Path) -> None:
    (bert / "text_config.json").unlink()
    with pytest.raises(InputError, match=r"whose config .*hf download") as tower:
        find_checkpoint(str(bert))
    assert f"it was looked for in '{hub}'" in str(tower.value)
    words = way_out("roberta-base")  # which open_clip's own configs name, as a tower and as a tokenizer
    assert words == network.way_to_have("roberta-base")


def test_a_data_set_too(hub: Path) -> None:
    with pytest.raises(InputError, match="hf download some/data --repo-type dataset") as refusal:
        Huggingface("some/data").split("test")
    assert f"it was looked for in '{hub}'" in str(refusal.value)
