"""CLIPs whose text tower transformers builds, small, as their people publish them; and the hub's cache."""

import json
import shutil
from pathlib import Path
from typing import Any

import open_clip
import torch
import transformers
from safetensors.torch import save_file
from transformers import PretrainedConfig

from forgetcheck.clip.model.checkpoint import CONFIG, WEIGHTS

WORDS = ("a", "photo", "of", "the", "red", "blue", "fox", "jay", "small", "large", "circle", "square")
TEXTS = ["a photo of a red fox", "the small blue jay", "Large Fox of the red photo"]
NAME = "some/tower"
VIT = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
PREPROCESS = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic"}
SIZE = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
TOWERS: dict[str, tuple[PretrainedConfig, dict[str, Any]]] = {
    "BERT, its class token": (
        transformers.BertConfig(**SIZE, max_position_embeddings=80),
        {"hf_pooler_type": "cls_last_hidden_state_pooler", "hf_proj_type": "mlp"},
    ),
    "BERT, its own pooler": (
        transformers.BertConfig(**SIZE, max_position_embeddings=80, hidden_act="gelu_new"),
        {"hf_pooler_type": "cls_pooler", "hf_proj_type": "linear"},
    ),
    "RoBERTa": (
        transformers.RobertaConfig(**SIZE, max_position_embeddings=80, layer_norm_eps=1e-5, pad_token_id=0),
        {"hf_pooler_type": "mean_pooler", "hf_proj_type": "mlp"},
    ),
    "XLM-RoBERTa": (
        transformers.XLMRobertaConfig(**SIZE, max_position_embeddings=80, pad_token_id=0),
        {"hf_pooler_type": "mean_pooler", "hf_proj_type": "linear"},
    ),
    "mT5": (
        transformers.MT5Config(vocab_size=60, d_model=32, num_layers=2, num_heads=2, d_ff=48, d_kv=16),
        {"hf_pooler_type": "mean_pooler", "hf_proj_type": "linear"},
    ),
    "NLLB": (
        transformers.M2M100Config(
            vocab_size=60, d_model=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=48,
            decoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=48, pad_token_id=0,
        ),
        {"hf_pooler_type": "cls_pooler", "hf_proj_type": "linear"},
    ),
}  # fmt: skip


def write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {
        "<pad>": 0,
        "<s>": 1,
        "</s>": 2,
        "<unk>": 3,
        **{word: 4 + n for n, word in enumerate(WORDS)},
    }
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.normalizer, inner.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    ).save_pretrained(folder)


def publish(folder: Path, kind: str, tower: Path) -> Any:
    """Write a CLIP as its people publish it, and return open_clip's own model of it.

    The config of the text tower lies in the folder `tower` only, as on the hub.
    """
    config, options = TOWERS[kind]
    config.save_pretrained(tower)
    text = {"hf_model_name": str(tower), "hf_tokenizer_name": NAME, "context_length": 20, **options}
    model = {"embed_dim": 16, "vision_cfg": dict(VIT), "text_cfg": text}
    folder.mkdir()
    write_tokenizer(folder)
    write_config(folder, model)
    torch.manual_seed(1)
    theirs = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False).eval()
    save_file({k: v.clone().contiguous() for k, v in theirs.state_dict().items()}, folder / WEIGHTS)
    write_config(folder, {**model, "text_cfg": {**text, "hf_model_name": NAME}})
    return theirs


def write_config(folder: Path, model: dict[str, Any]) -> None:
    (folder / CONFIG).write_text(json.dumps({"model_cfg": model, "preprocess_cfg": PREPROCESS}))


def cache_repository(hub: Path, tower: Path, name: str = NAME) -> Path:
    """Lay a folder out as a download of that repository leaves it."""
    repository = hub / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(tower, repository / "snapshots" / ("0" * 40))
    return repository / "snapshots" / ("0" * 40)
