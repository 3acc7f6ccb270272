"""The passport says what a checkpoint is, how that is known, and what its tensors hold."""

import json
from pathlib import Path

import torch

from forgetcheck.clip.identity.model_info import issue
from forgetcheck.clip.identity.resolve import find_checkpoint, look
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.load import load_encoder


def test_the_passport_of_the_embedded_model(tiny: Encoder) -> None:
    passport = issue(find_checkpoint("forgetcheck:tiny"), tiny)
    assert passport.architectures == ("forgetcheck:tiny",)
    assert passport.activation == "GELU"
    assert passport.image_size == 32
    assert passport.preprocessing["mean"] == [0.5, 0.5, 0.5]
    assert passport.preprocessing["interpolation"] == "bicubic"
    assert passport.preprocessing["resize_mode"] == "shortest"
    assert passport.tokenizer == "CLIP's byte pairs (49408)"
    assert passport.context_length == 16
    assert passport.digests == tiny.digests
    assert passport.parameters == sum(parameter.numel() for parameter in tiny.model.parameters())
    assert all(part.finite for part in passport.census.values())
    assert passport.census["text"].zeros > 0  # rows of tokens that no caption uses
    assert list(passport.census["visual"].precisions) == ["float16"]  # as shipped, not as it runs


def test_the_record_survives_json(tiny: Encoder) -> None:
    record = issue(find_checkpoint("forgetcheck:tiny"), tiny).as_record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["census"]["visual"]["not_finite"] == []


def test_what_was_stripped_and_found_is_in_it(tmp_path: Path, tiny: Encoder) -> None:
    weights = {f"module.{name}": value.detach() for name, value in tiny.weights.items()}
    torch.save({**weights, "classification_head.weight": torch.ones(10, 128)}, tmp_path / "tuned.pt")
    checkpoint = find_checkpoint(str(tmp_path / "tuned.pt"))
    passport = issue(checkpoint, load_encoder(checkpoint, "cpu"))
    assert passport.digests == tiny.digests
    assert passport.head == (10, 128)
    assert "Stripped 'module.' from every name." in passport.notes
    assert passport.inferred["architecture"] == "the names and shapes of its weights"
    assert list(passport.census["visual"].precisions) == ["float32"]


def test_what_is_open_is_said(tmp_path: Path, tiny: Encoder, quick_twin: str) -> None:
    torch.save({name: value.detach() for name, value in tiny.weights.items()}, tmp_path / "bare.pt")
    checkpoint = look(str(tmp_path / "bare.pt"))
    passport = issue(checkpoint, load_encoder(checkpoint, "cpu"))
    assert passport.architectures == ("forgetcheck:tiny", quick_twin)
    assert "quick_gelu" in passport.undecided
    assert passport.inferred.keys() == {"preprocessing"}
