"""Retention as an assertion: for a test suite that guards a model."""

from pathlib import Path

from forgetcheck.retention.answers import read_audit
from forgetcheck.retention.policy import Policy, read_policy
from forgetcheck.retention.report import Report, make_report
from forgetcheck.retention.text.wording import demand, sentence

__all__ = ["Forgot", "assert_retained"]
_SHOWN = 10


class Forgot(AssertionError):
    """The policy is not met; the message says what failed, and by how much."""


def assert_retained(audit: str | Path, policy: str | Path | Policy | None = None) -> Report:
    """Judge a saved audit and raise Forgot unless the policy is met; returns the report.

    `policy` is a TOML file, or a Policy; the default limits if it is left out. Needs no model and
    no torch. Raises InputError if the audit or the policy can't be read: that is no failed policy.
    """
    report = make_report(read_audit(Path(audit)), _limits_of(policy))
    if not report.passed:
        failed = [demand(check) for check in report.unmet()]
        more = [f"and {len(failed) - _SHOWN} more"] if len(failed) > _SHOWN else []
        raise Forgot("\n  ".join([sentence(report), *failed[:_SHOWN], *more]))
    return report


def _limits_of(policy: str | Path | Policy | None) -> Policy:
    if policy is None:
        return Policy()
    return policy if isinstance(policy, Policy) else read_policy(Path(policy))
