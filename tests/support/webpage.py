"""Reads an HTML report back into a tree, and refuses what isn't well formed; and a small report to read."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

from planted import make_answers, make_judged

from forgetcheck import catalog

VOID = {"meta", "img", "br", "hr", "input", "link"}
DRAWN = {"path", "circle", "rect", "polyline", "line"}  # closed by their slash in SVG


@dataclass
class Tag:
    """An element: its name, attributes, children and, among them, its text."""

    name: str
    attributes: dict = field(default_factory=dict)
    inside: list = field(default_factory=list)
    parent: "Tag | None" = None

    @property
    def text(self):
        return "".join(part if isinstance(part, str) else part.text for part in self.inside)

    @property
    def words(self):
        """The text as it is read: every element apart, spaces aside."""
        parts = (part if isinstance(part, str) else part.words for part in self.inside)
        return " ".join(" ".join(parts).split())

    def all(self, name=None):
        for part in self.inside:
            if isinstance(part, Tag):
                if name in (None, part.name):
                    yield part
                yield from part.all(name)

    def one(self, name):
        found = list(self.all(name))
        assert len(found) == 1, f"{len(found)} of <{name}>"
        return found[0]

    def within(self, name):
        return self.parent is not None and (self.parent.name == name or self.parent.within(name))


class Page(HTMLParser):
    """Reads a document into a tree, and refuses tags that aren't closed in their order."""

    def __init__(self, document):
        super().__init__()
        self.root = self.here = Tag("document")
        self.feed(document)
        self.close()
        assert self.here is self.root, f"<{self.here.name}> is never closed"

    def handle_starttag(self, name, attributes):
        assert len({key for key, _ in attributes}) == len(attributes), f"an attribute twice: {attributes}"
        self.here.inside.append(Tag(name, dict(attributes), parent=self.here))
        if name not in VOID:
            self.here = self.here.inside[-1]

    def handle_startendtag(self, name, attributes):
        assert name in DRAWN, f"<{name}/> closes nothing in HTML"
        self.here.inside.append(Tag(name, dict(attributes), parent=self.here))

    def handle_endtag(self, name):
        assert name == self.here.name, f"</{name}> closes <{self.here.name}>"
        self.here = self.here.parent

    def handle_data(self, data):
        self.here.inside.append(data)


def render(report, spec="html"):
    return catalog.build("exporters", spec).render(report)


def read(report, spec="html"):
    return Page(render(report, spec)).root


def by_id(page):
    found = [tag for tag in page.all() if "id" in tag.attributes]
    ids = {tag.attributes["id"]: tag for tag in found}
    assert len(ids) == len(found), "an id twice"
    return ids


def rows(page, table):
    """Return the body of a table as the texts of its cells."""
    body = by_id(page)[table].one("tbody")
    return [[cell.text for cell in row.inside if isinstance(cell, Tag)] for row in body.all("tr")]


def heads(page, table):
    return [head.text for head in by_id(page)[table].one("thead").all("th")]


def column(page, table, name):
    return [row[heads(page, table).index(name)] for row in rows(page, table)]


def small_report():
    """A report of which every number in the tests is known."""
    shape = {"circle": (50, 50, 0, 0), "star": (78, 0, 2, 20), "disc": (8, 2, 0, 10)}
    rules = [
        {"match": "shape/circle", "max_drop": 0.1, "reason": "the logo is a circle"},
        {"match": "face/*", "must_forget": True, "max_accuracy": 0.6},
        {"match": "noise", "ignore": True},
    ]
    face = {"ann": (90, 5, 0, 5), "bob": (10, 80, 0, 10)}
    return make_judged(make_answers(shape), make_answers(face, task="face"), concepts=rules)
