"""Text towers that transformers builds: their config and tokenizer, found without following a stranger."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from text_towers import NAME, TEXTS, TOWERS, cache_repository, publish
from torch.nn.functional import normalize

from forgetcheck.clip.identity.resolve import find_checkpoint, find_checkpoints, look_at
from forgetcheck.clip.model.checkpoint import CONFIG, TEXT_MODEL, WEIGHTS
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.clip.model.settings import differences
from forgetcheck.clip.model.text_tower import FILE, Ask, checked, complete, is_repository
from forgetcheck.clip.saving.convert import read_clip
from forgetcheck.clip.saving.write import write_clip
from forgetcheck.errors import InputError


def read_by_open_clip(folder: Path, model: Any) -> torch.Tensor:
    with torch.no_grad():
        return normalize(model.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)), dim=-1)


@pytest.mark.parametrize("place", ["beside", "in the cache"])
@pytest.mark.parametrize("kind", TOWERS)
def test_a_tower_of_transformers_sees_and_reads_as_in_open_clip(
    tmp_path: Path, hub: Path, images: torch.Tensor, kind: str, place: str
) -> None:
    theirs = publish(tmp_path / "clip", kind, tmp_path / "tower")
    if place == "beside":
        shutil.copy(tmp_path / "tower" / "config.json", tmp_path / "clip" / FILE)
    else:
        cache_repository(hub, tmp_path / "tower")
    encoder = load_encoder(find_checkpoint(str(tmp_path / "clip")), "cpu")
    with torch.no_grad():
        assert torch.allclose(encoder.read(TEXTS), read_by_open_clip(tmp_path / "clip", theirs), atol=1e-5)
        assert torch.allclose(encoder.see(images), normalize(theirs.encode_image(images), dim=-1), atol=1e-5)


def test_a_tuned_file_takes_the_tower_and_the_tokenizer_of_its_base(bert: Path, tmp_path: Path) -> None:
    base = load_encoder(find_checkpoint(str(bert)), "cpu")
    old = {"text.transformer.embeddings.position_ids": torch.arange(80)[None]}  # as older files have it
    weights = {name: value.detach().clone() for name, value in base.weights.items()}
    save_file({**weights, **old}, tmp_path / "tuned.safetensors")
    found, tuned = find_checkpoints([str(bert), str(tmp_path / "tuned.safetensors")])
    with torch.no_grad():
        assert torch.equal(load_encoder(tuned, "cpu").read(TEXTS), base.read(TEXTS))
    assert not differences(found.config, tuned.config)


def test_a_tuned_folder_without_them_takes_those_of_its_base(bert: Path, tmp_path: Path) -> None:
    shutil.copytree(bert, tmp_path / "tuned")
    for path in (tmp_path / "tuned").iterdir():
        if path.name not in (CONFIG, WEIGHTS):
            path.unlink()
    found, tuned = find_checkpoints([str(bert), str(tmp_path / "tuned")])
    assert tuned.config == found.config
    assert load_encoder(tuned, "cpu").digests == load_encoder(found, "cpu").digests
    with pytest.raises(InputError, match="add --allow-download if you trust that name"):
        find_checkpoint(str(tmp_path / "tuned"))


def test_heads_differ_where_no_shape_does(bert: Path, tmp_path: Path) -> None:
    shutil.copytree(bert, tmp_path / "tuned")
    config = json.loads((bert / FILE).read_text())
    (tmp_path / "tuned" / FILE).write_text(json.dumps({**config, "num_attention_heads": 2}))
    found, tuned = find_checkpoints([str(bert), str(tmp_path / "tuned")])
    assert differences(found.config, tuned.config) == (
        "text_cfg.text_model.num_attention_heads: 4 against 2",
    )


def test_what_is_written_is_read_again_by_both(bert: Path, tmp_path: Path) -> None:
    clip = read_clip(str(bert)).clip
    for kind in ("local-dir", "safetensors"):
        write_clip(tmp_path / f"x.{kind}", clip, kind)
    theirs = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'x.local-dir'}")
    encoder = load_encoder(find_checkpoint(str(tmp_path / "x.local-dir")), "cpu")
    assert torch.equal(theirs(TEXTS), encoder.tokenizer(TEXTS))
    assert encoder.config[TEXT_MODEL]["num_attention_heads"] == 4
    with pytest.raises(InputError, match=f"the tokenizer '{NAME}', whose files are neither"):
        find_checkpoint(str(tmp_path / "x.safetensors"))
    (found,) = look_at([str(tmp_path / "x.safetensors")])
    seen = load_encoder(found, "cpu", words=False)
    assert seen.digests == encoder.digests
    with pytest.raises(InputError, match=r"copy tokenizer\.json there"):
        seen.read(TEXTS)


@pytest.mark.parametrize(
    ("ask", "name", "asked"),
    [
        (Ask.NONE, "roberta-base", False), (Ask.NONE, NAME, False),
        (Ask.SHIPPED, "roberta-base", True), (Ask.SHIPPED, NAME, False),
        (Ask.ANY, "roberta-base", True), (Ask.ANY, NAME, True), (Ask.ANY, "../tower", False),
        (Ask.ANY, "/etc", False),
    ],
)  # fmt: skip
def test_whom_a_name_out_of_a_file_may_ask(
    bert: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask, name: str, asked: bool
) -> None:
    wanted = []

    def fetch(repository: str, file: str, _revision: str) -> Path | None:
        wanted.append(repository)
        return bert / FILE if file == "config.json" else None

    monkeypatch.setattr("forgetcheck.clip.model.text_tower.fetched", fetch)
    text = {"hf_model_name": name, "hf_tokenizer_name": NAME}
    checkpoint = replace(find_checkpoint(str(bert)), config={"model_cfg": {"text_cfg": text}}, weights=None)
    if asked or ask is Ask.NONE:
        found = complete(checkpoint, None, ask)
        assert (TEXT_MODEL in found.config) == asked
    else:
        with pytest.raises(InputError, match="whose config is neither beside the weights"):
            complete(checkpoint, None, ask)
    assert bool(wanted) == asked


def test_a_folder_of_that_name_is_not_followed(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers takes a folder in the working directory for a name."""
    (bert / FILE).unlink()
    shutil.copytree(tmp_path / "tower", tmp_path / "here" / NAME)
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match="whose config is neither beside the weights"):
        find_checkpoint(str(bert))


def test_code_that_a_tower_names_is_never_run(bert: Path) -> None:
    canary = bert / "ran"
    (bert / "code.py").write_text(f"open({str(canary)!r}, 'w')\n")
    config = json.loads((bert / FILE).read_text())
    maps = {"auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}}
    (bert / FILE).write_text(json.dumps({**config, **maps, "_attn_implementation": "some/kernel"}))
    load_encoder(find_checkpoint(str(bert)), "cpu")
    assert not canary.exists()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"model_type": "gpt2"}, "no text tower that open_clip builds"),
        ({"model_type": ["bert"]}, "no text tower that open_clip builds"),
        ({"position_embedding_type": "relative_key"}, "no longer builds"),
        ({"num_hidden_layers": 10**6}, "more than the 1000"),
        ({"max_position_embeddings": 10**9}, "more than the 4096"),
        ({"num_hidden_layers": "two"}, "transformers refuses it|cannot build"),
        ({"hidden_size": 10**12}, "doesn't fit|cannot build"),
        ({"hidden_size": 31}, "transformers refuses it|cannot build"),
        ({"vocab_size": 61}, "doesn't fit"),
        ({"hidden_act": "/etc/passwd"}, "cannot build|transformers refuses"),
    ],
)
def test_odd_configs_are_refused_in_a_line(bert: Path, changes: dict[str, Any], word: str) -> None:
    config = json.loads((bert / FILE).read_text())
    (bert / FILE).write_text(json.dumps({**config, **changes}))
    with pytest.raises(InputError, match=word):
        load_encoder(find_checkpoint(str(bert)), "cpu")


def test_what_a_name_of_the_hub_looks_like() -> None:
    assert all(map(is_repository, ("bert-base", "a/b", "A.b_c/d-1.5")))
    assert not any(
        map(is_repository, ("", "/", "a/b/c", "../x", "a/../b", "a--b", ".", "C:\\x", None, 3, "x\n"))
    )


def test_a_config_says_what_it_leaves_out() -> None:
    plain = checked({"model_type": "bert"}, "x")
    assert plain == checked({**plain, "dtype": "bfloat16", "auto_map": {"a": "b"}, "unheard": 1}, "x")
    assert plain["num_attention_heads"] == 12
