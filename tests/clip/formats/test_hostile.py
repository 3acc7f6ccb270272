"""Files made to harm: each is refused in one line, nothing is run and no memory is filled."""

import builtins
import io
import json
import os
import pickle
import struct
import time
import tracemalloc
import warnings
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from forgetcheck.clip.formats.naming import drop_constants
from forgetcheck.clip.formats.pickled import Made, Name
from forgetcheck.clip.formats.pickled_weights import module_tensors
from forgetcheck.clip.model.read import read_weights
from forgetcheck.errors import InputError

pytestmark = pytest.mark.slow

ROOM = 2**24  # what reading a small file may take, its modules already imported


@pytest.fixture(autouse=True)
def nobody_is_called(guard):
    """Whatever is in a file: no process is started and no address is asked."""
    yield
    assert guard.started == []
    assert guard.network == []


def refused(path, *words):
    """Read and return the refusal, having watched what Python was asked to allocate."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            read_weights(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    size = sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size
    assert peak < ROOM + 2 * size
    text = str(caught.value)
    assert "\n" not in text
    assert "weights_only" not in text
    assert all(word in text for word in words), text
    return text


class Calling:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def write(how, content, path):
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("where", ["beside", "inside", "alone"])
@pytest.mark.parametrize("kind", ["system", "eval", "exec", "load", "import"])
def test_calls(tmp_path, monkeypatch, how, where, kind):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # must lift nothing
    canary, path, inner = tmp_path / "canary", tmp_path / "evil.pt", tmp_path / "inner.pt"
    write("pickle", Calling(os.system, f"touch {canary}"), inner)
    code = f"open({str(canary)!r}, 'w')"
    call = {
        "system": Calling(os.system, f"touch {canary}"),
        "eval": Calling(builtins.eval, code),
        "exec": Calling(builtins.exec, code),
        "load": Calling(torch.load, str(inner), None, None),
        "import": Calling(builtins.__import__, "this"),
    }[kind]
    weights = {"visual.proj": torch.ones(2)}
    content = {
        "alone": call,
        "inside": {**weights, "x": call},
        "beside": {"state_dict": weights, "args": call},
    }
    write(how, content[where], path)
    refused(path, "nothing was run")
    assert not canary.exists()


def test_a_call_in_the_bytes_of_a_storage(tmp_path):
    """A plain pickle keeps each storage as a file of torch.save of its own."""
    canary, path = tmp_path / "canary", tmp_path / "evil.pt"
    inner = io.BytesIO()
    torch.save(Calling(os.system, f"touch {canary}"), inner, _use_new_zipfile_serialization=False)
    storage = Calling(torch.storage._load_from_bytes, inner.getvalue())
    tensor = Calling(torch._utils._rebuild_tensor_v2, storage, 0, (1,), (1,), False, {})
    path.write_bytes(pickle.dumps({"a": tensor}))
    refused(path, "nothing was run")
    for _ in range(20):  # and a storage in a storage in a storage
        inner = pickle.dumps(storage)
        storage = Calling(torch.storage._load_from_bytes, inner)
        tensor = Calling(torch._utils._rebuild_tensor_v2, storage, 0, (1,), (1,), False, {})
    path.write_bytes(pickle.dumps({"a": tensor}))
    refused(path, "no readable")
    assert not canary.exists()


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (bytearray, (10**13,)),
        (torch.FloatTensor, (10**13,)),
        (torch.storage.UntypedStorage, (10**13,)),
        (range, (10**13,)),
        (str.__mul__, ("x", 10**13)),
    ],
)
@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_calls_that_would_fill_the_memory(tmp_path, function, arguments, how):
    write(how, {"a": Calling(function, *arguments)}, tmp_path / "bomb.pt")
    refused(tmp_path / "bomb.pt", "'a' is not a tensor")


BOMBS = {
    "nested lists": b"]" * 100_000 + b"a" * 99_999 + b".",
    "a memo of thousands of millions": b"]r\xff\xff\xff\xff.",
    "doubled tuples": b"N\x85q\x000" + b"h\x00h\x00\x86q\x000" * 100 + b"h\x00.",
    "doubled tuples as a name": b"N\x85q\x000" + b"h\x00h\x00\x86q\x000" * 100 + b"}h\x00Ns.",
    "doubled dictionaries": b"}q\x000"
    + b"}(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00uq\x000" * 60
    + b"h\x00.",
    "a text of four thousand million letters": b"X\xff\xff\xff\xff.",
    "a text longer than any": b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "a bytearray longer than any": b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "a number of a million digits": b"I" + b"9" * 1_000_000 + b"\n.",
    "a frame longer than any": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f].",
    "a list in itself": b"]q\x00h\x00a.",
    "a dictionary in itself": b"}q\x00X\x05\x00\x00\x00modelh\x00s.",
    "a module in itself": b"cx\ny\n)\x81q\x00}(X\x08\x00\x00\x00_modules}X\x01\x00\x00\x00ah\x00s"
    b"X\x0b\x00\x00\x00_parameters}ub.",
    "an endless readline": b"c" + b"a" * 3_000_000,
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("zipped", [False, True])
def test_bombs(tmp_path, name, zipped):
    path = tmp_path / "bomb.pt"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("bomb/data.pkl", BOMBS[name])
    else:
        path.write_bytes(BOMBS[name])
    refused(path, "bomb.pt")


def members(path, files, compression=zipfile.ZIP_STORED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in files:
            archive.writestr(name, content)
    return path


def parts_of(content):
    stored = io.BytesIO()
    torch.save(content, stored)
    with zipfile.ZipFile(stored) as archive:
        return [(item.filename, archive.read(item)) for item in archive.infolist()]


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../outside", "archive/../../outside", "archive\\..\\outside", "archive/data.pkl"]
)
def test_odd_member_names(tmp_path, name):
    """Absolute, climbing and double: nothing is ever unpacked, and such an archive is not torch's."""
    path = members(tmp_path / "w.pt", [*parts_of({"a": torch.ones(2)}), (name, b"x")])
    refused(path, "odd names")
    assert {file.name for file in tmp_path.iterdir()} == {"w.pt"}


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_bombs(tmp_path, compression):
    path = members(tmp_path / "w.pt", [("archive/data/0", bytes(2**22))], compression)
    refused(path, "compressed")


def test_an_archive_in_an_archive(tmp_path):
    inner = io.BytesIO()
    torch.save({"a": torch.ones(2)}, inner)
    refused(members(tmp_path / "w.pt", [("archive/data.pkl", inner.getvalue())]), "no readable")
    refused(members(tmp_path / "v.pt", [("a/data.pkl", b"N."), ("b/data.pkl", b"N.")]), "no readable")
    refused(members(tmp_path / "u.pt", [("a/b/data.pkl", b"N.")]), "no readable")


def test_overlapping_members(tmp_path):
    """Two directory entries with one content: many of them would make a small file large."""
    path = members(tmp_path / "w.pt", [("a/data/0", bytes(2**16)), ("a/data/1", b"")])
    content = path.read_bytes()
    first = content.index(b"PK\x01\x02")
    second = content.index(b"PK\x01\x02", first + 1)
    copied = bytearray(content)
    copied[second + 16 : second + 28] = content[first + 16 : first + 28]  # checksum and sizes
    copied[second + 42 : second + 46] = content[first + 42 : first + 46]  # place
    path.write_bytes(bytes(copied))
    refused(path, "overlap")


@pytest.mark.parametrize("claim", [2**62, 2**40, 2**63 + 5])
def test_a_safetensors_header_that_claims_terabytes(tmp_path, claim):
    header = json.dumps({"a": {"dtype": "F32", "shape": [claim // 4], "data_offsets": [0, claim]}}).encode()
    (tmp_path / "w.pt").write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    refused(tmp_path / "w.pt")
    (tmp_path / "w.pt").write_bytes(struct.pack("<Q", claim) + header)
    refused(tmp_path / "w.pt")


@pytest.mark.parametrize("size", [10**12, 2**61, 2**63])
@pytest.mark.parametrize("how", ["size", "stride", "offset", "length"])
def test_tensors_that_claim_terabytes(tmp_path, how, size):
    files = dict(parts_of({"a": torch.ones(3, 5)}))
    text = files["archive/data.pkl"]
    number = pickle.dumps(size, protocol=2)[2:-1]
    old = {"size": b"K\x03K\x05\x86", "stride": b"K\x05K\x01\x86", "offset": b"QK\x00", "length": b"K\x0ft"}[
        how
    ]
    new = {"size": number + b"K\x05\x86", "stride": number + b"K\x01\x86"}.get(how, old[:1] + number)
    new = number + b"t" if how == "length" else new
    assert text.count(old) == 1
    path = members(tmp_path / "w.pt", list({**files, "archive/data.pkl": text.replace(old, new)}.items()))
    refused(path)


def test_stride_zero_and_numbers_repeated(tmp_path):
    for shape in ((10**9,), (2**20, 2**20)):
        torch.save({"a": torch.zeros(1).expand(shape)}, tmp_path / "w.pt")
        refused(tmp_path / "w.pt", "'a' claims more data")


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"P", b"PK\x03\x04", b"{", b"\x80\x02", b"\x93NUMPY", b"GIF89a"]
)
def test_files_of_a_few_bytes(tmp_path, content):
    (tmp_path / "w.pt").write_bytes(content)
    refused(tmp_path / "w.pt")


@pytest.mark.parametrize(
    "text", ["these are not weights\n" * 100, "{}", '{"weight_map": 3}', "version https://git-lfs"]
)
def test_texts_named_pt(tmp_path, text):
    (tmp_path / "w.pt").write_text(text)
    refused(tmp_path / "w.pt")


@pytest.mark.parametrize("part", ["../w.safetensors", "/etc/passwd", "..", ".", "", "a\\b", "x\0y", 3])
def test_an_index_that_leaves_its_folder(tmp_path, part):
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": torch.ones(2)}, tmp_path / "w.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": part}}))
    refused(folder, "outside of its own folder")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"weight_map": {}}', "[]", "{", '{"weight_map": NaN}'])
def test_an_index_that_is_none(tmp_path, text):
    (tmp_path / "model.safetensors.index.json").write_text(text)
    refused(tmp_path)


def test_a_part_that_is_missing_or_lacks_a_tensor(tmp_path):
    index = {"a": "one.safetensors", "b": "two.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    save_file({"a": torch.ones(2)}, tmp_path / "one.safetensors")
    refused(tmp_path, "two.safetensors")
    save_file({"c": torch.ones(2)}, tmp_path / "two.safetensors")
    refused(tmp_path, "lacks 'b'")
    save_file({"b": torch.tensor([1.0, float("nan")])}, tmp_path / "two.safetensors")
    refused(tmp_path, "NaN or Inf in 'b'")


def test_a_name_that_would_write_to_the_terminal(tmp_path):
    save_file({"a\n\x1b[2J" + "x" * 500: torch.tensor([float("inf")])}, tmp_path / "w.pt")
    text = refused(tmp_path / "w.pt", "NaN or Inf")
    assert "\x1b" not in text
    assert len(text) < 500


def test_a_storage_of_another_length_than_said(tmp_path):
    files = dict(parts_of({"a": torch.ones(4)}))
    for content in (b"", bytes(8)):
        path = members(tmp_path / "w.pt", list({**files, "archive/data/0": content}.items()))
        refused(path, "claims more data")
    del files["archive/data/0"]
    refused(members(tmp_path / "w.pt", list(files.items())), "no readable")


def test_another_byte_order(tmp_path):
    files = dict(parts_of({"a": torch.ones(4)}))
    path = members(tmp_path / "w.pt", list({**files, "archive/byteorder": b"big"}.items()))
    refused(path, "big-endian")


@pytest.mark.parametrize("how", ["zip", "legacy"])
def test_very_many_names_for_one_storage(tmp_path, how):
    shared = torch.ones(2**16)
    write(how, {f"name {number}": shared.view(256, 256) for number in range(300)}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "claims more data")


def test_what_zipfile_quotes_of_the_file_is_cut(tmp_path):
    """The name in a member's own header may be as long as the file."""
    path = members(tmp_path / "w.pt", parts_of({"a": torch.ones(2000)}))
    content = bytearray(path.read_bytes())
    content[26:28] = (5000).to_bytes(2, "little")
    path.write_bytes(bytes(content))
    assert len(refused(path, "damaged")) < 500


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value


TENSORS = b"ctorch._utils\n_rebuild_tensor_v2\n)Rq\x000}(" + b"".join(
    text(b"%d" % number) + b"h\x00" for number in range(5000)
)
MODULE = {"pickle": b"cx\ny\n)\x81}(", "script": b"c__torch__.x\ny\n)\x81}("}


def test_few_modules_that_spell_millions_of_names(tmp_path):
    """Thousands of modules may share the dictionary of thousands of tensors."""
    inner = MODULE["pickle"] + text(b"_parameters") + b"h\x01" + text(b"_modules") + b"}ubq\x020"
    inside = b"}(" + b"".join(text(b"m%d" % number) + b"h\x02" for number in range(5000)) + b"u"
    outer = MODULE["pickle"] + text(b"_parameters") + b"}" + text(b"_modules") + inside + b"ub."
    (tmp_path / "w.pt").write_bytes(TENSORS + b"uq\x010" + inner + outer)
    refused(tmp_path / "w.pt", "no readable")


def test_a_script_that_spells_millions_of_names(tmp_path):
    start = TENSORS.replace(b"}(", MODULE["script"], 1) + b"ubq\x020"
    many = b"".join(text(b"m%d" % number) + b"h\x02" for number in range(5000))
    members(tmp_path / "w.pt", [("w/data.pkl", start + MODULE["script"] + many + b"ub.")])
    refused(tmp_path / "w.pt", "no readable")


def test_very_many_passing_buffers_are_looked_through_once():
    buffers = {f"b{number}": Made(Name("torch._utils._rebuild_tensor_v2"), ()) for number in range(20_000)}
    passing = [f"a{number}" for number in range(50_000)]
    state = {"_parameters": {}, "_modules": {}, "_buffers": buffers, "_non_persistent_buffers_set": passing}
    start = time.process_time()
    assert len(module_tensors(Made(Name("x.Y"), (), state))[0]) == len(buffers)
    assert time.process_time() - start < 3  # twenty seconds, if the list were searched for each


def test_very_many_masks_take_no_longer_than_many_weights():
    names = {f"{number}.attn_mask": torch.empty(0) for number in range(50_000)}
    start = time.process_time()
    assert drop_constants(names)[0] == {}
    assert time.process_time() - start < 5  # thirty seconds, if each were looked up among all


def test_a_long_list_of_members(tmp_path):
    """zipfile would make an object of each before anybody can look at how many they are."""
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<HHH", 6, 0, 0) + bytes(12)
    entries = b"".join(entry + b"%06d" % number for number in range(400_000))
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, len(entries), 30, 0)
    (tmp_path / "w.pt").write_bytes(b"PK\x03\x04" + bytes(26) + entries + end)
    refused(tmp_path / "w.pt", "too long")


def test_a_pickle_larger_than_any(tmp_path):
    content = b"\x8e" + struct.pack("<Q", 5 * 10**7) + bytes(5 * 10**7)
    refused(members(tmp_path / "w.pt", [("w/data.pkl", content)]), "far more than weights")


def test_a_safetensors_header_of_very_many_names(tmp_path):
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({str(number): entry for number in range(150_000)}).encode()
    (tmp_path / "w.pt").write_bytes(struct.pack("<Q", len(header)) + header)
    refused(tmp_path / "w.pt", "header")


def test_an_index_larger_than_any(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "b"}' + " " * 2**23 + "}")
    refused(tmp_path, "too large")


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000 + "w.pt"])
def test_names_that_no_disk_takes(tmp_path, name):
    with pytest.raises(InputError, match="too long"):
        read_weights(tmp_path / name)


@pytest.mark.parametrize("kind", [[], {}, 3, "\x1b[2J" + "x" * 10_000])
def test_a_folder_whose_config_names_an_odd_model(tmp_path, kind):
    save_file({"vision_model.x": torch.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    found = refused(tmp_path, "of transformers")
    assert "\x1b" not in found
    assert len(found) < 500


def test_a_config_that_is_a_pipe(tmp_path):
    save_file({"vision_model.x": torch.ones(2)}, tmp_path / "model.safetensors")
    os.mkfifo(tmp_path / "config.json")
    refused(tmp_path, "not a file")
