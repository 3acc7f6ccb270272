"""Adapters by PEFT itself: trained ones in miniature, as they are saved, and what PEFT makes of them."""

import warnings
from pathlib import Path

import torch

TEXT = {
    "hidden_size": 16,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 49408,
    "max_position_embeddings": 12,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
MLP = ["fc1", "fc2"]
ATTENTION = ["q_proj", "k_proj", "v_proj", "out_proj"]


def transformers_clip(seed=0):
    import transformers

    torch.manual_seed(seed)
    config = transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=24)
    return transformers.CLIPModel(config).eval()


def adapted(model, seed=1, **options):
    """Return the model with an adapter of random numbers, in all that it trains."""
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = get_peft_model(model, LoraConfig(**options)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in wrapped.parameters():
            if value.requires_grad:
                value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return wrapped


def save(wrapped, folder: Path, **options) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped.save_pretrained(str(folder), **options)
    return folder


def merged(wrapped):
    """Return the state dict that PEFT itself merges."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return wrapped.merge_and_unload().eval().state_dict()
