"""Where a number comes from: time, versions, digests."""

import json
import re

import pytest

from forgetcheck import __version__
from forgetcheck.errors import InputError
from forgetcheck.provenance import PACKAGES, digest, environment, installed, timestamp


def test_the_time_is_now_in_utc(monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", timestamp())


@pytest.mark.parametrize(
    ("epoch", "expected"), [("0", "1970-01-01T00:00:00Z"), ("1700000000", "2023-11-14T22:13:20Z")]
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_source_date_epoch_is_honoured(monkeypatch, epoch, expected, zone):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    monkeypatch.setenv("TZ", zone)
    assert timestamp() == expected
    assert environment()["created"] == expected


def test_an_empty_source_date_epoch_is_none(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    assert timestamp() > "2024"


@pytest.mark.parametrize("epoch", ["yesterday", "1.5", "9" * 30])
def test_a_source_date_epoch_that_is_no_time_is_refused(monkeypatch, epoch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with pytest.raises(InputError, match=f"SOURCE_DATE_EPOCH={epoch}"):
        timestamp()


def test_the_environment_is_plain_json_with_every_version():
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert found["forgetcheck"] == __version__
    assert set(found["packages"]) == set(PACKAGES)
    assert all(found["packages"].values())


def test_a_package_that_is_not_installed_has_no_version():
    assert installed("forgetcheck-no-such-package") is None


def test_a_digest_depends_on_content_and_not_on_key_order():
    assert digest({"a": 1, "b": [2, None]}) == digest({"b": [2, None], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest([1, 2]) != digest([2, 1])


def test_a_digest_is_the_same_on_every_machine():
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of "{}"
    assert digest("é") == "f2886017e9c7abacf804b54d64787dce2b611c9544ba21f3affdd126a6e50086"  # of its UTF-8
