"""The inert pickle machine: what plain containers say, and nothing that they could do."""

import collections
import io
import pickle
import pickletools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetcheck.clip.formats import pickled
from forgetcheck.clip.formats.pickled import Forbidden, Made, Name, read_pickle

ATOMS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
TREES = st.recursive(
    ATOMS, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner)
)


def read(content: bytes):
    return read_pickle(io.BytesIO(content), len(content)).root


@given(value=TREES, protocol=st.sampled_from([2, 3, 4, 5]))
def test_plain_containers_come_out_as_they_went_in(value, protocol):
    found = read(pickle.dumps(value, protocol=protocol))
    if protocol > 2:  # protocol 2 has no bytes: it calls _codecs.encode
        assert found == value


@given(value=st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_the_oldest_protocols(value):
    assert all(read(pickle.dumps(value, protocol=protocol)) == value for protocol in (0, 1))


def test_every_opcode_is_known_or_refused():
    """A new opcode of Python would be refused, not skipped."""
    known = {one.name for one in pickletools.opcodes}
    assert {"EXT1", "NEXT_BUFFER", "READONLY_BUFFER"} <= known
    for content in (b"\x82\x01.", b"\x97.", b"N\x98."):
        with pytest.raises(ValueError, match="opcode"):
            read(content)


def test_an_ordered_dictionary_and_a_set():
    assert read(pickle.dumps(collections.OrderedDict(a=1, b=2))) == {"a": 1, "b": 2}
    assert read(pickle.dumps({"a"})) == ["a"]


class Thing:
    def __init__(self):
        self.value = 3


def test_an_object_is_a_name_and_a_state():
    found = read(pickle.dumps(Thing()))
    assert isinstance(found, Made)
    assert isinstance(found.maker, Name)
    assert found.maker.path.endswith("Thing")
    assert found.state == {"value": 3}


@pytest.mark.parametrize("module", ["os", "posix", "nt", "subprocess", "sys", "builtins", "__builtin__"])
def test_calls_that_no_checkpoint_makes(module):
    with pytest.raises(Forbidden, match="eval" if "builtin" in module else module):
        read(f"c{module}\neval\n(S'1'\ntR.".encode())


@pytest.mark.parametrize("path", ["torch.load", "torch.jit.load", "torch.hub.load", "runpy._run_code"])
@pytest.mark.parametrize("how", ["{c}c{n}\n(tR.", "(i{c}{n}\n.", "(c{c}{n}\no.", "c{c}{n}\n)\x81."])
def test_each_way_of_calling(path, how):
    module, _, name = path.rpartition(".")
    how = how.replace("{c}c{n}", "c{c}{n}")
    with pytest.raises(Forbidden):
        read(how.format(c=f"{module}\n", n=name).encode("latin-1"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"]",
        b"0.",
        b"t.",
        b"h\x05.",
        b"R.",
        b"\x8d" + b"\xff" * 7 + b"\x7f.",  # a text of 2**62 bytes
        b"\x96" + b"\xff" * 7 + b"\x7f.",
        b"B\xff\xff\xff\xff.",
        b"NNs.",
        b"]Na.Na",
    ],
)
def test_damaged_pickles_raise_what_a_reader_expects(content):
    try:
        read(content)
    except (ValueError, LookupError, TypeError):
        return
    assert content.startswith(b"]N")  # what follows the end belongs to another pickle


def test_a_memo_of_four_thousand_million_entries():
    """The C unpickler makes room for all of them."""
    assert read(b"]r\xff\xff\xff\xff.") == []


def test_too_many_opcodes(monkeypatch):
    assert pickled.MAX_STEPS < 10**6  # some two seconds, and as many empty lists as fit 50 MB
    monkeypatch.setattr(pickled, "MAX_STEPS", 100)
    assert read(b"]" * 100 + b".") == []
    with pytest.raises(ValueError, match="too many"):
        read(b"]" * 101 + b".")


def test_keys_that_would_take_for_ever_to_hash():
    """A tuple of twice itself, sixty times over, as the key of a dictionary."""
    assert read(b"N\x85q\x000" + b"h\x00h\x00\x86q\x000" * 60 + b"}h\x00Ns.") == {}


def test_nesting_needs_no_recursion():
    found = read(b"]" * 50_000 + b"a" * 49_999 + b".")
    assert isinstance(found, list)


def test_pairs_that_are_handed_over_again_and_again():
    """An old dictionary is called with a list of pairs, which a few bytes can repeat."""
    start = b"NN\x86q\x000](" + b"h\x00" * 50_000 + b"eq\x010ccollections\nOrderedDict\nq\x020"
    assert read(start + b"h\x02h\x01\x85R.") == {None: None}
    with pytest.raises(ValueError, match="too many pairs"):
        read(start + b"h\x02h\x01\x85R0" * 50 + b"N.")


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_set_of_any_protocol(protocol):
    assert sorted(read(pickle.dumps({"a", "b"}, protocol=protocol))) == ["a", "b"]
    assert read(pickle.dumps(frozenset(), protocol=protocol)) == []


def test_texts_take_more_memory_than_bytes(monkeypatch):
    """One wide letter makes all others of a text four bytes wide; storages are bytes and have no bound."""
    assert pickled.MAX_TEXT * 5 <= 200_000_000
    monkeypatch.setattr(pickled, "MAX_TEXT", 10_000)
    assert len(read(pickle.dumps(bytes(50_000)))) == len(read(pickle.dumps(bytearray(50_000), 5))) == 50_000
    for content in ("a" * 50_000, ["a" * 400] * 2 + [str(n) * 400 for n in range(25)], 256**50_000):
        with pytest.raises(ValueError, match="too much text"):
            read(pickle.dumps(content))
    with pytest.raises(ValueError, match="too much text"):
        read(b"]" + b"S'aaaaaaaaaaaaaaaaaaa'\na" * 1000 + b".")


def test_an_odd_escape_in_a_text_is_no_warning():
    assert read(b"S'a\\q'\n.") == "a\\q"
