"""Names from strangers that try to be markup, a command, a formula or a link; and a report full of one."""

from collections.abc import Mapping
from dataclasses import replace

HOSTILE = (
    "=cmd|' /C calc'!A1",
    "+1+1",
    "-2",
    "@SUM(A1)",
    "＝1＋1",
    "a|b",
    "a\\|b\\",
    "<script>alert(1)</script>",
    "</details>",
    "<!-- -->",
    "two\nlines",
    "\n=1+1",
    "carriage\rreturn",
    "tab\there",
    'quo"te',
    "semi;colon,comma",
    "![x](y) **bold** `code` ~~gone~~ $x$",
    "[x](http://evil.example) [x] [y]: z",
    "[x] done",
    "` ``` ``",
    "&lt;b&gt; \\| \\",
    "# heading",
    "1. one",
    "- item",
    "---",
    "---\nkey: value\n---",
    "=== ===",
    "🦊 straße ﷽ 概念",
    "caf\udce9",  # a file name that is not UTF-8
    "\x00\x1b[31m\x7f\ufffe",
    "\u202egpj.exe\u200b\u2028x",
    "\x9b31m\x85\u3000x",
    "]]></failure><failure>",
    "http://evil.example/x?y=1",
    "see www.evil.example, or evil.example",
    "(@octocat) octo/repo#1 #123 GH-12",
    "（@octocat）、#123。",
    "a@b.example :tada:",
    "0123456789abcdef0123456789abcdef01234567",
    "::error::pwned",
    "\n::add-mask::pwned",
    "##[set-env name=x]y",
    "%0A::error title=x,file=y::z%25",
    '\\input{/etc/passwd}\\\\[1cm]* $x_1^2$ #1 ~ % "a `b',
    "yes: {no}, *anchor !!python/object:os.system",
    "'' -- ,, ?`",
    "NA",
    "no",
    "0x10",
    "   ",
    "",
)


def shown(name):
    """Return a name as one line of what can be shown, spaces aside: to find it in what a reader sees."""
    marks = (
        " " if mark.isspace() else mark if mark.isprintable() or "\ud800" <= mark <= "\udfff" else "�"
        for mark in name
    )
    return " ".join("".join(marks).split())


def renamed(report, name):
    """Put a name wherever a report holds one; a whole task stays one."""
    return replace(
        report,
        findings=tuple(
            replace(finding, retention=row_of(finding.retention, name), reason=name)
            for finding in report.findings
        ),
        means=tuple(
            replace(mean, checkpoint=name, probe=name, worst=row_of(mean.worst, name))
            for mean in report.means
        ),
        checks=tuple(
            replace(check, checkpoint=name, subject=name, probe=name, reason=name) for check in report.checks
        ),
        unasked=tuple(
            replace(item, checkpoint=name, task=name, probe=name, why=name) for item in report.unasked
        ),
        gallery=tuple(
            replace(item, checkpoint=name, task=name, probe=name, sample=name, concept=name, said=name)
            for item in report.gallery
        ),
        provenance={**facts_of(report.provenance, name), "environment": {"forgetcheck": name}},
    )


def row_of(row, name):
    return replace(
        row,
        checkpoint=name,
        task=name,
        concept=None if row.concept is None else name,
        probe=name,
        warnings=(name,),
        confused=tuple((name, times) for _, times in row.confused),
    )


def facts_of(value, name):
    """Rename every text of the provenance, but no key that an exporter looks for."""
    if isinstance(value, Mapping):
        return {key: facts_of(inner, name) for key, inner in value.items()}
    return name if isinstance(value, str) else value
