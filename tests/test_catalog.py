"""The file name is the registration: names, options and specs, without importing a model."""

import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from forgetcheck import catalog
from forgetcheck.errors import InputError

pytestmark = pytest.mark.slow

EVERY = [(kind, name) for kind in catalog.BASES for name in catalog.names(kind)]


def refused(kind, spec, *words):
    with pytest.raises(InputError) as caught:
        catalog.build(kind, spec)
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent / "support",
    ).stdout.split()


HEAVY = "print(*sorted({'torch', 'torchvision', 'open_clip', 'sklearn', 'datasets'} & set(sys.modules)))"


def test_a_source_imports_its_library_when_it_is_asked():
    code = "import sys; from forgetcheck import catalog\n"
    code += "for name in catalog.names('tasks'): catalog.load_class('tasks', name)\n"
    assert run(code + HEAVY) == []


def test_listing_imports_nothing_heavy():
    code = "import sys; from forgetcheck import catalog\n"
    code += "for kind in catalog.BASES: assert catalog.entries(kind)\n"
    assert run(code + HEAVY) == []


def test_a_report_is_rendered_without_torch():
    code = """import sys
from forgetcheck import catalog
from planted import full_report
for name in catalog.names("exporters"): catalog.build("exporters", name).render(full_report())
"""
    assert run(code + HEAVY) == []


def test_what_ships_is_found_by_file_name():
    assert {"cross-entropy", "l2sp", "ldifs"} <= set(catalog.names("regularizers"))
    assert {"zero-shot", "linear", "head"} <= set(catalog.names("probes"))
    assert {"drawn", "digits"} <= set(catalog.names("tasks"))
    assert {"json", "csv", "markdown"} <= set(catalog.names("exporters"))


@pytest.mark.parametrize("kind", catalog.BASES)
def test_names_are_sorted_files_with_a_class(kind):
    names = catalog.names(kind)
    assert list(names) == sorted(set(names))
    assert "base" not in names
    assert not any("_" in name for name in names)
    files = {path.stem.replace("_", "-") for path in (catalog.HERE / kind).glob("*.py")}
    assert set(names) <= files


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_what_is_listed_is_what_can_be_built(kind, name):
    entry = next(entry for entry in catalog.entries(kind) if entry.name == name)
    found = catalog.load_class(kind, name)
    assert entry.summary.endswith((".", ")", "?"))
    assert [option.name for option in entry.options] == [f.name.replace("_", "-") for f in fields(found)]
    required = [f.name for f in fields(found) if f.default is MISSING and f.default_factory is MISSING]
    assert [o.name for o in entry.options if o.default == "required"] == [
        n.replace("_", "-") for n in required
    ]
    if not required:
        assert catalog.build(kind, name) == found()


def test_a_file_without_an_extension_is_none(tmp_path, monkeypatch):
    folder = tmp_path / "probes"
    folder.mkdir()
    (folder / "helper.py").write_text('"""Nothing here."""\nclass Other: ...\n')
    (folder / "two_words.py").write_text(
        '"""A probe."""\nfrom typing import ClassVar\n'
        "class P(Probe):\n    shared: ClassVar[int] = 0\n    must_be: int\n    may: str = 'x'\n"
    )
    monkeypatch.setattr(catalog, "HERE", tmp_path)
    options = (catalog.Option("must-be", "int", "required"), catalog.Option("may", "str", "'x'"))
    assert catalog.entries("probes") == (catalog.Entry("two-words", "A probe.", options),)


def test_options_are_read_as_the_type_of_their_field():
    assert catalog.build("exporters", "json:indent=4").indent == 4
    assert catalog.build("exporters", "json: indent = 4 ").indent == 4
    assert catalog.build("regularizers", "ldifs:strength=5,slices=3,distance=as-published") == (
        catalog.load_class("regularizers", "ldifs")(5.0, "as-published", 3)
    )


@pytest.mark.parametrize("spec", ["json", "json:", "json:,"])
def test_no_options_are_the_defaults(spec):
    assert catalog.build("exporters", spec) == catalog.build("exporters", "json:indent=2")


def test_an_unknown_name():
    refused(
        "exporters", "jsno", "unknown exporter 'jsno'", "did you mean 'json'?", "forgetcheck list exporters"
    )
    refused("regularizers", "cross_entropy", "did you mean 'cross-entropy'?")
    refused("exporters", "", "unknown exporter ''", "known: csv, github, html, json")
    refused("exporters", "base", "unknown exporter 'base'")
    refused("exporters", "../json", "unknown exporter")


def test_an_unknown_option():
    refused("exporters", "json:indnt=4", "option of json 'indnt'", "did you mean 'indent'?")
    refused("probes", "linear:x=1", "option of linear 'x'", "known:")


@pytest.mark.parametrize("text", ["four", "2.5", "", "nan", "1,5"])
def test_a_value_of_the_wrong_type(text):
    refused("exporters", f"json:indent={text}", "json" if "," in text else "json:indent=")


def test_a_value_that_is_no_choice():
    refused("probes", "zero-shot:text=mine", "zero-shot:text=mine", "'own' or 'base'")


def test_an_option_given_twice():
    refused("exporters", "json:indent=1,indent=2", "'indent' is given twice")


def test_an_option_without_a_value():
    refused("exporters", "json:indent", "expected option=value", "found 'indent'")
    refused("exporters", "json:indent=2,x", "found 'x'")


def test_underscores_and_hyphens_are_the_same_in_options():
    pairs = list(catalog.parse_options("x", "a_b=1,c-d=2"))
    assert pairs == [("a-b", "1"), ("c-d", "2")]
    with pytest.raises(InputError, match="given twice"):
        list(catalog.parse_options("x", "a_b=1,a-b=2"))


def test_a_value_may_hold_an_equals_sign_and_a_colon():
    assert list(catalog.parse_options("x", "path=C:/a=b")) == [("path", "C:/a=b")]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1"])
def test_options_are_finite_and_within_bounds(value):
    with pytest.raises(InputError, match=rf"l2sp:strength={value}: input should be (a finite|greater)"):
        catalog.build("regularizers", f"l2sp:strength={value}")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install packages as pip would leave them: a module, and a record with entry points."""

    def call(package, code, **points):
        module = package.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        record = tmp_path / f"{module}-1.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        lines = (f"[forgetcheck.{kind}]\n{line}\n" for kind, line in points.items())
        (record / "entry_points.txt").write_text("".join(lines))
        catalog.installed.cache_clear()

    monkeypatch.syspath_prepend(tmp_path)
    yield call
    catalog.installed.cache_clear()
    for name in [name for name, module in sys.modules.items() if in_folder(module, tmp_path)]:
        del sys.modules[name]


def in_folder(module, folder):
    return str(getattr(module, "__file__", None)).startswith(str(folder))


PLAIN = '''"""Says hello."""
from dataclasses import dataclass
import forgetcheck
from forgetcheck.catalog import Count

@dataclass(frozen=True)
class Hello(forgetcheck.Exporter):
    times: Count = 1
    def render(self, report):
        return self.times * "hello\\n"
'''


def test_an_extension_of_another_package_is_one_of_all(install):
    install("greetings", PLAIN, exporters="hello = greetings:Hello")
    options = (catalog.Option("times", "Count", "1"),)
    assert catalog.Entry("hello", "Says hello.", options, "greetings") in catalog.entries("exporters")
    assert "greetings" not in sys.modules  # its file was read
    assert "hello" in catalog.names("exporters")
    assert catalog.is_extension("exporters", "hello")
    assert not catalog.is_extension("probes", "hello")
    assert catalog.build("exporters", "hello:times=2").render(None) == "hello\nhello\n"
    refused("exporters", "hello:time=2", "option of hello 'time'", "did you mean 'times'?")
    refused("exporters", "helo", "did you mean 'hello'?")


def test_a_name_that_two_packages_have_is_refused(install):
    install("greetings", PLAIN, exporters="json = greetings:Hello\nhello = greetings:Hello")
    install("more-greetings", PLAIN, exporters="hello = more_greetings:Hello")
    refused("exporters", "json", "exporter 'json' comes with forgetcheck and greetings", "uninstall one")
    refused("exporters", "hello", "comes with greetings and more-greetings")
    broken = [(entry.name, entry.package) for entry in catalog.entries("exporters") if entry.broken]
    assert broken == [("hello", "greetings"), ("hello", "more-greetings"), ("json", "greetings")]


@pytest.mark.parametrize(
    ("code", "point", "listed", "built"),
    [
        (PLAIN, "hello = greetings:Hallo", "greetings:Hallo is no class", "AttributeError"),
        (PLAIN, "hello = greeting:Hello", "there is no module greeting", "ModuleNotFoundError"),
        (PLAIN, "hello = greetings.inner:Hello", "ModuleNotFoundError", "ModuleNotFoundError"),
        ("class Hello: ...", "hello = greetings:Hello", "derives from Exporter", "is no Exporter"),
        ("class Hello(", "hello = greetings:Hello", "SyntaxError", "SyntaxError"),
        ("1 / 0\n" + PLAIN, "hello = greetings:Hello", "", "ZeroDivisionError: division by zero"),
        (PLAIN.replace("render", "rendr"), "hello = greetings:Hello", "", "lacks render"),
    ],
)
def test_what_is_wrong_with_another_package_is_told_in_a_line_and_hides_nothing(
    install, code, point, listed, built
):
    install("greetings", code, exporters=point)
    (entry,) = (entry for entry in catalog.entries("exporters") if entry.package == "greetings")
    assert listed in entry.broken
    assert bool(listed) == bool(entry.broken)
    assert "json" in catalog.names("exporters")
    refused("exporters", "hello", "exporter 'hello' of the package 'greetings' can't be used", built)


def test_a_name_that_no_command_line_could_say(install):
    install("greetings", PLAIN, exporters="Hello_you = greetings:Hello")
    (entry,) = (entry for entry in catalog.entries("exporters") if entry.package == "greetings")
    assert "a-z, 0-9 and hyphens" in entry.broken


def test_a_file_that_names_what_is_not_installed_imports_nothing(tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    refused("tasks", "evil:Task", "unknown task 'evil'")
    refused("tasks", "evil", "unknown task 'evil'")
