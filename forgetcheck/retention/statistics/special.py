"""scipy.special, imported when first needed: `--help`, `list` and the like answer without it."""

from typing import Any


def __getattr__(name: str) -> Any:
    from scipy import special

    return getattr(special, name)
