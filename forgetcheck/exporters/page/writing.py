"""Writes the page: templates, one inline style, one inline script, and the policy that allows only these."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from forgetcheck.exporters.page import text
from forgetcheck.exporters.page.sections import leaves
from forgetcheck.retention.text import wording
from forgetcheck.text import percent, points

_TEMPLATES = Path(__file__).parent / "templates"
_FILTERS = (
    *(
        text.named,
        text.brief,
        text.listed,
        text.share,
        text.drop,
        text.drop_ends,
        text.tuned,
        text.limit,
        text.smallest,
        text.between,
        text.among,
        text.templates,
        wording.advised,
    ),
    *(text.confused, text.notes, text.check_demand, text.check_limit, text.check_found, text.check_ends),
    *(text.check_smallest, text.effects, text.probability, points, percent),
)


def write(**parts: Any) -> str:
    """Fill the page with its parts; it ends in exactly one newline."""
    style, script = inline("page.css"), inline("page.js")
    page = environment().get_template("page.html.jinja")
    return page.render(style=style, script=script, security=security(style, script), **parts).strip() + "\n"


@cache
def environment() -> Environment:
    """Escape everything, refuse what is undefined, make every character visible."""
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=text.shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update({found.__name__: found for found in _FILTERS})
    made.filters |= {"css": _css_class, "leaves": leaves}
    made.tests["short"] = text.is_short
    return made


def _css_class(word: str) -> str:
    """Turn a verdict or an outcome, which are ours, into a class name."""
    return word.replace(" ", "-")


@cache
def inline(name: str) -> Markup:
    """Read a style or script, which are ours, as they go between their tags."""
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8").strip())  # noqa: S704


def security(style: str, script: str) -> str:
    """Return the Content-Security-Policy: nothing but this style, this script and inline images."""
    return "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"style-src '{digest(style)}'",
            f"script-src '{digest(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def digest(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
