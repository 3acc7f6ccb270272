"""Mistakes in words: each has a text that shows it and one that doesn't."""

import pytest

from forgetcheck.tasks.mistakes import mistaken_names, mistaken_templates, some


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["cat", "dog"], ""),
        (["cat", ""], "missing, for label 1"),
        ([" ", "dog", "\t"], "missing, for label 0, 2"),
        (["cat", "Cat ", "dog"], "used twice: 'cat', 'Cat '"),
        (["ß", "SS"], "used twice"),
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
