"""The recipe of `forgetcheck:tiny`: contrastive pre-training on drawn pictures and their captions.

Run `python -m forgetcheck.embedded.pretrain` to make the shipped files again. On the same machine
and library versions the weights come out bit for bit the same.
"""

import argparse
import hashlib
import json
import math
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from forgetcheck.tasks.drawn import FAMILIES, sketch

_HERE = Path(__file__).parent / "tiny"
_CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"


# Pictures per pass of each family, in shares: more where there is more to tell apart.
_SHARES = {
    "shape": 2, "colour": 1, "count": 2, "texture": 1, "letter": 6, "digit": 3,
    "position": 1, "size": 2, "orientation": 2, "relation": 4, "binding": 1,
}  # fmt: skip


@dataclass(frozen=True)
class _Recipe:
    """Everything that decides the weights, beside the drawings and the config."""

    samples: int = 60_000  # pictures
    passes: int = 14
    batch: int = 256
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.1
    warmup_steps: int = 100
    gradient_clip: float = 1.0
    seed: int = 7
    threads: int = 1  # one thread: the order of every sum is fixed


@dataclass(frozen=True)
class _Corpus:
    """Drawn pictures with everything that may be said of them, tokenised."""

    images: Tensor  # (n, 3, h, w) uint8
    captions: Tensor  # (u, t) int64, distinct
    true_of: Tensor  # (n, k) int64, rows of `captions`; families with fewer repeat one


def _draw_corpus(samples: int, tokenizer: Any) -> _Corpus:
    unit = samples // sum(_SHARES.values())
    sketches = [sketch(name, "pretrain", i) for name, share in _SHARES.items() for i in range(unit * share)]
    texts = sorted({text for item in sketches for text in item.captions})
    row = {text: number for number, text in enumerate(texts)}
    widest = max(len(item.captions) for item in sketches)
    padded = [(item.captions + item.captions[:1] * widest)[:widest] for item in sketches]
    pixels = np.stack([np.asarray(item.image) for item in sketches])
    return _Corpus(
        images=torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
        captions=tokenizer(texts),
        true_of=torch.tensor([[row[text] for text in captions] for captions in padded]),
    )


def _normalised(images: Tensor, preprocess: dict[str, Any]) -> Tensor:
    """Scale uint8 pictures (n, 3, h, w) as the shipped preprocessing does."""
    mean = torch.tensor(preprocess["mean"]).view(1, 3, 1, 1)
    std = torch.tensor(preprocess["std"]).view(1, 3, 1, 1)
    return (images.float() / 255 - mean) / std


def _contrastive_loss(model: nn.Module, images: Tensor, texts: Tensor, belongs: Tensor) -> Tensor:
    """Symmetric InfoNCE in which every caption that is true of a picture is its positive.

    `images` (n, 3, h, w), `texts` (u, t), `belongs` (n, u) of 0 and 1.
    """
    seen = model.encode_image(images, normalize=True)  # type: ignore[operator]
    read = model.encode_text(texts, normalize=True)  # type: ignore[operator]
    logits = model.logit_scale.exp() * seen @ read.T  # type: ignore[operator]
    to_texts = -(logits.log_softmax(dim=1) * belongs).sum(dim=1) / belongs.sum(dim=1)
    to_images = -(logits.log_softmax(dim=0) * belongs).sum(dim=0) / belongs.sum(dim=0)
    loss: Tensor = (to_texts.mean() + to_images.mean()) / 2
    return loss


def _draw_batch(corpus: _Corpus, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Say one of its captions of each chosen picture (n,); return them and who they are true of."""
    true_of = corpus.true_of[chosen]
    pick = torch.randint(true_of.shape[1], (len(chosen), 1), generator=generator)
    rows = true_of.gather(1, pick).unique()
    belongs = (true_of[:, :, None] == rows).any(dim=1).float()
    return corpus.captions[rows], belongs


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay matrices only, as open_clip's own training does."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


def train(model: nn.Module, corpus: _Corpus, recipe: _Recipe, preprocess: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(
        _parameter_groups(model, recipe.weight_decay),
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
        eps=1e-6,
        fused=True,
    )
    per_pass = len(corpus.images) // recipe.batch
    total = per_pass * recipe.passes
    started = time.monotonic()
    for step in range(total):
        if step % per_pass == 0:
            order = torch.randperm(len(corpus.images), generator=generator)
        chosen = order[(step % per_pass) * recipe.batch :][: recipe.batch]
        texts, belongs = _draw_batch(corpus, chosen, generator)
        loss = _contrastive_loss(model, _normalised(corpus.images[chosen], preprocess), texts, belongs)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        rate = learning_rate(step, total, recipe)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))  # type: ignore[operator]
        if step % 50 == 0 or step == total - 1:
            spent = time.monotonic() - started
            left = spent / (step + 1) * (total - step - 1)
            print(
                f"step {step}/{total} loss {loss.item():.4f} {spent:.0f} s, {left:.0f} s left",
                file=sys.stderr,
            )


def learning_rate(step: int, total: int, recipe: _Recipe) -> float:
    """Linear warm-up, then cosine to zero."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, total - recipe.warmup_steps)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _shipped_weights(model: nn.Module, used_tokens: Tensor) -> dict[str, Tensor]:
    """Return fp16 weights with the embedding rows of tokens that no prompt uses set to zero."""
    weights = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    unused = torch.ones(len(weights["token_embedding.weight"]), dtype=torch.bool)
    unused[used_tokens] = False
    weights["token_embedding.weight"][unused] = 0
    weights.pop("attn_mask", None)
    return weights


def _zero_shot(model: nn.Module, tokenizer: Any, preprocess: dict[str, Any], stream: str) -> dict[str, float]:
    """Measure zero-shot accuracy per family on 600 pictures of a stream."""
    accuracies = {}
    for name, family in FAMILIES.items():
        drawn = [sketch(name, stream, i) for i in range(600)]
        pixels = torch.from_numpy(np.stack([np.asarray(item.image) for item in drawn])).permute(0, 3, 1, 2)
        labels = torch.tensor([item.label for item in drawn])
        with torch.no_grad():
            seen = model.encode_image(_normalised(pixels, preprocess), normalize=True)  # type: ignore[operator]
            prompts = [t.format(c) for c in family.concepts for t in family.templates]
            read = model.encode_text(tokenizer(prompts), normalize=True)  # type: ignore[operator]
            heads = F.normalize(read.view(len(family.concepts), len(family.templates), -1).mean(1), dim=-1)
        accuracies[name] = ((seen @ heads.T).argmax(1) == labels).float().mean().item()
    return accuracies


def _render_card(card: dict[str, Any]) -> str:
    """Write down for people what card.json says for programs."""
    recipe = ", ".join(f"{name} {value}" for name, value in card["recipe"].items())
    versions = ", ".join(f"{name} {value}" for name, value in card["versions"].items())
    rows = [f"| {name} | {100 * value:.1f} |" for name, value in card["zero_shot_test_accuracy"].items()]
    return "\n".join(
        [
            "# forgetcheck:tiny",
            "",
            "A CLIP in a stock open_clip architecture (open_clip_config.json), trained from scratch on",
            "drawn pictures and their captions. It is for showing and testing forgetcheck, not for use.",
            "fp16; embedding rows of tokens that no caption uses are zero; contexts are 16 tokens.",
            "",
            "Made by `python -m forgetcheck.embedded.pretrain`. On one machine and these versions the",
            f"weights come out the same, bit for bit. It took {card['seconds']} s on one core.",
            "",
            f"Recipe: {recipe}.",
            f"Versions: {versions}.",
            f"SHA-256 of the weights file: `{card['sha256']}`.",
            "",
            "Zero-shot accuracy on 600 test pictures per family, which no training has seen:",
            "",
            "| family | % |",
            "|---|---:|",
            *rows,
            f"| **mean** | **{100 * card['mean']:.1f}** |",
            "",
        ]
    )


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=_HERE)
    for field, value in asdict(_Recipe()).items():
        parser.add_argument(f"--{field.replace('_', '-')}", type=type(value), default=value)
    options = vars(parser.parse_args())
    out: Path = options.pop("out")
    recipe = _Recipe(**options)
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe.seed)

    started = time.monotonic()
    config = json.loads((_HERE / _CONFIG).read_text())
    source = f"local-dir:{_HERE}"
    model = open_clip.create_model(source, load_weights=False)
    tokenizer = open_clip.get_tokenizer(source)
    corpus = _draw_corpus(recipe.samples, tokenizer)
    train(model.train(), corpus, recipe, config["preprocess_cfg"])

    prompts = [t.format(c) for f in FAMILIES.values() for c in f.concepts for t in f.templates]
    used = torch.cat([corpus.captions.flatten(), tokenizer(prompts).flatten()]).unique()
    weights = _shipped_weights(model, used)
    model.load_state_dict({name: value.float() for name, value in weights.items()}, strict=False)
    accuracies = _zero_shot(model.eval(), tokenizer, config["preprocess_cfg"], "test")
    out.mkdir(parents=True, exist_ok=True)
    save_file(weights, out / WEIGHTS, {"format": "pt"})
    os.chmod(out / WEIGHTS, 0o644)  # safetensors leaves 0600
    card = {
        "recipe": asdict(recipe),
        "zero_shot_test_accuracy": accuracies,
        "mean": sum(accuracies.values()) / len(accuracies),
        "sha256": hashlib.sha256((out / WEIGHTS).read_bytes()).hexdigest(),
        "seconds": round(time.monotonic() - started),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "open_clip": open_clip.__version__,
        },
    }
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    (out / "CARD.md").write_text(_render_card(card))
    print(_render_card(card))


if __name__ == "__main__":
    _main()
