"""``report verify``: any changed byte of a bundle is found, and the verdict is derived a second time by code of its own."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import random
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import qualification
from qualification import journal, records
from qualification.bundle import Bundle
from qualification.declared import Metric, Quarantined
from qualification.errors import QualificationError
from qualification.plan import LeftOut, freeze
from qualification.report import html
from qualification.report.run import load
from qualification.verify import account, verify

A, B, C = "text[a]", "text[b]", "vision[c]"


@pytest.fixture
def bundle(build: Any, begin: Any, sealed: Any, tmp_path: Path) -> Bundle:
    """A run with a pass, a failure and a debt, as a whole bundle."""
    run = begin(build.plan(build.cell(A), build.cell(B), build.cell(C)))
    run.ran(A, tests=3, log="logs/a.1.log")
    run.ran(B, "failed", tests=2, log="logs/b.1.log")
    run.gated(C)
    made: Bundle = sealed(run, tmp_path / "bundle")
    return made


def test_an_untouched_bundle_is_what_it_claims_to_be_whatever_its_verdict(bundle: Bundle) -> None:
    verified = verify(bundle.root)

    assert verified.findings == ()
    assert (verified.word, verified.cells, verified.records) == ("NOT_QUALIFIED", 3, 5)
    assert verified.seal == hashlib.sha256(bundle.manifest.read_bytes()).hexdigest()


def test_of_a_thousand_changed_bytes_each_is_found(build: Any, begin: Any, sealed: Any, tmp_path: Path) -> None:
    run = begin(build.plan(build.cell(A)))
    run.ran(A, "failed", tests=1, log="logs/a.1.log")
    bundle = sealed(run, tmp_path / "bundle")
    chance = random.Random(20260102)
    files = sorted(path for path in bundle.root.rglob("*") if path.is_file())
    assert {path.name for path in files} >= {
        "manifest.json",
        "verdict.json",
        "index.html",
        "junit.xml",
        "ctrf.json",
        "memory.jsonl",
    }
    missed = []
    for number in range(1000):
        path = files[number % len(files)]
        content = path.read_bytes()
        changed = bytearray(content)
        changed[chance.randrange(len(changed))] ^= chance.randrange(1, 256)
        path.write_bytes(changed)
        if verify(bundle.root).holds:
            missed.append((path.name, bytes(changed)))
        path.write_bytes(content)

    assert missed == []
    assert verify(bundle.root).holds


@pytest.mark.parametrize(
    "name", ["plan.json", "machine.json", "journal.jsonl", "tests.jsonl", "verdict.json", "junit.xml", "logs/a.1.log"]
)
@pytest.mark.parametrize("change", ["gone", "cut", "grown", "a link"])
def test_a_file_that_is_gone_cut_grown_or_a_link_is_found(bundle: Bundle, tmp_path: Path, name: str, change: str) -> None:
    path = bundle.root / name
    if change == "gone":
        path.unlink()
    elif change == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif change == "grown":
        path.write_bytes(path.read_bytes() + b"\n")
    else:
        shutil.move(path, tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")

    findings = verify(bundle.root).findings

    assert any(finding.startswith(name) for finding in findings), findings


@pytest.mark.parametrize("name", ["extra.txt", "logs/extra.log", ".hidden", "deeper/file"])
def test_a_file_more_is_found(bundle: Bundle, name: str) -> None:
    (bundle.root / name).parent.mkdir(exist_ok=True)
    (bundle.root / name).write_text("", encoding="utf-8")

    assert not verify(bundle.root).holds


def test_a_bundle_that_was_never_judged_says_what_to_do(bundle: Bundle) -> None:
    bundle.manifest.unlink()

    assert "`python -m qualification verdict` seals a run that is over" in verify(bundle.root).findings[0]


@pytest.mark.parametrize(
    ("file", "change", "why"),
    [
        (
            "verdict.json",
            {"word": "QUALIFIED", "exit_code": 0, "reasons": []},
            "the verdict is said to be QUALIFIED, and follows to be",
        ),
        ("verdict.json", {"run": "another"}, "the run is said to be another"),
        ("verdict.json", {"counts": {"passed": 3}}, "the counts"),
        ("verdict.json", {"cells": []}, "the cells"),
        ("verdict.json", {"matrix": "another"}, "the matrix is said to be another"),
        ("verdict.json", {"tier": "16gb"}, "the tier is said to be 16gb"),
        ("ctrf.json", {"results": {"tests": []}}, "its tests and cells are not those of the bundle"),
    ],
)
def test_a_claim_that_does_not_follow_is_found_even_where_all_hashes_were_made_anew(
    bundle: Bundle, file: str, change: dict[str, Any], why: str
) -> None:
    path = bundle.root / file
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    _hash_anew(bundle)

    findings = verify(bundle.root).findings

    assert findings
    assert all(finding.startswith(file) for finding in findings)
    assert any(why in finding for finding in findings), findings


@pytest.mark.parametrize(
    ("file", "old", "new", "why"),
    [
        ("index.html", "NOT QUALIFIED</h1>", "QUALIFIED</h1>", "its heading is"),
        ("index.html", "<title>NOT_QUALIFIED", "<title>QUALIFIED", "its title is"),
        ("index.html", "</header>", "</header><h1>QUALIFIED</h1>", "its heading is"),
        ("index.html", 'class="o failed" title="text[b]', 'class="o passed" title="text[b]', "its cells are not those"),
        ("index.html", "</main>", "<script>alert(1)</script></main>", "what could run or be fetched: script"),
        ("index.html", "</main>", "<p onclick='alert(1)'></p></main>", "what could run or be fetched: onclick"),
        ("index.html", "</main>", "<frame src='x'></main>", "what could run or be fetched: frame"),
        ("index.html", "</main>", "<input type=image src=x></main>", "what could run or be fetched: input"),
        ("index.html", "<main>", "<meta http-equiv=refresh content='0;url=x'><main>", "it has not one policy"),
        ("index.html", "default-src 'none'", "default-src *", "it has not one policy"),
        ("index.html", 'href="plan.json"', 'href=" javascript:alert(1)"', "a link to  javascript:alert(1)"),
        ("index.html", 'href="plan.json"', 'href="//evil.example/plan.json"', "a link to //evil.example/plan.json"),
        ("junit.xml", 'name="test_0"', 'name="test_7"', "its tests and cells are not those of the bundle"),
        ("junit.xml", 'type="failed"', 'type="leaked"', "its tests and cells are not those of the bundle"),
        ("junit.xml", 'failures="2"', 'failures="0"', "is said to have 0 failures, and has 2"),
        ("junit.xml", "<testsuites", '<!DOCTYPE a [<!ENTITY b "c">]><testsuites', "it has a declaration"),
        ("ctrf.json", '"failed": 3', '"failed": 0', "its summary is said to be"),
        ("ctrf.json", '"healthy": false', '"healthy": true', "its health is said to be True"),
        ("ctrf.json", '"rawStatus": "failed"', '"rawStatus": "passed"', "its tests and cells are not those of the bundle"),
        ("ctrf.json", "c" * 64, "d" * 64, "its wheel is said to be"),
        ("verdict.json", '"tests": 3', '"tests": 30', "the tests of text[a] is said to be 30, and follows to be 3"),
        ("verdict.json", '"log": "logs/a.1.log"', '"log": "logs/b.1.log"', "the log of text[a]"),
        ("verdict.json", "c" * 64, "d" * 64, "what was examined"),
        ("verdict.json", '"exit_code": 1', '"exit_code": 0, "exit_code": 1', "the key 'exit_code' stands twice"),
        ("machine.json", '"cores": 2', '"cores": 2, "host": "a-name"', "'host' was unexpected"),
        ("machine.json", '"cores": 2', '"cores": 2, "cores": 2', "the key 'cores' stands twice"),
        ("plan.json", "{", "[" * 200_000 + "{", "it is nested too deeply"),
        ("verdict.json", "{", "[" * 200_000 + "{", "it is nested too deeply"),
        ("manifest.json", "{", "[" * 200_000 + "{", "it is nested too deeply"),
    ],
)
def test_a_lie_is_found_wherever_it_stands_though_all_hashes_were_made_anew(
    bundle: Bundle, file: str, old: str, new: str, why: str
) -> None:
    path = bundle.root / file
    before = path.read_text(encoding="utf-8")
    assert old in before
    if file != "manifest.json":
        path.write_text(before.replace(old, new, 1), encoding="utf-8")
        _hash_anew(bundle)
    else:
        path.write_text(before.replace(old, new, 1), encoding="utf-8")

    findings = verify(bundle.root).findings

    assert any(finding.startswith(file) and why in finding for finding in findings), findings


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"run": "another"}, "its run is said to be another, and must be run-1"),
        ({"environment": {"python": "3.10.4", "dependencies": "locked"}}, "its Python is said to be 3.10.4, and must be 3.12"),
        (
            {"environment": {"python": "3.12.4", "dependencies": "latest"}},
            "its dependencies is said to be latest, and",
        ),
        ({"model": {"id": "org/small"}}, "its model is said to be org/small, and must be org/a-llama"),
        ({"run": "run-1", "environment": {"python": "3.12.4", "dependencies": "locked"}, "model": {"id": "org/a-llama"}}, ""),
    ],
)
def test_a_record_of_another_run_environment_or_model_does_not_stand_for_its_cell(
    build: Any, begin: Any, sealed: Any, tmp_path: Path, told: dict[str, Any], why: str
) -> None:
    run = begin(build.plan(build.cell(A, model=build.model("org/a-llama"))))
    run.started(A)
    run.ended(A, "passed", 1, [run.told(A, **told)], log="logs/a.1.log")

    findings = verify(sealed(run, tmp_path / "bundle").root).findings

    assert len(findings) == bool(why)
    assert all(finding.startswith("tests.jsonl:1: ") and why in finding for finding in findings)


_WEIRD = (None, True, -1, 1e308, 10**30, "", "../../x", "javascript:alert(1)", "\x00", "9999-99-99T99:99:99Z", [], {}, [[]])


def test_whatever_stands_in_a_document_is_a_finding_or_a_sentence_and_never_a_traceback(bundle: Bundle) -> None:
    chance = random.Random(20260103)
    documents = [path for path in bundle.root.rglob("*.json*") if path.name != "manifest.json"]
    for _ in range(60):
        path = chance.choice(documents)
        content = path.read_bytes()
        lines = content.splitlines(keepends=True) if path.suffix == ".jsonl" else [content]
        number = chance.randrange(len(lines))
        lines[number] = json.dumps(_changed(json.loads(lines[number]), chance)).encode() + b"\n"
        path.write_bytes(b"".join(lines))
        _hash_anew(bundle)

        verify(bundle.root)
        with contextlib.suppress(QualificationError):
            html.render(load(bundle))
        path.write_bytes(content)


def _changed(document: Any, chance: random.Random) -> Any:
    """Something in it, at any depth, replaced by what nobody expects there."""
    if not isinstance(document, (dict, list)) or not document or chance.random() < 0.2:
        return chance.choice(_WEIRD)
    key = chance.choice(list(document) if isinstance(document, dict) else range(len(document)))
    copy = document.copy()
    copy[key] = _changed(document[key], chance)
    return copy


def test_a_failure_taken_out_of_records_and_journal_is_found_by_the_plan(bundle: Bundle) -> None:
    lines = bundle.journal.read_bytes().splitlines(keepends=True)
    bundle.journal.write_bytes(b"".join(lines[:3]))
    bundle.tests.write_bytes(
        b"".join(line for line in bundle.tests.read_bytes().splitlines(keepends=True) if b'"text[a]"' in line)
    )
    _hash_anew(bundle)

    assert any(
        "the verdict is said to be NOT_QUALIFIED, and follows to be INCOMPLETE" in each for each in verify(bundle.root).findings
    )


def test_a_record_that_is_changed_where_all_hashes_were_made_anew_is_found_by_the_journal(bundle: Bundle) -> None:
    bundle.tests.write_bytes(bundle.tests.read_bytes().replace(b'"failed"', b'"passed"'))
    _hash_anew(bundle)

    assert any("records_changed" in finding for finding in verify(bundle.root).findings)


def _hash_anew(bundle: Bundle) -> None:
    """What a forger would do who knows of the manifest."""
    document = json.loads(bundle.manifest.read_text(encoding="utf-8"))
    for part in ("sha256", "derived"):
        document[part] = {name: hashlib.sha256((bundle.root / name).read_bytes()).hexdigest() for name in document[part]}
    bundle.manifest.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


_OUTCOMES = (
    "passed",
    "failed",
    "leaked",
    "crashed",
    "timeout",
    "oom_guard",
    "harness_error",
    "interrupted",
    "debt",
    "flaky",
    "quarantined",
)
_EVENTS = st.tuples(
    st.sampled_from([A, B, C, "text[stranger]"]),
    st.sampled_from(["ran", "ran", "ran", "gated", "quarantined", "started", "late"]),
    st.sampled_from(_OUTCOMES),
    st.sampled_from([0, 0, 0, 1]),
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.lists(_EVENTS, max_size=6),
    first=st.sampled_from([0, 1]),
    measured=st.sampled_from([(), (Metric("token_s", 0.03, 0.08),)]),
    gates=st.lists(st.sampled_from(["blocker", "minor"]), min_size=3, max_size=3),
    required=st.fixed_dictionaries(
        {},
        optional={
            "groups": st.sampled_from([(), ("text",), ("text", "audio")]),
            "pythons": st.sampled_from([("3.12",), ("3.13",)]),
            "tiers": st.sampled_from([("64gb",), ("16gb",)]),
            "families": st.sampled_from([(("text", 1),), (("vision", 2),)]),
            "flaky": st.integers(0, 2),
        },
    ),
    quarantine=st.sampled_from(
        [
            (),
            ((None, A, "2999-01-01"),),
            (("tests_2.0/live/test_a.py::test_0", None, "2999-01-01"),),
            ((None, "text", "1999-01-01"),),
        ]
    ),
)
def test_the_second_derivation_agrees_with_the_first_on_any_run(
    tmp_path_factory: pytest.TempPathFactory,
    build: Any,
    begin: Any,
    events: Any,
    first: int,
    measured: Any,
    gates: Any,
    required: Any,
    quarantine: Any,
) -> None:
    folder = tmp_path_factory.mktemp("run")
    model = build.model(family="llama")
    cells = [
        build.cell(name, gate=gate, model=model if name == A else None, metrics=measured)
        for name, gate in zip((A, B, C), gates, strict=True)
    ]
    entries = tuple(Quarantined("us", "known", "a link", expires, test=test, cell=cell) for test, cell, expires in quarantine)
    left_out = (LeftOut("perf", "the first"),) * first
    run = begin(replace(build.plan(*cells, **required), quarantine=entries, left_out=left_out), folder)
    attempts: dict[str, int] = {}
    for cell, what, outcome, extra in events:
        if what in ("gated", "quarantined"):
            run.gated(cell, "ram" if what == "gated" else "quarantined")
            continue
        attempts[cell] = attempts.get(cell, 0) + (what != "late") + extra
        number = max(1, attempts[cell])
        if what != "late":
            run.started(cell, number)
        if what != "started":
            run.finished(cell, outcome, number, tests=(number + len(outcome)) % 3, log="logs/a.1.log")

    first = run.judge()
    second = account.derive(
        json.loads(freeze(run.plan)),
        run.plan_sha256,
        journal.read(run.journal),
        [(record, raw) for _, record, raw in records.read(run.tests)],
    )

    assert second.word == first.word
    assert second.outcomes == {cell.cell: cell.outcome for cell in first.cells}
    assert second.reasons == Counter((reason.weighs, reason.code) for reason in first.reasons)


def test_what_verifies_shares_nothing_with_the_runner_but_the_schemas() -> None:
    package = Path(qualification.__file__).parent
    imported = set()
    for file in (package / "verify").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [f"{node.module}.{alias.name}" for alias in node.names] if isinstance(node, ast.ImportFrom) else []
            imported |= {name for name in names if name.startswith("qualification")}

    assert {name.split(".")[1] for name in imported} == {"schemas", "verify"}
