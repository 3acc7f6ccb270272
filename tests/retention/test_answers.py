"""An audit on disk: back bit for bit, or one line that says what is wrong with it."""

import errno
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted import full_audit, make_answers
from safetensors.numpy import load_file, save_file

from forgetcheck.errors import InputError
from forgetcheck.retention import answers as module
from forgetcheck.retention.answers import (
    ARRAYS,
    MANIFEST,
    Audit,
    SkippedQuestion,
    content_key,
    read_audit,
    to_go_on,
    write_audit,
)
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import make_report


@pytest.fixture
def audit(answers):
    """Two questions of two checkpoints to the same base, with names a person may well choose."""
    first = answers({"café": (3, 1, 0, 2), "": (4, 0, 1, 0)}, checkpoint="Straße/1", warnings=("few",))
    tied, guess = np.arange(11, dtype=np.int32) // 2, np.array([0.25, 0.5, 0.0])
    first = replace(first, groups=tied, chance=guess)
    second = replace(first, checkpoint="b", tuned=first.base, identical=True, target=True, warnings=())
    second = replace(second, groups=None, chance=None)
    return Audit((first, second), {"device": "cpu", "nested": {"digest": ["a", None, 0.1]}})


@pytest.fixture
def folder(tmp_path, audit):
    write_audit(tmp_path / "audit", audit)
    return tmp_path / "audit"


def same_array(one, other):
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def same_said(one, other):
    arrays = same_array(one.label, other.label) and same_array(one.confidence, other.confidence)
    return arrays and one.notes == other.notes


def rest(item):
    return replace(item, labels=None, base=None, tuned=None, groups=None, chance=None)


def assert_same(found, expected):
    assert found.provenance == expected.provenance
    for here, there in zip(found.answers, expected.answers, strict=True):
        assert rest(here) == rest(there)
        assert same_array(here.labels, there.labels)
        for one, other in ((here.groups, there.groups), (here.chance, there.chance)):
            assert (one is None and other is None) or same_array(one, other)
        assert same_said(here.base, there.base)
        assert same_said(here.tuned, there.tuned)


def refused(folder, *words):
    with pytest.raises(InputError) as caught:
        read_audit(folder)
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in (str(folder), *words)), text


def edit(folder, **changes):
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def test_an_audit_comes_back_bit_for_bit(folder, audit):
    assert_same(read_audit(folder), audit)


def test_odd_floats_survive(tmp_path, audit):
    first = audit.answers[0]
    odd = np.zeros(len(first.labels), np.float32)
    odd[:4] = 1.0, -0.0, np.float32(1e-45), 0.1
    strange = replace(audit, answers=(replace(first, base=replace(first.base, confidence=odd)),))
    write_audit(tmp_path / "audit", strange)
    assert_same(read_audit(tmp_path / "audit"), strange)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.5])
def test_a_confidence_that_is_none_is_refused(tmp_path, audit, value):
    first = audit.answers[0]
    odd = np.full(len(first.labels), value, np.float32)
    strange = replace(first, base=replace(first.base, confidence=odd))
    write_audit(tmp_path / "a", replace(audit, answers=(strange,)))
    with pytest.raises(InputError, match="damaged"):
        read_audit(tmp_path / "a")


@pytest.mark.parametrize(
    "odd",
    [
        {"groups": np.zeros(10, np.int32)},
        {"groups": np.zeros(11, np.float32)},
        {"chance": np.zeros(2)},
        {"chance": np.array([0.1, 0.2, 1.1])},
        {"chance": np.array([0.1, 0.2, np.nan])},
        {"chance": np.array([0, 0, 1])},
    ],
)
def test_clusters_and_chances_that_do_not_fit_are_refused(tmp_path, audit, odd):
    write_audit(tmp_path / "a", replace(audit, answers=(replace(audit.answers[0], **odd),)))
    with pytest.raises(InputError, match="damaged"):
        read_audit(tmp_path / "a")


def test_a_file_name_that_is_not_utf8_survives(tmp_path, audit):
    name = b"caf\xe9".decode(errors="surrogateescape")  # as Python reads it from the file system
    strange = replace(audit, answers=(replace(audit.answers[0], checkpoint=name),))
    write_audit(tmp_path / "audit", strange)
    assert_same(read_audit(tmp_path / "audit"), strange)


def test_only_the_two_files_are_left(folder):
    assert sorted(path.name for path in folder.parent.rglob("*")) == [ARRAYS, "audit", MANIFEST]


def test_equal_arrays_are_stored_once_under_their_content(folder):
    arrays = load_file(folder / ARRAYS)
    assert len(arrays) == 7  # labels, groups, chance, and label and confidence of base and of one tuned model
    assert all(content_key(array) == key for key, array in arrays.items())


def test_content_keys_tell_apart_type_shape_and_values():
    arrays = [
        np.zeros(4, np.int32),
        np.zeros(4, np.float32),
        np.zeros((2, 2), np.int32),
        np.zeros(2, np.int64),
    ]
    assert len({content_key(array) for array in [*arrays, np.ones(4, np.int32)]}) == 5
    assert content_key(np.arange(8)[::2]) == content_key(np.array([0, 2, 4, 6]))


def test_the_manifest_says_what_it_is(folder):
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["schema"] == "forgetcheck/audit@2"
    assert manifest["complete"] is True


def test_writing_twice_gives_the_same_bytes(folder, audit, tmp_path):
    write_audit(tmp_path / "again", audit)
    for name in (MANIFEST, ARRAYS):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_no_folder(tmp_path):
    refused(tmp_path / "absent", "no audit", "forgetcheck audit")


def test_a_folder_without_its_manifest(folder):
    (folder / MANIFEST).unlink()
    refused(folder, "not a complete audit", MANIFEST)


def test_a_file_in_place_of_the_folder(folder):
    refused(folder / ARRAYS, "not a complete audit")


def test_a_folder_without_its_arrays(folder):
    (folder / ARRAYS).unlink()
    refused(folder, "incomplete", ARRAYS)


@pytest.mark.parametrize("schema", ["forgetcheck/audit@3", None, 1])
def test_another_schema(folder, schema):
    edit(folder, schema=schema)
    refused(folder, repr(schema), "forgetcheck/audit@2")


@pytest.mark.parametrize("complete", [False, None, "yes", 1])
def test_not_marked_complete(folder, complete):
    edit(folder, complete=complete)
    refused(folder, "incomplete")


@pytest.fixture
def part(tmp_path, audit):
    """The folder of an audit that was stopped before its last questions."""
    why = "the audit was stopped before it was asked (SIGTERM)"
    left = tuple(SkippedQuestion(name, "later", "zero-shot", why, "stopped") for name in ("Straße/1", "b"))
    write_audit(tmp_path / "part", replace(audit, unasked=left, stopped="SIGTERM"))
    return tmp_path / "part"


def test_an_audit_that_was_stopped_says_so(part, audit):
    manifest = json.loads((part / MANIFEST).read_text(encoding="utf-8"))
    assert (manifest["complete"], manifest["stopped"]) == (False, "SIGTERM")
    found = read_audit(part)
    assert_same(found, audit)
    assert found.stopped == "SIGTERM"
    ignoring = Policy.model_validate({"concepts": [{"match": "later", "ignore": True}]})
    for policy in (Policy(), ignoring):
        report = make_report(found, policy, gated=False)
        assert (
            report.remarks[0] == "This audit isn't complete: it was stopped (SIGTERM) after 2 of 4 questions"
        )
        assert [item.task for item in report.missing] == ["later", "later"]


@pytest.mark.parametrize("stopped", ["", None, 3, ["SIGTERM"]])
def test_an_audit_that_does_not_say_what_stopped_it_is_damaged(part, stopped):
    edit(part, stopped=stopped)
    refused(part, "incomplete")
    assert not to_go_on(part)


def test_an_audit_that_was_stopped_and_changed_since_is_refused(part):
    edit(part, complete=True, stopped="")
    refused(part, "was changed after the audit")


def test_only_an_audit_that_was_stopped_makes_room(folder, part, tmp_path):
    assert to_go_on(part)
    assert not to_go_on(folder)
    assert not to_go_on(tmp_path / "absent")
    (part / "mine.txt").write_text("")
    assert not to_go_on(part)


def test_no_questions(folder):
    edit(folder, questions=[])
    refused(folder, "nothing was measured")


@pytest.mark.parametrize("questions", [None, 3, [3], ["x"], [{}], [{"checkpoint": "a"}]])
def test_questions_of_another_shape(folder, questions):
    edit(folder, questions=questions)
    refused(folder, "incomplete")


@pytest.mark.parametrize("text", [b"", b"[]", b"3", b"{", b'{"schema": "caf\xe9"}'])
def test_a_manifest_that_is_not_one(folder, text):
    (folder / MANIFEST).write_bytes(text)
    refused(folder)


def test_an_array_that_is_missing(folder):
    arrays = load_file(folder / ARRAYS)
    key, *_ = arrays
    save_file({name: array for name, array in arrays.items() if name != key}, folder / ARRAYS)
    refused(folder, key)


def test_truncated_arrays(folder):
    whole = (folder / ARRAYS).read_bytes()
    for length in range(0, len(whole), 7):
        (folder / ARRAYS).write_bytes(whole[:length])
        refused(folder, ARRAYS)


def read_damaged(folder, name, place):
    """Flip one bit of a file, read, and mend it; None if the damage was found out."""
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    try:
        return read_audit(folder)
    except InputError:
        return None
    finally:
        (folder / name).write_bytes(whole)


def test_one_flipped_bit_in_the_arrays(folder, audit):
    """It is found out, or it changed nothing that is read (white space in the header)."""
    size = (folder / ARRAYS).stat().st_size
    reads = [read_damaged(folder, ARRAYS, place) for place in range(0, size, 3)]
    silent = [found for found in reads if found is not None]
    assert len(silent) < 0.05 * len(reads)
    for found in silent:
        assert_same(found, audit)


def test_one_flipped_bit_in_the_manifest_never_crashes(folder):
    size = (folder / MANIFEST).stat().st_size
    reads = [read_damaged(folder, MANIFEST, place) for place in range(0, size, 5)]
    assert None in reads


def failing(problem):
    def save(arrays, path):
        path.write_bytes(b"half")
        raise problem

    return save


def test_a_full_disk_leaves_nothing_behind(tmp_path, audit, monkeypatch):
    monkeypatch.setattr(module, "save_file", failing(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(InputError, match="the disk is full") as caught:
        write_audit(tmp_path / "audit", audit)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing_behind(tmp_path, audit, monkeypatch):
    monkeypatch.setattr(module, "save_file", failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        write_audit(tmp_path / "audit", audit)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("problem", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_failed_overwrite_keeps_the_old_audit(folder, audit, monkeypatch, problem):
    monkeypatch.setattr(module, "save_file", failing(problem))
    with pytest.raises((InputError, KeyboardInterrupt)):
        write_audit(folder, Audit(audit.answers[:1], {}), overwrite=True)
    assert_same(read_audit(folder), audit)
    assert [path.name for path in folder.parent.iterdir()] == ["audit"]


def test_an_audit_is_not_overwritten_unasked(folder, audit):
    with pytest.raises(InputError, match="--overwrite"):
        write_audit(folder, audit)
    write_audit(folder, replace(audit, provenance={"second": True}), overwrite=True)
    assert read_audit(folder).provenance == {"second": True}


def test_what_json_cannot_hold_is_our_own_mistake_and_leaves_nothing(tmp_path, audit):
    with pytest.raises(ValueError, match="JSON"):
        write_audit(tmp_path / "audit", replace(audit, provenance={"loss": float("nan")}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", ["shorter", "unknown class", "negative class"])
def test_answers_that_do_not_fit_each_other_are_refused(tmp_path, answers, change):
    item = answers({"a": (3, 1, 0, 0), "b": (3, 0, 1, 0)})
    label = item.tuned.label
    label = (
        label[:-1] if change == "shorter" else np.where(label == 0, 2 if "unknown" in change else -1, label)
    )
    broken = replace(item, tuned=replace(item.tuned, label=label.astype(np.int32)))
    write_audit(tmp_path / "a", Audit((broken,), {}))
    with pytest.raises(InputError, match="damaged at shape / zero-shot"):
        read_audit(tmp_path / "a")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("checkpoint", odd) for odd in (None, 3, [], {})),
        *(("class_names", odd) for odd in ("abcd", None, [1, 2], {"a": 1})),
        *(("identical", odd) for odd in (None, "no", 1)),
        *(("warnings", odd) for odd in ("abc", [1], None)),
        *(("labels", odd) for odd in (None, [], {})),
        *(("tuned", odd) for odd in (None, "x", [], {"label": 3})),
    ],
)
def test_a_question_with_values_of_another_type(folder, key, value):
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["questions"][0][key] = value
    (folder / MANIFEST).write_text(json.dumps(manifest))
    refused(folder, f"damaged at questions.0.{key}")


@pytest.mark.parametrize("provenance", [None, 3, "x", ["x"]])
def test_a_provenance_of_another_type(folder, provenance):
    edit(folder, provenance=provenance)
    refused(folder, "damaged at provenance")


def test_numbers_that_json_does_not_know(folder):
    edit(folder, provenance={"a": float("nan")})
    refused(folder, "NaN")


def test_a_question_that_is_asked_twice(folder):
    questions = json.loads((folder / MANIFEST).read_text())["questions"]
    edit(folder, questions=[*questions, questions[0]])
    refused(folder, "damaged at")


@pytest.mark.parametrize("kind", [np.float32, np.bool_, np.uint8])
def test_labels_that_are_no_whole_numbers(tmp_path, audit, kind):
    first = audit.answers[0]
    write_audit(tmp_path / "odd", replace(audit, answers=(replace(first, labels=first.labels.astype(kind)),)))
    refused(tmp_path / "odd", "damaged at")


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3"])
def test_arrays_that_numpy_does_not_know(folder, dtype):
    head = json.dumps({"a": {"dtype": dtype, "shape": [0], "data_offsets": [0, 0]}}).encode()
    (folder / ARRAYS).write_bytes(len(head).to_bytes(8, "little") + head)
    refused(folder)


def test_a_gallery_and_what_was_not_asked_are_read_back(tmp_path):
    audit = full_audit()
    write_audit(tmp_path / "a", audit)
    found = read_audit(tmp_path / "a")
    assert (found.gallery, found.unasked) == (audit.gallery, audit.unasked)
    assert len(list((tmp_path / "a" / "gallery").iterdir())) == 2


@pytest.mark.parametrize("name", ["\\u0000", "\\ud800", ".."])
def test_a_picture_by_a_name_no_file_has_is_refused(tmp_path, name):
    write_audit(tmp_path / "a", full_audit())
    manifest = tmp_path / "a" / "audit.json"
    named = next((tmp_path / "a" / "gallery").iterdir()).name
    manifest.write_text(manifest.read_text().replace(named, name))
    with pytest.raises(InputError, match="gallery"):
        read_audit(tmp_path / "a")


def test_equal_weights_that_answer_differently_are_no_evidence(tmp_path):
    write_audit(
        tmp_path / "a", Audit((make_answers({"a": (5, 5, 0, 0), "b": (5, 0, 0, 0)}, identical=True),), {})
    )
    with pytest.raises(InputError, match="damaged"):
        read_audit(tmp_path / "a")


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\nother"),
                                  lambda path: path.write_bytes(b"<svg/>")])  # fmt: skip
def test_a_picture_that_is_gone_or_another_is_found_out(tmp_path, harm):
    write_audit(tmp_path / "a", full_audit())
    harm(next((tmp_path / "a" / "gallery").iterdir()))
    with pytest.raises(InputError, match="gallery"):
        read_audit(tmp_path / "a")


@pytest.mark.parametrize("name", ["audit.json", "answers.safetensors", ".png"])
def test_what_may_not_be_read_is_not_called_missing(tmp_path, forbid, name):
    write_audit(tmp_path / "a", full_audit())
    forbid(name)
    refused(tmp_path / "a", "cannot read", f"{name}': Permission denied; ")


def test_a_picture_is_never_read_from_elsewhere(tmp_path):
    write_audit(tmp_path / "a", full_audit())
    manifest = tmp_path / "a" / "audit.json"
    named = next((tmp_path / "a" / "gallery").iterdir()).name
    manifest.write_text(manifest.read_text().replace(named, f"../../{named}"))
    (tmp_path / named).write_bytes((tmp_path / "a" / "gallery" / named).read_bytes())
    with pytest.raises(InputError, match="gallery"):
        read_audit(tmp_path / "a")


def test_only_pictures_are_kept(tmp_path):
    odd = replace(full_audit(), gallery=(replace(full_audit().gallery[0], image=b"<svg/>"),))
    with pytest.raises(KeyError):
        write_audit(tmp_path / "a", odd)
    assert not (tmp_path / "a").exists()


def test_an_audit_of_before_there_were_galleries_is_read(tmp_path):
    write_audit(tmp_path / "a", full_audit())
    manifest = tmp_path / "a" / "audit.json"
    record = json.loads(manifest.read_text())
    del record["gallery"], record["unasked"], record["digest"]
    manifest.write_text(json.dumps(record))
    assert read_audit(tmp_path / "a").gallery == ()


def changed(folder, old, new):
    path = folder / MANIFEST
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_digest_is_what_was_written_and_is_read_back(tmp_path):
    digest = write_audit(tmp_path / "a", full_audit())
    assert read_audit(tmp_path / "a").digest == digest
    assert json.loads((tmp_path / "a" / MANIFEST).read_text())["digest"] == digest
    assert not read_audit(tmp_path / "a").unsealed
    other = replace(full_audit(), provenance={})
    assert write_audit(tmp_path / "b", other) != digest


def test_the_digest_is_over_manifest_arrays_and_pictures(tmp_path):
    """Computed here by hand, from the files alone."""
    digest = write_audit(tmp_path / "a", full_audit())
    manifest = (tmp_path / "a" / MANIFEST).read_bytes()
    whole = hashlib.sha256(manifest.replace(digest[7:].encode(), b"0" * 64))
    for key, array in sorted(load_file(tmp_path / "a" / ARRAYS).items()):
        head = f"{array.dtype}{array.shape}".encode()
        whole.update(key.encode() + hashlib.sha256(head + array.tobytes()).digest())
    pictures = sorted(path.read_bytes() for path in (tmp_path / "a" / "gallery").iterdir())
    for picture in pictures:
        whole.update(hashlib.sha256(picture).digest())
    assert digest == f"sha256:{whole.hexdigest()}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"target": true', '"target": false'),
        ('"identical": false', '"identical": true'),
        ('"naive"', '"tuned"'),
        ('"circle"', '"square"'),
        ('"warnings": [', '"warnings": ["x" '),
        ('"device": "cpu"', '"device": "cuda"'),
        ('"why": "', '"why": "not '),
        ('"said": "star"', '"said": "disc"'),
        ('"complete"', ' "complete"'),
        ('"schema"', '"digest": "sha256:' + "0" * 64 + '", "schema"'),
    ],
)
def test_a_changed_manifest_is_refused_by_name(tmp_path, old, new):
    folder = tmp_path / "a"
    write_audit(folder, full_audit())
    if old == '"warnings": [':
        new = new if f"{old}]" not in (folder / MANIFEST).read_text() else '"warnings": ["x"'
    if old == '"identical": false':  # of a question whose answers are the same, or it is damage
        full = full_audit()
        same = replace(full.answers[-2], identical=False)
        write_audit(folder, replace(full, answers=(same,), gallery=(), unasked=()), overwrite=True)
    changed(folder, old, new)
    refused(folder, f"'{folder / MANIFEST}' was changed after the audit", "sha256:")


def test_a_question_that_is_left_out_is_missed(folder):
    edit(folder, questions=json.loads((folder / MANIFEST).read_text())["questions"][:1])
    refused(folder, f"'{folder / MANIFEST}' was changed")


@pytest.mark.parametrize("digest", [None, "", 3, "sha256:", [], "x" * 10_000])
def test_a_digest_that_is_none_is_another(folder, digest):
    edit(folder, digest=digest)
    refused(folder, f"'{folder / MANIFEST}' was changed")
    with pytest.raises(InputError) as caught:
        read_audit(folder)
    assert len(str(caught.value)) < 1000


def test_one_flipped_bit_in_the_manifest_is_never_silent(folder):
    size = (folder / MANIFEST).stat().st_size
    reads = [read_damaged(folder, MANIFEST, place) for place in range(0, size, 7)]
    assert all(found is None or found.unsealed for found in reads)  # the name of the digest may be hit
    assert sum(found is not None for found in reads) <= 1


def test_a_folder_of_an_earlier_version_is_read_and_says_so(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["digest"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    found = read_audit(folder)
    assert found.digest == ""
    assert found.unsealed
    assert any("carries no digest" in remark for remark in make_report(found, Policy()).remarks)


def test_what_is_too_large_is_refused_before_it_is_read(folder, monkeypatch):
    with (folder / MANIFEST).open("r+b") as file:
        file.truncate(3 * 2**30)  # sparse: no disk
    refused(folder, "audit.json", "more than 128 MiB")


def test_a_manifest_of_too_many_values_is_refused_before_any_is_made(folder):
    (folder / MANIFEST).write_bytes(b'{"a": [' + b"[]," * 6_000_000 + b"1]}")
    refused(folder, "audit.json", "MiB of memory")


def test_arrays_and_pictures_have_a_limit(tmp_path, monkeypatch):
    write_audit(tmp_path / "a", full_audit())
    with (tmp_path / "a" / ARRAYS).open("r+b") as file:
        file.truncate(5 * 2**30)
    refused(tmp_path / "a", ARRAYS, "more than 4,096 MiB")
    write_audit(tmp_path / "b", full_audit())
    with next((tmp_path / "b" / "gallery").iterdir()).open("r+b") as file:
        file.truncate(2**31)
    refused(tmp_path / "b", "gallery")
