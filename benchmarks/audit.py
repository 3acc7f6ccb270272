"""How long an audit of a pair takes, beside a straightforward script per model and probe.

    python benchmarks/audit.py
    python benchmarks/audit.py --images 240 --model ViT-B-32 --repeat 3

Makes JPEGs of `--classes` classes (half to train, half to test) and two checkpoints with random weights, the
second a little changed. Then, in turn and in one run: the script (open_clip, a DataLoader, prompts class by
class, scikit-learn's LogisticRegression over six strengths; once per model and probe, as people run them),
forgetcheck with an empty cache, and forgetcheck with the base cached and a new candidate. Base and candidate
stand for published weights: nothing about them is in doubt. Seconds are of the clock and of all processors
together.

Where FORGETCHECK_CLIP_BENCHMARK names a python that has CLIP_benchmark (clip_benchmark_environment.py makes
one), its share of that, zero-shot of both checkpoints (its linear probe runs on CUDA only), is timed beside
the same share of the script and of forgetcheck.
"""

import argparse
import cProfile
import os
import pstats
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from clip_benchmark_share import HOW, Evaluator, find_evaluator, write_tars
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader, Dataset

from forgetcheck.auditing.audit import audit
from forgetcheck.batteries.battery import Battery
from forgetcheck.clip.features.cache import FeatureCache
from forgetcheck.clip.features.encoded_task import EncodedSplit, EncodedTask, encode_task
from forgetcheck.clip.features.runtime import KINDS, Engine
from forgetcheck.clip.identity.activation import BY_TAG
from forgetcheck.clip.model.checkpoint import ARCHITECTURE, Checkpoint, architecture
from forgetcheck.clip.model.load import load_encoder, quiet
from forgetcheck.probes.linear import Linear
from forgetcheck.provenance import digest
from forgetcheck.tasks.base import Split, SplitName, Task

TEMPLATES = ("a photo of a {}.", "a picture of a {}.", "a close-up of a {}.", "a drawing of a {}.")
STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # as the linear probe has
PROBES = ("zero-shot", "linear")
PARTS: tuple[SplitName, ...] = ("train", "test")
BARE = "bare forward, tensors in memory"
STEPS = (
    "load_encoder",
    "digest",
    "encode",
    "read_prompts",
    "fit_path",
    "fit_logistic",
    "collect",
    "issue",
)


@dataclass(frozen=True)
class Jpegs(Task):
    """Files `<part>/<class>/<number>.jpg` below a folder."""

    folder: Path
    names: tuple[str, ...]

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.names

    @property
    def templates(self) -> tuple[str, ...]:
        return TEMPLATES

    def split(self, name: SplitName) -> Split:
        paths = sorted((self.folder / name).glob("*/*.jpg"))
        labels = np.array([self.names.index(path.parent.name) for path in paths], dtype=np.int64)
        return Split(
            ids=tuple(str(path.relative_to(self.folder)) for path in paths),
            labels=labels,
            image=lambda i: Image.open(paths[i]).convert("RGB"),
            contents=lambda: digest([digest(path.read_bytes().hex()) for path in paths]),
        )


def make_jpegs(folder: Path, count: int, classes: int) -> Jpegs:
    """Write images of 500 x 375 pixels; a class is a tint and a grain."""
    random = np.random.default_rng(0)
    names = tuple(f"kind {number}" for number in range(classes))
    tints = random.uniform(60, 200, (classes, 3))
    for number in range(count):
        label, part = number % classes, PARTS[number // classes % 2]
        coarse = random.normal(tints[label], 40, (6 + label % 7, 8 + label % 5, 3)).clip(0, 255)
        image = Image.fromarray(coarse.astype(np.uint8)).resize((500, 375), Image.Resampling.BICUBIC)
        noisy = np.asarray(image, dtype=np.int16) + random.integers(-12, 12, (375, 500, 3))
        path = folder / part / names[label] / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return Jpegs(folder, names)


def make_pair(folder: Path, model: str, candidates: int) -> list[Checkpoint]:
    """Save random weights, and the same a little changed, once per candidate."""
    torch.manual_seed(0)
    with quiet():
        built, *_ = open_clip.create_model_and_transforms(model, load_weights=False)
    weights = {name: value.contiguous() for name, value in built.state_dict().items()}
    found = []
    for number in range(1 + candidates):
        path = folder / f"model{number}.safetensors"
        noise = {name: value + 1e-3 * number * torch.randn_like(value) if value.is_floating_point() else value
                 for name, value in weights.items()}  # fmt: skip
        save_file(noise, path)
        known = {ARCHITECTURE: BY_TAG}
        found.append(Checkpoint(path.stem, architecture(model), path, inferred=known))
    return found


class Files(Dataset[Any]):
    """What a script gives to its DataLoader."""

    def __init__(self, split: Split, transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.split, self.transform = split, transform

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.split.image(place)), int(self.split.labels[place])


def script(model: str, checkpoint: Checkpoint, task: Jpegs, probe: str, device: str, workers: int) -> float:
    """Do what a user would write for one model and one probe; return the accuracy."""
    with quiet():
        built, _, transform = open_clip.create_model_and_transforms(model, load_weights=False)
    built.load_state_dict(load_file(str(checkpoint.weights)))
    built.eval().to(device)

    def embed(part: SplitName) -> tuple[torch.Tensor, torch.Tensor]:
        loader = DataLoader(Files(task.split(part), transform), batch_size=64, num_workers=workers)
        seen, labels = [], []
        with torch.no_grad():
            for images, truth in loader:
                found = built.encode_image(images.to(device))
                seen.append((found / found.norm(dim=-1, keepdim=True)).cpu())
                labels.append(truth)
        return torch.cat(seen), torch.cat(labels)

    test, truth = embed("test")
    if probe == "zero-shot":
        classifier = read_prompts(built, open_clip.get_tokenizer(model), task, device)
        return float((((test @ classifier.T).argmax(dim=1)) == truth).float().mean())
    train, labels = embed("train")
    return sweep(train.numpy(), labels.numpy(), test.numpy(), truth.numpy())


def read_prompts(built: Any, tokenizer: Any, task: Jpegs, device: str) -> torch.Tensor:
    """Read the prompts class by class, as the notebook of CLIP does."""
    rows = []
    with torch.no_grad():
        for name in task.class_names:
            texts = tokenizer([template.replace("{}", name) for template in TEMPLATES]).to(device)
            found = built.encode_text(texts)
            mean = (found / found.norm(dim=-1, keepdim=True)).mean(dim=0)
            rows.append(mean / mean.norm())
    return torch.stack(rows).cpu()


def sweep(train: Any, labels: Any, test: Any, truth: Any) -> float:
    """Choose C on every fifth sample, refit on all, return the accuracy on test."""
    held = np.arange(len(labels)) % 5 == 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it may stop early; the user lives with that
        scores = {}
        for strength in STRENGTHS:
            c = 1 / (strength * (~held).sum())
            fit = LogisticRegression(C=c, max_iter=1000).fit(train[~held], labels[~held])
            scores[strength] = fit.score(train[held], labels[held])
        best = max(STRENGTHS, key=lambda strength: scores[strength])
        fit = LogisticRegression(C=1 / (best * len(labels)), max_iter=1000).fit(train, labels)
    return float(fit.score(test, truth))


@dataclass
class Clock:
    """Seconds by what was timed, of the clock and of the processors."""

    walls: dict[str, list[float]] = field(default_factory=dict)
    busy: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def timing(self, what: str) -> Iterator[None]:
        wall, busy = time.perf_counter(), processor_seconds()
        yield
        self.walls.setdefault(what, []).append(time.perf_counter() - wall)
        self.busy.setdefault(what, []).append(processor_seconds() - busy)

    def show(self, reference: str) -> None:
        print(f"{'':34}{'seconds':>10}{'spread':>16}{'processors':>12}{'times as fast':>15}")
        for what, walls in self.walls.items():
            wall, busy = statistics.median(walls), statistics.median(self.busy[what])
            gain = statistics.median(self.busy[reference]) / busy
            spread = f"{min(walls):.1f} to {max(walls):.1f}"
            print(f"{what:34}{wall:10.1f}{spread:>16}{busy:12.1f}{gain:15.2f}")
        print("times as fast: by seconds of the processors, which other work on the machine doesn't change")


def processor_seconds() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))


def compare(options: argparse.Namespace, folder: Path) -> None:
    task = make_jpegs(folder / "images", options.images, options.classes)
    base, first, second = make_pair(folder, options.model, 2)
    clock = Clock()
    battery = Battery("jpegs", {"jpegs": task})
    share, evaluator = Clock(), find_evaluator(options)
    for turn in range(options.repeat):
        with clock.timing("script"):
            for checkpoint in (base, first):
                for probe in PROBES:
                    script(options.model, checkpoint, task, probe, options.device, options.workers)
        engine = Engine(FeatureCache(folder / f"cache{turn}"), options.workers, options.precision)
        with clock.timing("forgetcheck, empty cache"):
            audit(base, [first], battery, PROBES, options.device, engine=engine)
        profile = cProfile.Profile()
        with clock.timing("forgetcheck, base cached"):
            profile.runcall(audit, base, [second], battery, PROBES, options.device, engine=engine)
        if evaluator:
            time_share(share, evaluator, folder / f"share{turn}", task, (base, first))
    clock.show("script")
    if evaluator:
        print("\nzero-shot of both checkpoints, CLIP_benchmark's share (its linear probe runs on CUDA only):")
        share.show("script, the same share")
    else:
        print(HOW)
    show_profile(profile)
    compare_parts(options, base, task, engine)


def time_share(
    clock: Clock, evaluator: Evaluator, folder: Path, task: Jpegs, pair: tuple[Checkpoint, Checkpoint]
) -> None:
    """Time zero-shot of both checkpoints, by everybody, and show that they find the same."""
    options = evaluator.options
    tars = write_tars(folder / "tars", task.folder, task.names, task.templates, options.workers)
    with clock.timing("script, the same share"):
        ours = [
            script(options.model, checkpoint, task, "zero-shot", options.device, options.workers)
            for checkpoint in pair
        ]
    with clock.timing("CLIP_benchmark, its share"):
        theirs = evaluator.accuracies(tars, [checkpoint.weights for checkpoint in pair if checkpoint.weights])
    with clock.timing("  of that, its start"):  # the others have their libraries imported already
        evaluator.run()
    engine = Engine(FeatureCache(folder / "cache"), options.workers, options.precision)
    battery = Battery("jpegs", {"jpegs": task})
    with clock.timing("forgetcheck, the same share"):
        audit(pair[0], pair[1:], battery, PROBES[:1], options.device, engine=engine)
    for who, right in (("the script", ours), ("CLIP_benchmark", theirs)):
        print(f"zero-shot accuracy by {who}: {' and '.join(f'{100 * each:.1f} %' for each in right)}")


def show_profile(profile: cProfile.Profile) -> None:
    """Say where the time of an audit with its base cached goes (with what each step calls)."""
    print("\nwhat is left, of the audit with its base cached, in seconds:")
    found = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (file, _, name), (_, calls, _, total, _) in sorted(found.items(), key=lambda item: -item[1][3]):
        if "forgetcheck" in file and name in STEPS and total > 0.05:
            print(f"  {name:20}{Path(file).stem:20}{calls:4} calls{total:9.2f}")


def compare_parts(options: argparse.Namespace, base: Checkpoint, task: Jpegs, engine: Engine) -> None:
    """Compare the encoding pass with the bare model, and the linear probe with scikit-learn."""
    encoder = load_encoder(base, options.device)
    split = task.split("test").take(np.arange(min(192, options.images // 2)))
    part = Taken(task.folder, task.names, split)
    images = torch.stack([encoder.preprocess(split.image(i)) for i in range(len(split))])
    clock = Clock()
    for _ in range(max(3, options.repeat)):
        with clock.timing(BARE), torch.inference_mode(), plainly(options):
            for batch in images.split(64):
                encoder.see(batch).cpu()
        with clock.timing("the same as forgetcheck runs it"), engine.running(encoder.device):
            for batch in images.split(64):
                encoder.see(batch).cpu()
        with clock.timing("encoding pass, from the files"):
            encode_task("jpegs", part, [encoder], ("test",), engine=replace(engine, cache=None))
    print(f"\n{len(split)} images, {options.precision}:")
    clock.show(BARE)
    (seen,) = encode_task("jpegs", task, [encoder], PARTS, engine=engine)  # from the cache
    compare_probes(seen)


def plainly(options: argparse.Namespace) -> AbstractContextManager[Any]:
    """Let PyTorch compute in the precision as everybody does."""
    if options.precision == "fp32":
        return nullcontext()
    return torch.autocast(options.device.partition(":")[0], KINDS[options.precision])


@dataclass(frozen=True)
class Taken(Jpegs):
    """Some of the test images."""

    some: Split

    def split(self, name: SplitName) -> Split:
        return self.some


def compare_probes(seen: EncodedTask) -> None:
    train, test = seen.splits["train"], seen.splits["test"]
    clock = Clock()
    with clock.timing("scikit-learn's sweep"):
        theirs = sweep(*arrays(train), *arrays(test))
    with clock.timing("linear probe"):
        answer = Linear().answer(seen, seen)
    ours = float(np.mean(answer.label == test.labels.numpy()))
    print(
        f"\nlinear probe of {len(train.labels)} + {len(test.labels)} embeddings, six strengths and a refit:"
    )
    clock.show("scikit-learn's sweep")
    print(f"accuracy: scikit-learn {100 * theirs:.1f} %, linear probe {100 * ours:.1f} %")


def arrays(split: EncodedSplit) -> tuple[Any, Any]:
    return split.embeddings.numpy(), split.labels.numpy()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(" ".join(f"{name}={value}" for name, value in vars(options).items()))
    with tempfile.TemporaryDirectory(prefix="forgetcheck-benchmark-") as folder:
        compare(options, Path(folder))


if __name__ == "__main__":
    main()
