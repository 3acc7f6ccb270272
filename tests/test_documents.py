"""Reading JSON and TOML that somebody else may have written: a ValueError, whatever is wrong."""

import pytest

from forgetcheck.documents import DEEPEST, parse_json, read_toml


@pytest.mark.parametrize(
    "text", ["[]", "3", "{", '{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', "[" * 100_000]
)
def test_json_that_is_no_object_or_no_json(text):
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


@pytest.mark.parametrize(("opening", "closing"), [('{"a": ', "}"), ("[0, ", "]")])
def test_json_is_read_as_deep_as_everything_that_reads_on_gets(opening, closing):
    def nested(depth):
        return '{"a": ' + opening * (depth - 1) + "1" + closing * (depth - 1) + "}"

    assert parse_json(nested(DEEPEST))
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(nested(DEEPEST + 1))


@pytest.mark.parametrize("text", ["a", "a = " + "[" * 100_000, "a = " + "9" * 5000, "a = 1\na = 2"])
def test_toml_that_is_none(tmp_path, text):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ValueError, match=r"."):
        read_toml(tmp_path / "a.toml")
