"""The names and shapes of every architecture that open_clip can build: shipped, or built once and cached."""

import hashlib
import json
import logging
import lzma
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import open_clip

from forgetcheck.clip.features.cache import cache_folder
from forgetcheck.clip.model.checkpoint import CONFIG, TINY, TINY_FOLDER, read_config
from forgetcheck.clip.model.load import shapes_of
from forgetcheck.clip.model.tensor_names import Shapes, canonical
from forgetcheck.documents import parse_json
from forgetcheck.errors import InputError
from forgetcheck.files import whole_file
from forgetcheck.progress import Progress, silent
from forgetcheck.provenance import digest

SCHEMA = "forgetcheck/architectures@1"
SHIPPED = Path(__file__).parent / "architectures.json.xz"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Index:
    """Which architecture has which names and shapes. Twins share one layout."""

    open_clip: str  # the version whose code built the layouts
    configs: Mapping[str, str]  # architecture -> digest of its config
    fits: Mapping[str, str]  # architecture -> key of its layout
    layouts: Mapping[str, Shapes]  # canonical names
    unbuildable: Mapping[str, str]  # architecture -> why it has no layout


@cache
def index() -> _Index:
    """Return the index of the installed open_clip. Milliseconds, but for the first call after an update."""
    return open_index(installed_configs(), SHIPPED, cached_path())


def open_index(
    configs: Mapping[str, Mapping[str, Any]],
    shipped: Path,
    cached: Path | None,
    progress: Progress = silent,
) -> _Index:
    """Read the index that covers exactly these configs, or build what is missing and cache it.

    The key is open_clip's version and each config. timm's version is not: published weights hold its
    layouts still, and weights that don't fit what it builds are refused when they are loaded.
    """
    wanted = {name: digest(config) for name, config in configs.items()}
    known = _Index(open_clip.__version__, {}, {}, {}, {})
    for path in (shipped, cached):
        found = read_index(path) if path is not None else None
        if found is not None and found.open_clip == open_clip.__version__:
            known = _restricted(_joined(known, found), wanted)
            if len(known.configs) == len(wanted):
                return known
    missing = {name: configs[name] for name in wanted if name not in known.configs}
    complete = _joined(known, build_index(missing, progress))
    if cached is not None:
        keep(complete, cached)
    return complete


def _restricted(known: _Index, wanted: Mapping[str, str]) -> _Index:
    """Keep the architectures whose config is still the wanted one."""
    names = {name for name, key in known.configs.items() if wanted.get(name) == key}
    fits = {name: key for name, key in known.fits.items() if name in names}
    return _Index(
        known.open_clip,
        {name: key for name, key in known.configs.items() if name in names},
        fits,
        {key: shapes for key, shapes in known.layouts.items() if key in set(fits.values())},
        {name: why for name, why in known.unbuildable.items() if name in names},
    )


def _joined(known: _Index, more: _Index) -> _Index:
    return _Index(
        known.open_clip,
        {**known.configs, **more.configs},
        {**known.fits, **more.fits},
        {**known.layouts, **more.layouts},
        {**known.unbuildable, **more.unbuildable},
    )


def build_index(configs: Mapping[str, Mapping[str, Any]], progress: Progress = silent) -> _Index:
    """Build each architecture without memory for its weights, and write down what it is made of."""
    if configs:
        _logger.info("indexing %d architectures of open_clip %s, once", len(configs), open_clip.__version__)
    fits, layouts, unbuildable = {}, {}, {}
    for number, (name, config) in enumerate(configs.items()):
        progress("indexing architectures", number, len(configs), name)
        try:
            shapes = canonical(shapes_of(name, {"model_cfg": config}))
        except InputError as problem:
            unbuildable[name] = str(problem)
            continue
        fits[name] = layout_key(shapes)
        layouts[fits[name]] = shapes
    digests = {name: digest(config) for name, config in configs.items()}
    return _Index(open_clip.__version__, digests, fits, layouts, unbuildable)


def installed_configs() -> dict[str, dict[str, Any]]:
    """Return the config of every architecture the installed open_clip names, and of forgetcheck:tiny."""
    named = {name: deepcopy(open_clip.get_model_config(name)) for name in open_clip.list_models()}
    return {**named, TINY: read_config(TINY_FOLDER / CONFIG)["model_cfg"]}


def layout_key(shapes: Shapes) -> str:
    return hashlib.sha256(json.dumps(sorted(shapes.items())).encode()).hexdigest()[:16]


def cached_path() -> Path | None:
    """Return where this user's index of this open_clip lies, None where there is no home."""
    folder = cache_folder()
    return None if folder is None else folder / f"architectures-{open_clip.__version__}.json.xz"


def keep(found: _Index, path: Path) -> None:
    """Write the index for the next time; a cache that can't be written is no cache, not an error."""
    try:
        write_index(found, path)
    except (InputError, OSError) as problem:
        _logger.info("the index of architectures is not cached: %s", problem)


def write_index(found: _Index, path: Path) -> None:
    record = {
        "schema": SCHEMA,
        "open_clip": found.open_clip,
        "configs": found.configs,
        "fits": found.fits,
        "layouts": found.layouts,
        "unbuildable": found.unbuildable,
    }
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    with whole_file(path) as temporary:
        temporary.write_bytes(lzma.compress(text.encode()))


def read_index(path: Path) -> _Index | None:
    """Read an index; None where there is none, or where it is damaged or of another schema."""
    try:
        record = parse_json(lzma.decompress(path.read_bytes()).decode())
        if record["schema"] != SCHEMA:
            return None
        layouts = {
            key: {name: tuple(shape) for name, shape in shapes.items()}
            for key, shapes in record["layouts"].items()
        }
        fits = {str(name): str(key) for name, key in record["fits"].items()}
        if not set(fits.values()) <= set(layouts):
            return None
        return _Index(str(record["open_clip"]), record["configs"], fits, layouts, record["unbuildable"])
    except (OSError, EOFError, lzma.LZMAError, ValueError, KeyError, TypeError, AttributeError):
        return None
