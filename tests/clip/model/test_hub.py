"""A folder of the hub is fetched, or taken from this machine's cache; the network is not asked in tests."""

from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError

from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.hub import download
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.errors import InputError

REVISION = "0" * 40


@pytest.fixture
def cached(tmp_path: Path, vit_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay out the hub client's cache by hand, as a download leaves it, and go offline."""
    repository = tmp_path / "hub" / "models--some--clip"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(REVISION)
    (repository / "snapshots").mkdir()
    vit_folder.rename(repository / "snapshots" / REVISION)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return repository / "snapshots" / REVISION


def test_a_cached_folder_is_read_offline(cached: Path, vit: Encoder) -> None:
    assert download("some/clip") == cached
    assert load_encoder(find_checkpoint("hf-hub:some/clip"), "cpu").digests == vit.digests


@pytest.mark.parametrize("name", ["some/other", "some/clip@unknown", "a/b/c", "", "../x", "some/clip@"])
def test_what_is_not_there_is_refused_in_a_line(cached: Path, name: str) -> None:
    if name == "some/clip@":
        assert download(name) == cached
        return
    with pytest.raises(InputError, match="neither in the local cache nor reachable"):
        download(name)


def test_a_folder_without_weights_is_refused(cached: Path) -> None:
    (cached / "open_clip_model.safetensors").unlink()
    with pytest.raises(InputError, match="no weights and config"):
        download("some/clip")


def test_its_own_tokenizer_is_fetched_with_it(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(_repository: str, file: str, revision: str | None = None) -> str:
        asked.append(file)
        if not (cached / file).exists():
            raise EntryNotFoundError(file)
        return str(cached / file)

    monkeypatch.setattr("forgetcheck.clip.model.hub.hf_hub_download", fetch)
    assert download("some/clip") == cached
    assert {"tokenizer.json", "vocab.json", "merges.txt", "spiece.model"} <= set(asked)


def test_an_adapter_is_fetched_without_whole_weights(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cached / "open_clip_model.safetensors").unlink()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (cached / name).write_bytes(b"{}")
    assert (download("some/clip") / "adapter_model.safetensors").exists()
