"""Pins: what is judged must be what was approved, or nothing is judged."""

import hashlib
import json
from dataclasses import replace

import pytest
from planted import full_audit, make_answers

from forgetcheck.errors import InputError
from forgetcheck.exporters.html import Html
from forgetcheck.retention.answers import Audit, read_audit, write_audit
from forgetcheck.retention.pins import found_pins, refuse_unpinned
from forgetcheck.retention.policy import Pins, Policy, read_policy
from forgetcheck.retention.report import as_record, make_report
from forgetcheck.testing import assert_retained

OTHER = "sha256:" + "0" * 64
GOOD = {"cat": (500, 0, 0, 0), "dog": (500, 0, 0, 0)}
PROVENANCE = {
    "base": {"name": "b", "digest": {"visual": "aa", "text": "bb"}},
    "tuned": {"tuned": {"digest": {"visual": "cc", "text": "bb"}}},
    "battery": {
        "name": "x",
        "tasks": {
            "shape": {"class_names": ["cat", "dog"], "templates": ["a {}"], "options": {"path": "/here"}}
        },
        "data": {"shape": "dd"},
    },
}


def canonical(value):
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def audit(tmp_path):
    write_audit(tmp_path / "a", Audit((make_answers(GOOD),), PROVENANCE))
    return read_audit(tmp_path / "a")


def pins_of(audit):
    return {name: digests[0] for name, digests in found_pins(audit).items()}


def test_the_digests_are_those_that_the_audit_records(audit):
    assert pins_of(audit) == {
        "base": canonical({"visual": "aa", "text": "bb"}),
        "tuned": canonical({"visual": "cc", "text": "bb"}),
        "battery": canonical({"shape": ["dd", ["cat", "dog"], ["a {}"]]}),
        "audit": audit.digest,
    }


def test_what_was_approved_is_judged(audit):
    policy = Policy(pins=pins_of(audit))
    assert make_report(audit, policy).passed
    several = Pins.model_validate({"tuned": [OTHER, pins_of(audit)["tuned"]]})
    refuse_unpinned(audit, several)


@pytest.mark.parametrize("name", ["base", "tuned", "battery", "audit"])
def test_another_is_refused_with_both_digests(audit, name):
    with pytest.raises(InputError) as caught:
        make_report(audit, Policy(pins={name: OTHER}))
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in (f"policy.pins.{name}", OTHER, pins_of(audit)[name]))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("base", {"base": {"digest": {"visual": "aX", "text": "bb"}}}),
        ("base", {"base": {}}),
        ("tuned", {"tuned": {**PROVENANCE["tuned"], "more": {"digest": {"visual": "xx"}}}}),
        ("tuned", {"tuned": {**PROVENANCE["tuned"], "more": {}}}),
        ("tuned", {"tuned": {}}),
        ("battery", {"battery": {**PROVENANCE["battery"], "data": {"shape": "de"}}}),
        ("battery", {"battery": {**PROVENANCE["battery"], "data": {"shape": None}}}),
        ("battery", {"battery": {"name": "x"}}),
        ("battery", {"battery": {**PROVENANCE["battery"], "tasks": {
            "shape": {"class_names": ["dog", "cat"], "templates": ["a {}"]}}}}),
        ("audit", {"device": "cuda"}),
    ],
)  # fmt: skip
def test_whatever_changed_is_found_out(audit, tmp_path, name, change):
    write_audit(tmp_path / "b", replace(audit, provenance={**audit.provenance, **change}))
    with pytest.raises(InputError, match=rf"policy\.pins\.{name}: the policy demands sha256:"):
        make_report(read_audit(tmp_path / "b"), Policy(pins={name: pins_of(audit)[name]}))


def test_where_data_lies_is_no_part_of_it(audit):
    moved = json.loads(json.dumps(PROVENANCE).replace("/here", "/there"))
    assert pins_of(replace(audit, provenance=moved))["battery"] == pins_of(audit)["battery"]


def test_a_folder_without_a_digest_meets_no_pin(audit):
    with pytest.raises(InputError, match=r"pins\.audit.*the audit records none"):
        make_report(replace(audit, digest=""), Policy(pins={"audit": audit.digest}))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('bse = "sha256:x"', "policy.pins.bse: unknown key, did you mean 'base'?"),
        ('base = "sha256:x"', "policy.pins.base: string should match pattern"),
        (f'base = "sha256:{"A" * 64}"', "policy.pins.base"),
        (f'base = "{"a" * 64}"', "policy.pins.base"),
        (f'base = "{OTHER}\\n"', "policy.pins.base"),
        ("tuned = []", "policy.pins.tuned: list should have at least 1 item"),
        ("tuned = [3]", "policy.pins.tuned[1]"),
        ("audit = true", "policy.pins.audit"),
    ],
)
def test_a_pin_that_is_none_is_refused(tmp_path, text, words):
    (tmp_path / "p.toml").write_text(f"[policy]\n[policy.pins]\n{text}\n")
    with pytest.raises(InputError) as caught:
        read_policy(tmp_path / "p.toml")
    assert words in str(caught.value)


def test_a_test_suite_is_held_to_them_too(tmp_path):
    write_audit(tmp_path / "a", full_audit())
    (tmp_path / "p.toml").write_text(f'[policy]\n[policy.pins]\naudit = "{OTHER}"\n')
    with pytest.raises(InputError, match=r"policy\.pins\.audit"):
        assert_retained(tmp_path / "a", tmp_path / "p.toml")


def test_reports_show_the_pins_and_the_digest(audit):
    report = make_report(audit, Policy(pins={"audit": audit.digest}))
    assert as_record(report)["policy"]["pins"]["audit"] == audit.digest
    assert as_record(report)["provenance"]["audit"] == audit.digest
    assert f"<dt>pins.audit</dt><dd>{audit.digest}</dd>" in Html().render(report)
    assert "pins" not in as_record(make_report(audit, Policy()))["policy"]
