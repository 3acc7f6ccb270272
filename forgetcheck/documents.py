"""Read JSON and TOML that somebody else may have written."""

import json
import math
import tomllib
from pathlib import Path
from typing import Any, NoReturn


def parse_json(text: str) -> dict[str, Any]:
    """Read a JSON object. Raises ValueError for anything else, such as NaN, which JSON doesn't know."""
    try:
        value = json.loads(text, parse_constant=not_json, parse_float=finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {type(value).__name__}")
    return value


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises OSError or ValueError, and nothing else, for whatever is wrong with it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def not_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def finite(text: str) -> float:
    """Read a number; 1e999 would become infinity, which no writer of ours can write down again."""
    value = float(text)
    return value if math.isfinite(value) else not_json(text)
