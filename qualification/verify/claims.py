"""What a bundle's verdict and exports say, against what was derived from its sources."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from qualification import schemas
from qualification.verify.account import Derived
from qualification.verify.files import Found

_EXIT_CODES = {"INVALID": 3, "NOT_QUALIFIED": 1, "INCOMPLETE": 5, "QUALIFIED_WITH_EXCEPTIONS": 4, "QUALIFIED": 0}

_Json = dict[str, Any]


def contradictions(
    found: Found, derived: Derived, events: Sequence[_Json], records: Sequence[tuple[_Json, bytes]]
) -> Iterator[str]:
    """Each claim that does not follow, as a sentence."""
    if derived.word == "INVALID":
        codes = ", ".join(sorted(code for weighs, code in derived.reasons if weighs == "INVALID"))
        yield f"the plan is not accounted for as the journal and the records must account for it: {codes}"
    outcomes = Counter(record["outcome"] for record, _ in records)
    checks = {"verdict.json": _verdict, "junit.xml": _junit, "ctrf.json": _ctrf}
    for name, check in checks.items():
        if name in found.sha256:
            try:
                yield from (f"{name}: {sentence}" for sentence in check(found.content(name), derived, events, outcomes))
            except (ValueError, KeyError, TypeError, ET.ParseError) as error:
                yield f"{name}: cannot be read as one ({type(error).__name__}: {error})"


def _verdict(content: bytes, derived: Derived, events: Sequence[_Json], _: Counter[str]) -> Iterator[str]:
    document = json.loads(content)
    wrong = schemas.violations("verdict", document)
    if wrong:
        yield wrong[0]
        return
    claimed = Counter((reason["weighs"], reason["code"]) for reason in document["reasons"])
    claims: list[tuple[str, Any, Any]] = [
        ("the verdict", document["word"], derived.word),
        ("the exit code", document["exit_code"], _EXIT_CODES[derived.word]),
        ("the run", document["run"], events[0].get("run") if events else None),
        ("the reasons", _listed(claimed), _listed(derived.reasons)),
        ("the counts", document["counts"], dict(Counter(derived.outcomes.values()))),
        ("the cells", [cell["cell"] for cell in document["cells"]], list(derived.outcomes)),
    ]
    for cell in document["cells"]:
        name = cell["cell"]
        claims.append((f"the outcome of {name}", cell["outcome"], derived.outcomes.get(name)))
        claims.append((f"the attempts of {name}", cell["attempts"], derived.attempts.get(name)))
    yield from (f"{what} is said to be {said}, and follows to be {follows}" for what, said, follows in claims if said != follows)


def _listed(reasons: Counter[tuple[str, str]]) -> list[str]:
    return sorted(f"{count} × {weighs} {code}" for (weighs, code), count in reasons.items())


def _junit(content: bytes, _: Derived, __: Sequence[_Json], outcomes: Counter[str]) -> Iterator[str]:
    cases = [case for case in ET.fromstring(content).iter("testcase") if case.get("classname") != "qualification.cells"]
    said = Counter(
        "failed" if case.find("failure") is not None else "skipped" if case.find("skipped") is not None else "passed"
        for case in cases
    )
    if said != outcomes:
        yield f"its tests are {dict(said)}, and those of tests.jsonl {dict(outcomes)}"


def _ctrf(content: bytes, _: Derived, __: Sequence[_Json], outcomes: Counter[str]) -> Iterator[str]:
    results = json.loads(content)["results"]
    tests = [test for test in results["tests"] if test.get("type") != "cell"]
    said = Counter(test["status"] for test in tests)
    if said != outcomes:
        yield f"its tests are {dict(said)}, and those of tests.jsonl {dict(outcomes)}"
