"""Starting: nothing that goes wrong before the program runs may look like a failed policy."""

import sys
from pathlib import Path

import pytest

from forgetcheck.cli import start

AUDIT = Path(__file__).parents[1] / "retention" / "older" / "audit"


def test_an_environment_that_breaks_an_import_is_refused_in_one_line(process):
    """numpy reads SOURCE_DATE_EPOCH when scipy imports it whole, and Python would exit 1."""
    assert process("--version", SOURCE_DATE_EPOCH="yesterday").code == 0  # needs neither
    done = process("report", AUDIT, SOURCE_DATE_EPOCH="yesterday")
    done.refusal("cannot go on", "ValueError")


@pytest.mark.parametrize("name", ["scipy.special", "forgetcheck.retention.report"])
def test_a_package_that_breaks_late_is_no_bug_of_ours(process, tmp_path, name):
    """Neither where it raises, nor where it isn't there; our own modules are ours."""
    package = "broken_package" if name.startswith("scipy") else name
    (tmp_path / "broken_package.py").write_text("raise KeyError('HOME')\n")
    code = (
        f"import sys; sys.argv = ['forgetcheck', 'report', {str(AUDIT)!r}]\n"
        "class Broken:\n"
        "    def find_spec(self, name, *rest):\n"
        f"        if name == {name!r}:\n"
        f"            __import__({package!r}, fromlist=['x']) if {package!r} != name else 1 / 0\n"
        "sys.meta_path.insert(0, Broken())\n"
        "from forgetcheck.cli.main import main; main()"
    )
    done = process(code=code)
    assert done.code == (2 if name.startswith("scipy") else 3), done.err


@pytest.mark.parametrize(("problem", "code"), [(KeyboardInterrupt(), 130), (ImportError("no numpy"), 2)])
def test_whatever_stops_the_import_has_its_own_code(monkeypatch, capsys, problem, code):
    class Broken:
        def find_spec(self, name, *_rest):
            if name == "forgetcheck.cli.main":
                raise problem

    monkeypatch.delitem(sys.modules, "forgetcheck.cli.main", raising=False)
    monkeypatch.delattr("forgetcheck.cli.main", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(SystemExit) as leaving:
        start.main()
    assert leaving.value.code == code
    assert capsys.readouterr().err.count("\n") == (0 if code == 130 else 1)
