"""assert_retained, as a test suite that guards a model would use it."""

import subprocess
import sys

import pytest
from planted import FULL_POLICY, full_audit, make_answers

from forgetcheck.errors import InputError
from forgetcheck.retention.answers import Audit, write_audit
from forgetcheck.retention.policy import Policy
from forgetcheck.testing import Forgot, assert_retained

GOOD = {"cat": (500, 0, 0, 0), "dog": (500, 0, 0, 0)}


def saved(folder, audit):
    write_audit(folder, audit)
    return folder


def test_a_kept_model_returns_its_report(tmp_path):
    folder = saved(tmp_path / "audit", Audit((make_answers(GOOD),), {}))
    assert assert_retained(folder).passed
    (tmp_path / "p.toml").write_text("[policy]\nmax_drop = 0.1\n")
    assert assert_retained(str(folder), str(tmp_path / "p.toml")).policy.max_drop == 0.1


def test_a_crippled_one_fails_the_test_and_says_by_how_much(tmp_path):
    folder = saved(tmp_path / "audit", full_audit())
    with pytest.raises(Forgot, match=r"(?s)NOT passed.*face / ann .*could not be asked") as caught:
        assert_retained(folder, Policy(**FULL_POLICY))
    assert isinstance(caught.value, AssertionError)


def test_long_lists_are_cut(tmp_path):
    bad = [make_answers({"a": (0, 90, 0, 0), "b": (90, 0, 0, 0)}, task=f"task {k}") for k in range(30)]
    folder = saved(tmp_path / "audit", Audit(tuple(bad), {}))
    with pytest.raises(Forgot, match="and 50 more"):
        assert_retained(folder)


def test_what_cannot_be_read_is_no_failed_policy(tmp_path):
    with pytest.raises(InputError):
        assert_retained(tmp_path / "nowhere")


def test_it_needs_no_torch():
    code = "import sys, forgetcheck.testing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
