"""What a bundle's verdict says, against what was derived from its sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from qualification import schemas
from qualification.verify import exports
from qualification.verify.account import Derived
from qualification.verify.files import Found

EXIT_CODES = {"INVALID": 3, "NOT_QUALIFIED": 1, "INCOMPLETE": 5, "QUALIFIED_WITH_EXCEPTIONS": 4, "QUALIFIED": 0}

_Json = dict[str, Any]
_Claims = list[tuple[str, Any, Any]]
"""What, what is said of it, and what follows."""


def contradictions(
    found: Found, plan: _Json, derived: Derived, events: Sequence[_Json], records: Sequence[tuple[_Json, bytes]]
) -> Iterator[str]:
    """Each claim that does not follow, as a sentence."""
    if derived.word == "INVALID":
        codes = ", ".join(sorted(code for weighs, code in derived.reasons if weighs == "INVALID"))
        yield f"the plan is not accounted for as the journal and the records must account for it: {codes}"
    told = [record for record, _ in records]
    checks: dict[str, Callable[[bytes], Iterator[str]]] = {
        "verdict.json": lambda content: _verdict(content, plan, derived, events, told),
        "junit.xml": lambda content: exports.junit(content, derived, told),
        "ctrf.json": lambda content: exports.ctrf(content, derived, told, plan["inputs"]["wheel_sha256"]),
        "index.html": lambda content: exports.page(content, derived),
    }
    for name, check in checks.items():
        if name in found.sha256:
            try:
                yield from (f"{name}: {sentence}" for sentence in check(found.content(name)))
            except (ValueError, LookupError, TypeError, AttributeError, ET.ParseError) as error:
                yield f"{name}: cannot be read as one ({type(error).__name__}: {error})"


def _verdict(content: bytes, plan: _Json, derived: Derived, events: Sequence[_Json], records: Sequence[_Json]) -> Iterator[str]:
    document = schemas.parse(content)
    wrong = schemas.violations("verdict", document)
    if wrong:
        yield wrong[0]
        return
    claimed = Counter((reason["weighs"], reason["code"]) for reason in document["reasons"])
    claims: _Claims = [
        ("the verdict", document["word"], derived.word),
        ("the exit code", document["exit_code"], EXIT_CODES[derived.word]),
        ("the run", document["run"], events[0].get("run") if events else None),
        ("the matrix", document["matrix"], plan["matrix"]),
        ("the tier", document["tier"], plan["tier"]),
        ("what was examined", document["inputs"], plan["inputs"]),
        ("the reasons", _listed(claimed), _listed(derived.reasons)),
        ("the counts", document["counts"], dict(Counter(derived.outcomes.values()))),
        ("the cells", [cell["cell"] for cell in document["cells"]], list(derived.outcomes)),
    ]
    last = _last_events(events)
    tests = Counter((record.get("cell"), record.get("attempt")) for record in records)
    for cell in document["cells"]:
        claims += _of_cell(cell, derived, last.get(cell["cell"], {}), tests)
    yield from (f"{what} is said to be {said}, and follows to be {follows}" for what, said, follows in claims if said != follows)


def _of_cell(cell: _Json, derived: Derived, last: _Json, tests: Counter[tuple[Any, Any]]) -> _Claims:
    name = cell["cell"]
    attempts = derived.attempts.get(name, 0)
    return [
        (f"the outcome of {name}", cell["outcome"], derived.outcomes.get(name)),
        (f"the attempts of {name}", cell["attempts"], attempts),
        (f"the tests of {name}", cell["tests"], tests[name, attempts]),
        (f"the time of {name}", cell["duration_s"], last.get("duration_s", 0)),
        (f"the memory of {name}", cell["peak_bytes"], last.get("peak_bytes", 0)),
        (f"the log of {name}", cell["log"], last.get("log")),
    ]


def _last_events(events: Sequence[_Json]) -> dict[str, _Json]:
    """The last event of each cell; one that kept it from running counts only where it never ran."""
    last: dict[str, _Json] = {}
    for event in events:
        if "cell" in event and not (event["event"] == "cell_gated" and event["cell"] in last):
            last[event["cell"]] = event
    return last


def _listed(reasons: Counter[tuple[str, str]]) -> list[str]:
    return sorted(f"{count} × {weighs} {code}" for (weighs, code), count in reasons.items())
