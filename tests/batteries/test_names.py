"""Mistakes in words: each has a text that shows it and one that doesn't."""

import numpy as np
import pytest

from forgetcheck.batteries.names import (
    doubtful_labels,
    doubtful_names,
    mistaken_names,
    mistaken_templates,
    some,
)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["cat", "dog"], ""),
        (["cat", ""], "missing, for label 1"),
        ([" ", "dog", "\t"], "missing, for label 0, 2"),
        (["cat", "Cat ", "dog"], "used twice: 'cat', 'Cat '"),
        (["ß", "SS"], "used twice"),
        (["red  circle", "red circle"], "used twice"),
    ],
)
def test_class_names(names, said):
    found = list(mistaken_names(names))
    assert (found == []) if not said else said in found[0]


@pytest.mark.parametrize(
    ("templates", "said"),
    [
        (["a {}", "the {}"], ""),
        ([], "no templates"),
        (["a thing"], "need one {}"),
        (["{} and {}"], "need one {}"),
        (["a {}", "a {}"], "given twice"),
    ],
)
def test_templates(templates, said):
    found = list(mistaken_templates(templates))
    assert (found == []) if not said else said in found[0]


def test_examples_are_few():
    assert some(list("abcde")) == "a, b, c and 2 more"
    assert some(list("ab")) == "a, b"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["cat", "dog", "new", "a|b", "cat & dogs"], ""),
        (["cat", "NaN"], "'NaN' reads like a missing label"),
        (["no_label", "n/a", "cat"], "'no_label', 'n/a' reads like a missing label"),
        (["cat", "['cat', 'dog']"], "is a list and no name"),
        (["cat", '{"name": "dog"}'], "is a list and no name"),
        (["cat", "dog", "cat|dog"], "'cat|dog' is several classes at once"),
        (["cat", "dog", "Dog, Cat"], "'Dog, Cat' is several classes at once"),
        (["n01440764", "n01443537"], "'n01440764', 'n01443537' is a code of WordNet"),
    ],
)
def test_names_that_no_one_would_defend(names, said):
    found = list(doubtful_names(names))
    assert (found == []) if not said else said in found[0]


@pytest.mark.parametrize(
    ("parts", "doubted"),
    [
        ([[1, 2, 3], [1, 2, 3]], True),
        ([[1, 2, 3], [2]], True),
        ([[1, 2, 3], [0]], False),
        ([[1, 2], [2]], False),  # others are missing as well
        ([[0, 1, 2, 3]], False),
        ([[]], False),
    ],
)
def test_labels_that_are_counted_from_one(parts, doubted):
    found = list(doubtful_labels(["a", "b", "c", "d"], [np.array(part, dtype=np.int64) for part in parts]))
    assert bool(found) == doubted
    assert not found or "counted from 1" in found[0]
