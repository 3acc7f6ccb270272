"""Where a number comes from: versions, time, machine, digests."""

import hashlib
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from forgetcheck.errors import InputError
from forgetcheck.version import __version__

PACKAGES = ("torch", "torchvision", "open_clip_torch", "numpy", "scipy", "pillow", "safetensors")


def environment() -> dict[str, Any]:
    """Describe this run; reads package metadata, imports nothing heavy."""
    return {
        "forgetcheck": __version__,
        "created": timestamp(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: installed(name) for name in PACKAGES},
    }


def timestamp() -> str:
    """UTC, ISO 8601; SOURCE_DATE_EPOCH is honoured for reproducible files."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        raise InputError(
            f"SOURCE_DATE_EPOCH={epoch}: expected whole seconds since 1970; correct it or unset it."
        ) from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON-able value, independent of key order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def source(file: str) -> str:
    """Return the digest of a module's source: of what it makes, nothing else says when it changes."""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
