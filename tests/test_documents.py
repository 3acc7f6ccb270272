"""Reading JSON and TOML that somebody else may have written: a ValueError, whatever is wrong."""

import json
import tracemalloc

import pytest

from forgetcheck import documents
from forgetcheck.documents import (
    DEEPEST,
    parse_any_json,
    parse_json,
    read_json,
    read_text,
    read_toml,
    refuse_table,
    weight,
)


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


@pytest.mark.parametrize("key", ["a", '"a b"', "'a.b'", " a "])
def test_a_key_of_many_parts_is_too_deep_and_found_at_once(tmp_path, key):
    (tmp_path / "a.toml").write_text(".".join([key] * 50_000) + " = 1\n")
    with pytest.raises(ValueError, match="nested too deeply"):
        read_toml(tmp_path / "a.toml")


def test_keys_and_texts_with_dots_are_read(tmp_path):
    key = ".".join("abcdefghij")
    text = ". ".join(["Sentence"] * 500) + " ..." * 300 + " 1.2.3"
    (tmp_path / "a.toml").write_text(f"{key} = '{text}'\n[{'.'.join('k' * 90)}]\nx = 1\n")
    document = read_toml(tmp_path / "a.toml")
    for part in "abcdefghij":
        document = document[part]
    assert document == text


def test_a_large_toml_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "a.toml").open("wb") as file:
        file.truncate(2**34)
    with pytest.raises(ValueError, match="more than 4 MiB"):
        read_toml(tmp_path / "a.toml")


def test_lines_end_as_python_reads_them(tmp_path):
    (tmp_path / "a").write_bytes(b"a\r\nb\rc\nd")
    assert read_text(tmp_path / "a", 100) == (tmp_path / "a").read_text() == "a\nb\nc\nd"


def test_json_is_weighed_before_it_is_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b"[" + b"[]," * 99_999 + b"[]]")
    assert len(read_json(tmp_path / "a.json", 2**20, 2**24)) == 100_000
    with pytest.raises(ValueError, match="more than 4 MiB of memory"):
        read_json(tmp_path / "a.json", 2**20, 2**22)
    with pytest.raises(ValueError, match="more than 0 MiB"):
        read_json(tmp_path / "a.json", 1000, 2**30)


@pytest.mark.parametrize(
    "value",
    [
        [[] for _ in range(20_000)],
        [{} for _ in range(20_000)],
        [{"a": 1} for _ in range(20_000)],
        [f"{number}" for number in range(20_000)],
        [number + 0.5 for number in range(20_000)],
        [10**12 + number for number in range(20_000)],
        ["x" * 1000] * 500,
        ["ü" * 1000] * 500,
        ["本" * 1000] * 500,
        ["🦊" + "x" * 1000] * 500,
        {f"{number}": {"b": [number]} for number in range(20_000)},
    ],
)
def test_the_weight_is_no_less_than_what_is_taken(value):
    """As Python's own tracer counts the text and what is made of it; dicts have at most twice the room."""
    data = json.dumps(value, ensure_ascii=False).encode()
    tracemalloc.start()
    text = data.decode()
    made = parse_any_json(text)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert made == value
    assert taken <= 1.5 * weight([data])
    assert weight([data]) == weight([data[:7], data[7:]])


def test_a_table_has_a_size_and_rows_that_fit_the_memory(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text("a\n" * 1000)
    refuse_table(tmp_path / "t.csv")
    monkeypatch.setattr(documents, "TABLE_MEMORY", 500_000)
    with pytest.raises(ValueError, match="MiB of memory"):
        refuse_table(tmp_path / "t.csv")
    with (tmp_path / "t.csv").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(ValueError, match="more than 1,024 MiB"):
        refuse_table(tmp_path / "t.csv")
