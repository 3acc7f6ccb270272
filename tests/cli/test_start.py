"""Starting: nothing that goes wrong before the program runs may look like a failed policy."""

import sys

import pytest

from forgetcheck.cli import start


def test_an_environment_that_breaks_an_import_is_refused_in_one_line(process):
    """numpy itself reads SOURCE_DATE_EPOCH while it is imported, and Python would exit 1."""
    done = process("--version", SOURCE_DATE_EPOCH="yesterday")
    done.refusal("cannot start", "ValueError")


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
