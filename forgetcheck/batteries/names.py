"""Mistakes in the words of a task: class names and templates that can't be what was meant."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from forgetcheck.tasks.reading.naming import folded

_MISSING = {  # how tables say that a label is missing
    "", "nan", "na", "n/a", "#n/a", "null", "none", "nil", "undefined", "no label", "no_label", "nolabel",
    "unlabeled", "unlabelled", "?", "-", "missing",
}  # fmt: skip
_SYNSET = re.compile(r"[nvars]\d{8}")
_SEVERAL = re.compile(r"[|;,&+]")  # what people put between the labels of one image
_SHOWN = 3  # examples of what is wrong
_HOLE = "{}"


def mistaken_names(class_names: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with class names; `place` counts from 0, as labels do."""
    empty = [str(place) for place, name in enumerate(class_names) if not name.strip()]
    if empty:
        yield f"class names are missing, for label {some(empty)}: name every class"
    seen = Counter(folded(_spaced(name)) for name in class_names if name.strip())
    twice = list(dict.fromkeys(name for name in class_names if seen[folded(_spaced(name))] > 1))
    if twice:
        yield (
            f"class names are used twice: {some([repr(name) for name in twice])}; "
            "a model can't tell them apart: give each class its own"
        )


def _spaced(name: str) -> str:
    """Write a name with single spaces: tokenizers know no others."""
    return " ".join(name.split())


def doubtful_names(class_names: Sequence[str]) -> Iterator[str]:
    """Yield what is odd about class names that may be meant all the same, each half a sentence."""
    known = {name.casefold() for name in class_names}
    missing = [repr(name) for name in class_names if name.strip().casefold() in _MISSING]
    if missing:
        yield f"{some(missing)} reads like a missing label: leave such images out, or rename the class"
    listed = [repr(name) for name in class_names if _is_document(name)]
    if listed:
        yield f"{some(listed)} is a list and no name: give every image one label"
    several = [
        repr(name)
        for name in class_names
        if len(parts := _SEVERAL.split(name)) > 1 and all(part.strip().casefold() in known for part in parts)
    ]
    if several:
        yield f"{some(several)} is several classes at once and counts as one more: give every image one label"
    codes = [repr(name) for name in class_names if _SYNSET.fullmatch(name)]
    if codes:
        yield (
            f"{some(codes)} is a code of WordNet, which says nothing to a model: name the classes by label, "
            "with a table or a file as class_names"
        )


def _is_document(name: str) -> bool:
    if name[:1] in ("[", "{"):
        with suppress(ValueError):
            json.loads(name.replace("'", '"'))
            return True
    return False


def doubtful_labels(class_names: Sequence[str], parts: Iterable[NDArray[np.int64]]) -> Iterator[str]:
    """Yield what is odd about the labels of all parts (n,) each: whether they are counted from 1."""
    used = {int(label) for labels in parts for label in np.unique(labels)}
    last = len(class_names) - 1
    if used and last > 0 and 0 not in used and last in used and len(used) == last:
        yield (
            f"no image has the first class, {class_names[0]!r}, and all others have some: labels that are "
            "counted from 1 look so"
        )


def mistaken_templates(templates: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with prompt templates."""
    if not templates:
        yield "no templates: write at least one, such as 'a photo of a {}.'"
    odd = [repr(template) for template in templates if template.count(_HOLE) != 1]
    if odd:
        yield f"templates need one {{}} for the class name, not none and not two: {some(odd)}"
    twice = [repr(template) for template, times in Counter(templates).items() if times > 1]
    if twice:
        yield f"templates are given twice, which weighs them double: {some(twice)}; keep one of each"


def some(names: Sequence[str]) -> str:
    """List a few examples and say how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
