"""What a bundle's page and its files for other programs say of every test and every cell, against its sources."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

from qualification import schemas
from qualification.verify.account import Derived

_Json = dict[str, Any]

_OWED = ("interrupted", "debt", "quarantined")
_GOOD = ("passed", "flaky")
_STATUS = {"passed": "passed", "flaky": "passed", "debt": "pending", "interrupted": "pending", "quarantined": "other"}
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(content: bytes, derived: Derived, records: Sequence[_Json]) -> Iterator[str]:
    """Every test and every cell stands in its suite with its outcome, and every suite counts what is in it."""
    if b"<!" in content:
        yield "it has a declaration, which could make its text mean another"
        return
    root = ET.fromstring(content)
    suites = list(root.iter("testsuite"))
    said: list[Hashable] = [
        (suite.get("name"), case.get("classname"), case.get("name"), _ended(case))
        for suite in suites
        for case in suite.iter("testcase")
    ]
    cells = [("cells", "qualification.cells", _xml(cell), _cell_ended(outcome)) for cell, outcome in derived.outcomes.items()]
    yield from _unlike("its tests and cells", said, [*cells, *map(_case, records)])
    for suite in (*suites, root):
        for key, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
            count = sum(1 for _ in suite.iter(tag))
            if suite.get(key) != str(count):
                yield f"{suite.get('name')} is said to have {suite.get(key)} {key}, and has {count}"


def _case(record: _Json) -> Hashable:
    file, _, test = record["test"].partition("::")
    cell, attempt = record.get("cell", ""), record.get("attempt", 1)
    suite = cell if attempt == 1 else f"{cell} (attempt {attempt})"
    return _xml(suite), _xml(file.removesuffix(".py").replace("/", ".")), _xml(test or file), record["outcome"]


def _ended(case: ET.Element) -> str:
    error = case.find("error")
    if error is not None:
        return str(error.get("type"))
    return "failed" if case.find("failure") is not None else "skipped" if case.find("skipped") is not None else "passed"


def _cell_ended(outcome: str) -> str:
    return "skipped" if outcome in _OWED else "passed" if outcome in _GOOD else outcome


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def ctrf(content: bytes, derived: Derived, records: Sequence[_Json], wheel_sha256: str | None) -> Iterator[str]:
    """Every test and every cell stands in it with its status, and its summary counts them."""
    results = schemas.parse(content)["results"]
    tests = results["tests"]
    said: list[Hashable] = [(test["name"], test.get("rawStatus") or test["suite"][0], test["status"]) for test in tests]
    follows: list[Hashable] = [(record["test"], record.get("cell") or "no cell", record["outcome"]) for record in records]
    follows += [(cell, outcome, _STATUS.get(outcome, "failed")) for cell, outcome in derived.outcomes.items()]
    yield from _unlike("its tests and cells", said, follows)
    counts = Counter(test["status"] for test in tests)
    summary = {status: counts[status] for status in ("passed", "failed", "skipped", "pending", "other")}
    told = {"tests": len(tests), **summary}
    claims = [
        ("its summary", {key: results["summary"][key] for key in told}, told),
        ("its verdict", results["environment"]["extra"]["verdict"], derived.word),
        ("its health", results["environment"]["healthy"], derived.word in ("QUALIFIED", "QUALIFIED_WITH_EXCEPTIONS")),
        ("its wheel", results["environment"]["extra"]["wheel_sha256"], wheel_sha256),
    ]
    yield from (f"{what} is said to be {claim}, and follows to be {true}" for what, claim, true in claims if claim != true)


def page(content: bytes, derived: Derived) -> Iterator[str]:
    """Its heading says the verdict, and its map has every cell with its outcome; and it can run no script and ask no network."""
    seen = _Page()
    seen.feed(content.decode("utf-8"))
    headings = [" ".join(heading.split()) for heading in seen.headings]
    word = derived.word.replace("_", " ")
    if len(headings) != 1 or not headings[0].endswith(word) or headings[0].removesuffix(word).strip(" !✕○≈✓"):
        yield f"its heading is {' and '.join(headings) or 'missing'}, and the verdict is {word}"
    if seen.title.partition(" · ")[0] != derived.word:
        yield f"its title is {seen.title!r}, and the verdict is {derived.word}"
    if seen.policies != [_POLICY]:
        yield f"it has not one policy, {_POLICY[1]!r}, but {seen.policies}"
    if seen.active:
        yield f"it has what could run or be fetched: {', '.join(sorted(seen.active))}"
    shown: list[Hashable] = []
    for title, outcome in seen.cells:
        cells = [title.partition(": ")[0], *(cell for cell in derived.outcomes if ": " in cell and title.startswith(f"{cell}: "))]
        shown.append((cells[-1], outcome))
    yield from _unlike("its cells", shown, list(derived.outcomes.items()))


_POLICY = ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
"""What keeps a browser from asking a network for whatever styles, pictures or frames name."""

_READ_ONLY = frozenset({
    "html", "head", "meta", "title", "style", "body", "header", "nav", "main", "section", "figure", "figcaption",
    "h1", "h2", "h3", "p", "a", "b", "i", "small", "code", "span", "div", "ul", "ol", "li", "dl", "dt", "dd",
    "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "label", "input", "svg", "polygon",
})  # fmt: skip
"""The tags that a page is written with: what is none of them is refused, whatever it may do."""


class _Page(HTMLParser):
    """The title, headings, the tiles of the map, and tags that may do more than be read."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.headings: list[str] = []
        self.cells: list[tuple[str, str]] = []
        self.active: set[str] = set()
        self.policies: list[tuple[str, str]] = []
        self._in = ""
        self._in_map = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        classes = given.get("class", "").split()
        if tag not in _READ_ONLY or (tag == "input" and given.get("type") not in ("radio", "checkbox")):
            self.active.add(tag)
        if "http-equiv" in given:
            self.policies.append((given["http-equiv"], given.get("content", "")))
        self.active |= {name for name in given if name.startswith("on")}
        if re.match(r"\s*[a-z][a-z0-9+.-]*:|\s*//", given.get("href", ""), re.IGNORECASE):
            self.active.add(f"a link to {given['href']}")
        self._in = tag if tag in ("title", "h1") else self._in
        if tag == "h1":
            self.headings.append("")
        self._in_map = self._in_map or (tag == "table" and "map" in classes)
        if self._in_map and "o" in classes and "title" in given:
            self.cells.append((given["title"], next((name for name in classes if name != "o"), "")))

    def handle_endtag(self, tag: str) -> None:
        self._in = "" if tag == self._in else self._in
        self._in_map = self._in_map and tag != "table"

    def handle_data(self, data: str) -> None:
        if self._in == "title":
            self.title += data
        elif self._in == "h1":
            self.headings[-1] += data


def _unlike(what: str, said: Sequence[Hashable], follows: Sequence[Hashable]) -> Iterator[str]:
    """One sentence where the two differ, whatever their order."""
    more, fewer = Counter(said) - Counter(follows), Counter(follows) - Counter(said)
    if more or fewer:
        told = [f"{_one(counted)} {which}" for counted, which in ((more, "too many"), (fewer, "missing")) if counted]
        yield f"{what} are not those of the bundle: {', '.join(told)}"


def _one(counted: Counter[Hashable]) -> str:
    first = next(iter(counted))
    return f"{counted.total()}, such as {first}," if counted.total() > 1 else str(first)
