"""Mistakes in the words of a task: class names and templates that can't be what was meant."""

from collections import Counter
from collections.abc import Iterator, Sequence

SHOWN = 3  # examples of what is wrong
HOLE = "{}"


def mistaken_names(class_names: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with class names; `place` counts from 0, as labels do."""
    empty = [str(place) for place, name in enumerate(class_names) if not name.strip()]
    if empty:
        yield f"class names are missing, for label {some(empty)}: name every class"
    seen = Counter(name.strip().casefold() for name in class_names if name.strip())
    twice = list(dict.fromkeys(name for name in class_names if seen[name.strip().casefold()] > 1))
    if twice:
        yield (
            f"class names are used twice: {some([repr(name) for name in twice])}; "
            "a model can't tell them apart: give each class its own"
        )


def mistaken_templates(templates: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with prompt templates."""
    if not templates:
        yield "no templates: write at least one, such as 'a photo of a {}.'"
    odd = [repr(template) for template in templates if template.count(HOLE) != 1]
    if odd:
        yield f"templates need one {{}} for the class name, not none and not two: {some(odd)}"
    twice = [repr(template) for template, times in Counter(templates).items() if times > 1]
    if twice:
        yield f"templates are given twice, which weighs them double: {some(twice)}; keep one of each"


def some(names: Sequence[str]) -> str:
    """List a few examples and say how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
