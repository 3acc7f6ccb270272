"""LaTeX tables, read with a LaTeX parser: as many cells in every row, and no name that is a command."""

import functools

import pytest
from hostile import HOSTILE, renamed
from planted import full_report, make_answers, make_judged
from pylatexenc.latexwalker import (
    LatexCommentNode,
    LatexEnvironmentNode,
    LatexMacroNode,
    LatexSpecialsNode,
    LatexWalker,
)

from forgetcheck import catalog

pytestmark = pytest.mark.slow

full = functools.cache(full_report)
ESCAPES = {
    *"{}$&#%_",
    *("textbackslash", "textasciicircum", "textasciitilde", "textasciigrave"),
    *("textless", "textgreater", "textbar", "symbol"),
}


def render(report, spec="latex"):
    return catalog.build("exporters", spec).render(report)


@functools.cache
def plain():
    return render(renamed(full(), "plain"))


def nodes(document):
    found, _, length = LatexWalker(document, tolerant_parsing=False).get_latex_nodes()
    assert length == len(document)
    return found


def every(found):
    """Yield all nodes, whatever they are in."""
    for node in found:
        if node is None:
            continue
        yield node
        yield from every(getattr(node, "nodelist", None) or [])
        arguments = getattr(node, "nodeargd", None)
        yield from every((arguments and arguments.argnlist) or [])


def tables(document):
    """Return each tabular as rows of cells, in LaTeX."""
    found = []
    for node in every(nodes(document)):
        if isinstance(node, LatexEnvironmentNode) and node.environmentname == "tabular":
            rows, cell = [[]], ""
            for part in node.nodelist:
                if isinstance(part, LatexMacroNode) and part.macroname == "\\":
                    rows[-1].append(cell.strip())
                    rows.append([])
                    cell = ""
                elif isinstance(part, LatexSpecialsNode) and part.specials_chars == "&":
                    rows[-1].append(cell.strip())
                    cell = ""
                elif not (isinstance(part, LatexMacroNode) and part.macroname.endswith("rule")):
                    cell += part.latex_verbatim()
            found.append([row for row in rows if row])
    return found


def test_one_row_per_checkpoint_then_a_table_per_task():
    overview, *tasks = tables(render(full()))
    assert overview == [
        ["Checkpoint", r"Target (\%)", r"$\Delta$ zero-shot", r"$\Delta$ linear"],
        [
            "naive",
            "98.5 [96.8, 99.4]",
            "$-16.8$ [$-21.1$, $-12.5$] (2)",
            "$+0.2$ [$-0.4$, $+0.7$] (1)",
        ],
        ["ldifs", "95.0 [92.4, 96.9]", "$0.0$ [$0.0$, $0.0$] (1)", "--"],
    ]
    assert [len(rows) - 1 for rows in tasks] == [3, 1, 1, 1, 2]
    assert tasks[0][1] == [
        *("naive", "zero-shot", "85.5", "62.7", "$-22.7$", "[$-28.9$, $-17.3$]", "220"),
        *("2.5e-09 (12)", "forgot"),
    ]


def test_a_checkpoint_without_a_target_has_none():
    (overview, _) = tables(render(make_judged(make_answers({"a": (90, 5, 0, 5), "b": (90, 5, 0, 5)}))))
    assert overview[1][:2] == ["tuned", "--"]


def test_decimals_are_as_asked():
    overview = tables(render(full(), "latex:decimals=2"))[0]
    assert overview[1][1:3] == ["98.50 [96.76, 99.45]", "$-16.82$ [$-21.11$, $-12.48$] (2)"]


def test_packages_and_warnings_are_told():
    document = render(full())
    assert document.startswith("% Made by forgetcheck. In the preamble: \\usepackage{booktabs}\n")
    assert "\\par\\footnotesize naive, linear: the tuned probe stopped early; its interval is" in document
    assert "95\\,\\% intervals" in document


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_is_text_and_every_row_has_its_cells(name):
    document = render(renamed(full(), name))
    found = tables(document)
    assert [[len(row) for row in rows] for rows in found] == [
        [len(row) for row in rows] for rows in tables(plain())
    ]
    usual = list(every(nodes(plain())))
    hostile = list(every(nodes(document)))
    for kind, field in ((LatexEnvironmentNode, "environmentname"), (LatexCommentNode, "comment")):
        assert [getattr(node, field) for node in hostile if isinstance(node, kind)] == [
            getattr(node, field) for node in usual if isinstance(node, kind)
        ]
    allowed = {node.macroname for node in usual if isinstance(node, LatexMacroNode)} | ESCAPES
    assert {node.macroname for node in hostile if isinstance(node, LatexMacroNode)} <= allowed
    specials = {node.specials_chars for node in hostile if isinstance(node, LatexSpecialsNode)}
    assert specials <= {"&", "--"}
    assert document.isprintable() or set(filter(lambda mark: not mark.isprintable(), document)) <= {"\n"}
    for row in found[0][1:]:
        assert not row[0].startswith(("[", "*"))  # what \\ would take for its argument


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("50% of a_b & c#d", r"50\% of a\_b \& c\#d"),
        ("{x}^2 ~ $y$", r"\{x\}\textasciicircum{}2 \textasciitilde{} \$y\$"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("[1cm]*", r"{[}1cm{]}{*}"),
        ('"a`<b>|', r"\symbol{34}a\textasciigrave{}\textless{}b\textgreater{}\textbar{}"),
        ("a---b", "a-{}-{}-b"),
        ("caf\udce9", r"caf\textbackslash{}udce9"),
        ("a\x00b\nc", "a?b c"),
    ],
)
def test_specials_are_escaped(name, written):
    assert tables(render(renamed(full(), name)))[0][1][0] == written
