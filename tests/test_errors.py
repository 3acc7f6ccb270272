"""Refusals: one line, an exit code, the nearest known name."""

import pytest

from forgetcheck.errors import ForgetcheckError, InputError, PolicyFailed, unknown_name


def test_exit_codes_are_an_api():
    assert (PolicyFailed.exit_code, InputError.exit_code, ForgetcheckError.exit_code) == (1, 2, 2)
    assert issubclass(InputError, ForgetcheckError)
    assert issubclass(PolicyFailed, ForgetcheckError)


@pytest.mark.parametrize("text", ["a\nb", "a\r\n\tb", " a  b\n"])
def test_a_message_is_one_line(text):
    assert str(InputError(text)) == "a b"


def test_an_unknown_name_is_told_the_nearest_one():
    problem = unknown_name("probe", "zeroshot", ["linear", "zero-shot"], "forgetcheck list probes")
    assert isinstance(problem, InputError)
    assert str(problem) == (
        "unknown probe 'zeroshot': did you mean 'zero-shot'? See `forgetcheck list probes`."
    )


def test_an_unknown_name_like_no_other_is_told_all_of_them():
    assert "known: head, linear." in str(unknown_name("probe", "xyz", ["linear", "head"], "x"))
    assert "known: none." in str(unknown_name("option of head", "xyz", [], "x"))
