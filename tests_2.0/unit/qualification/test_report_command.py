"""``python -m qualification report``: what each action prints, writes and exits with."""

from __future__ import annotations

import hashlib
import json
import resource
from pathlib import Path
from typing import Any

import pytest

from qualification import bundle, journal, records
from qualification.bundle import Bundle
from qualification.cli import main
from qualification.verify import verify

A, B, C = "text[a,16gb]", "text[b,64gb]", "unit[c]"
OLD = {
    "schema_version": "0.2.0",
    "timestamp": "2025-11-16T10:30:00+01:00",
    "mlx_knife_version": "2.0.3",
    "test": "test_a.py::test_it",
    "outcome": "passed",
    "performance": {"tokens_per_sec": 45.2, "mood": "good"},
}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.jsonl"
    path.write_text(json.dumps(OLD) + "\n", encoding="utf-8")
    return path


def test_validate_counts_each_file_and_names_each_wrong_line(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with old.open("a", encoding="utf-8") as file:
        file.write("{}\nnot json\n" + json.dumps({**OLD, "schema_version": "0.1.0", "timeline": {}}) + "\n")

    code = main(["report", "validate", str(old), str(old.with_name("none.jsonl"))])

    assert code == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{old}: 1 of 4 records valid"
    assert lines[1] == f"{old}:2: schema_version: None is none of 0.1.0, 0.2.0, 0.2.1, 0.2.2, 1.0.0"
    assert lines[2].startswith(f"{old}:3: not a JSON line")
    assert lines[3].startswith(f"{old}:4: ") and "'timeline' was unexpected" in lines[3]
    assert lines[4] == f"{old.with_name('none.jsonl')} cannot be read: No such file or directory"


def _told(number: int, **changes: Any) -> dict[str, Any]:
    return {**OLD, "test": f"test_a.py::test_{number}", "model": {"id": "org/a"}, **changes}


def _written(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_keep_adds_the_tests_on_models_to_the_file_of_their_day_and_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = _written(tmp_path / "first.jsonl", _told(1), {**OLD, "test": "test_b.py::test_without_a_model"})
    second = _written(tmp_path / "second.jsonl", _told(2, timestamp="2025-11-16T23:59:59Z"))
    kept = tmp_path / "kept" / "2025-11-16-v2.0.3.jsonl"

    assert main(["report", "keep", str(first), "--into", str(kept.parent)]) == 0
    once = kept.read_bytes()
    assert main(["report", "keep", str(second), "--into", str(kept.parent)]) == 0

    assert [json.loads(line)["test"] for line in kept.read_bytes().splitlines()] == ["test_a.py::test_1", "test_a.py::test_2"]
    assert kept.read_bytes().startswith(once)
    assert json.loads(once) == _told(1)
    assert capsys.readouterr().out == f"{kept}: 1 records added\n" * 2


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([_told(1)], "has test_a.py::test_1 of 2025-11-16T10:30:00+01:00 already; a run is kept once"),
        ([OLD], "holds no record of a test on a model"),
        ([_told(2), _told(3, mlx_knife_version="2.0.4")], "holds records of 2.0.3 and 2.0.4"),
        ([_told(2, outcome="lost")], ":1: outcome: 'lost' is not one of"),
    ],
    ids=["again", "no model", "two versions", "invalid"],
)
def test_keep_changes_nothing_where_it_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[dict[str, Any]], said: str
) -> None:
    kept = _written(tmp_path / "2025-11-16-v2.0.3.jsonl", _told(1))
    before = kept.read_bytes()

    code = main(["report", "keep", str(_written(tmp_path / "new.jsonl", *lines)), "--into", str(tmp_path)])

    assert (code, kept.read_bytes()) == (2, before)
    assert said in capsys.readouterr().err


def test_validate_is_content_with_a_valid_file(old: Path) -> None:
    assert main(["report", "validate", str(old)]) == 0


def test_migrate_writes_a_valid_file_and_back_gives_the_old_one(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = old.with_name("new.jsonl")

    assert main(["report", "migrate", str(old), "-o", str(new)]) == 0
    assert main(["report", "validate", str(new)]) == 0
    capsys.readouterr()
    assert main(["report", "migrate", str(new), "--back"]) == 0

    assert json.loads(capsys.readouterr().out) == OLD


def test_migrate_overwrites_nothing(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = old.read_bytes()

    assert main(["report", "migrate", str(old), "-o", str(old)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert old.read_bytes() == before


def test_a_file_that_is_no_report_is_named_with_its_line(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old.write_text('{"a": 1}\n', encoding="utf-8")

    assert main(["report", "show", str(old)]) == 2
    assert f"{old}:1: schema_version" in capsys.readouterr().err


@pytest.fixture
def bundles(build: Any, begin: Any, sealed: Any, tmp_path: Path) -> tuple[Bundle, Bundle]:
    """One plan of two machines: the first runs A and C and owes B, the second runs B and owes A."""
    planned = build.plan(build.cell(A, tier="16gb"), build.cell(B, tier="64gb"), build.cell(C), tiers=("16gb", "64gb"))
    made = []
    for name, mine, owed in (("small", (A, C), (B,)), ("large", (B,), (A, C))):
        (tmp_path / name).mkdir()
        run = begin(planned, tmp_path / name, f"run-{name}")
        for cell in mine:
            run.ran(cell, tests=2, log=f"logs/{cell[0]}.log")
        for cell in owed:
            run.gated(cell, "tier_elsewhere")
        made.append(sealed(run, tmp_path / "bundles" / name))
    return made[0], made[1]


def test_two_machines_pay_each_others_debt(
    bundles: tuple[Bundle, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    merged = tmp_path / "merged"
    assert [json.loads(each.verdict.read_text(encoding="utf-8"))["word"] for each in bundles] == ["INCOMPLETE", "INCOMPLETE"]

    code = main(["report", "merge", *(str(each.root) for each in bundles), "-o", str(merged)])

    assert code == 0
    assert capsys.readouterr().out.startswith("QUALIFIED: ")
    verified = verify(merged)
    assert (verified.word, verified.findings) == ("QUALIFIED", ())
    assert verified.records == 6


def test_a_merged_bundle_names_the_seals_of_its_parts_and_keeps_their_records(
    bundles: tuple[Bundle, Bundle], tmp_path: Path
) -> None:
    main(["report", "merge", *(str(each.root) for each in bundles), "-o", str(tmp_path / "merged")])
    merged = Bundle(tmp_path / "merged")

    seals = {event["manifest_sha256"] for event in journal.read(merged.journal) if event["event"] == "bundle_merged"}
    assert seals == {hashlib.sha256(each.manifest.read_bytes()).hexdigest() for each in bundles}
    parts = [record for each in bundles for _, record, _ in records.read(each.tests)]
    assert sorted(map(json.dumps, (record for _, record, _ in records.read(merged.tests)))) == sorted(map(json.dumps, parts))
    assert len(json.loads(merged.machine.read_text(encoding="utf-8"))["machines"]) == 2
    assert merged.memory.read_bytes() == b"".join(each.memory.read_bytes() for each in bundles)


def test_merging_loses_nothing_that_lies_among_the_logs(build: Any, begin: Any, sealed: Any, tmp_path: Path) -> None:
    planned = build.plan(build.cell(A))
    roots = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        run = begin(planned, tmp_path / name, f"run-{name}")
        run.ran(A, tests=1, log="logs/a.1.log")
        run.started(A, 2)
        made = sealed(run, tmp_path / "bundles" / name)
        made.manifest.unlink()
        for file in (made.log(A, 2), made.document(A, 1, "found.json"), made.logs / "other.txt"):
            file.write_text(f"{name}: {file.name}", encoding="utf-8")
        main(["verdict", str(made.root)])
        roots.append(str(made.root))

    main(["report", "merge", *roots, "-o", str(tmp_path / "merged")])

    merged = Bundle(tmp_path / "merged")
    kept = {file.name: file.read_text(encoding="utf-8").partition(":")[0] for file in merged.logs.iterdir()}
    assert verify(merged.root).findings == ()
    assert len(kept) == 8
    for number, name in enumerate(("first", "second")):
        assert kept[merged.log(A, 2 * number + 2).name] == name
        assert kept[merged.document(A, 2 * number + 1, "found.json").name] == name
        assert kept[f"run-{name}.other.txt"] == name


def test_a_cell_that_failed_on_one_machine_and_passed_on_another_is_flaky(
    build: Any, begin: Any, sealed: Any, tmp_path: Path
) -> None:
    planned = build.plan(build.cell(A), flaky=1)
    roots = []
    for name, outcome in (("first", "failed"), ("second", "passed")):
        (tmp_path / name).mkdir()
        run = begin(planned, tmp_path / name, f"run-{name}")
        run.ran(A, outcome, tests=2, log="logs/a.1.log")
        roots.append(str(sealed(run, tmp_path / "bundles" / name).root))

    code = main(["report", "merge", *roots, "-o", str(tmp_path / "merged")])

    assert code == 4
    assert verify(tmp_path / "merged").holds
    assert {record["attempt"] for _, record, _ in records.read(tmp_path / "merged" / "tests.jsonl")} == {1, 2}
    assert len(list((tmp_path / "merged" / "logs").iterdir())) == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"matrix": "nightly"}, "differ in their matrix"),
        ({"inputs": {"wheel_sha256": "d" * 64}}, "differ in their inputs"),
        ({"cells": {"timeout_s": 1.0}}, "mean different things by text[a,16gb]"),
    ],
)
def test_runs_of_different_questions_are_not_merged(
    build: Any, begin: Any, sealed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], why: str
) -> None:
    from dataclasses import replace

    planned = build.plan(build.cell(A))
    other = replace(
        planned, matrix=change.get("matrix", planned.matrix), inputs=replace(planned.inputs, **change.get("inputs", {}))
    )
    other = replace(other, cells=tuple(replace(cell, **change.get("cells", {})) for cell in other.cells))
    roots = []
    for name, plan in (("one", planned), ("two", other)):
        (tmp_path / name).mkdir()
        roots.append(str(sealed(begin(plan, tmp_path / name, f"run-{name}"), tmp_path / "bundles" / name).root))

    assert main(["report", "merge", *roots, "-o", str(tmp_path / "merged")]) == 2
    assert why in capsys.readouterr().err
    assert not (tmp_path / "merged").exists()


def test_one_bundle_is_not_merged_with_itself(
    bundles: tuple[Bundle, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(bundles[0].root)

    assert main(["report", "merge", root, root, "-o", str(tmp_path / "merged")]) == 2
    assert "named twice" in capsys.readouterr().err


def test_a_run_whose_name_is_a_path_leads_nowhere_when_it_is_merged(build: Any, begin: Any, sealed: Any, tmp_path: Path) -> None:
    roots = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run = begin(build.plan(build.cell(A)), tmp_path / name, f"../../{name}/../../escaped")
        run.ran(A, log="logs/a.1.log")
        made = sealed(run, tmp_path / "bundles" / name)
        made.manifest.unlink()
        (made.logs / "other.txt").write_text(name, encoding="utf-8")
        main(["verdict", str(made.root)])
        roots.append(str(made.root))
    before = sorted(tmp_path.rglob("*"))

    assert main(["report", "merge", *roots, "-o", str(tmp_path / "merged")]) == 0

    made_files = set(tmp_path.rglob("*")) - set(before)
    assert all(path == tmp_path / "merged" or tmp_path / "merged" in path.parents for path in made_files)
    assert sorted(path.name for path in (tmp_path / "merged" / "logs").glob("*.other.txt")) == [
        "one-..-..-escaped.other.txt",
        "two-..-..-escaped.other.txt",
    ]
    assert verify(tmp_path / "merged").findings == ()


def test_a_merger_that_the_disk_has_no_room_for_leaves_nothing(
    bundles: tuple[Bundle, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))  # a file may be no larger, as on a full disk
    try:
        code = main(["report", "merge", *(str(each.root) for each in bundles), "-o", str(tmp_path / "merged")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert code == 2
    assert "cannot be written: File too large" in capsys.readouterr().err
    assert not (tmp_path / "merged").exists()


def test_a_bundle_that_was_changed_is_neither_merged_nor_compared(
    bundles: tuple[Bundle, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roots = [str(each.root) for each in bundles]
    bundles[0].memory.write_bytes(b"")

    assert main(["report", "merge", *roots, "-o", str(tmp_path / "merged")]) == 3
    assert main(["report", "diff", *roots]) == 3
    assert capsys.readouterr().err.count("memory.jsonl: changed since the bundle was sealed") == 2


def test_verify_prints_the_seal_and_holds_a_bundle_to_the_one_that_is_named(
    bundles: tuple[Bundle, Bundle], capsys: pytest.CaptureFixture[str]
) -> None:
    root, seal = str(bundles[0].root), hashlib.sha256(bundles[0].manifest.read_bytes()).hexdigest()

    assert main(["report", "verify", root, "--seal", seal]) == 0
    assert capsys.readouterr().out == f"VERIFIED: INCOMPLETE (3 cells, 4 records), sealed {seal}\n"
    assert main(["report", "verify", root, "--seal", "0" * 64]) == 3
    assert "NOT VERIFIED: 1 finding" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["ctrf", "html", "junit"])
def test_an_export_is_the_file_that_the_verdict_wrote(bundles: tuple[Bundle, Bundle], tmp_path: Path, form: str) -> None:
    bundle = bundles[0]
    written = {"ctrf": bundle.ctrf, "html": bundle.index, "junit": bundle.junit}[form]

    assert main(["report", "export", str(bundle.root), "--format", form, "-o", str(tmp_path / "out")]) == 0

    assert (tmp_path / "out").read_bytes() == written.read_bytes()


def test_an_export_to_nowhere_is_one_sentence(
    bundles: tuple[Bundle, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "none" / "out"

    assert main(["report", "export", str(bundles[0].root), "--format", "markdown", "-o", str(target)]) == 2
    assert capsys.readouterr().err == f"qualification report: {target} cannot be written: No such file or directory\n"


@pytest.mark.parametrize("damage", ["changed", "unsealed"])
def test_no_statement_vouches_for_a_bundle_that_does_not_verify(
    bundles: tuple[Bundle, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    target, command = tmp_path / "out", ["report", "export", str(bundles[0].root), "--format", "in-toto", "-o"]
    assert main([*command, str(tmp_path / "whole")]) == 0

    bundles[0].memory.write_bytes(b"") if damage == "changed" else bundles[0].manifest.unlink()

    assert main([*command, str(target)]) == 3
    assert "does not verify: " in capsys.readouterr().err
    assert not target.exists()


def test_a_bundle_that_a_run_is_working_on_is_not_judged_and_stays_as_it_is(
    bundles: tuple[Bundle, Bundle], capsys: pytest.CaptureFixture[str]
) -> None:
    root = bundles[0].root
    with bundle.claimed(bundles[0]):
        before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

        assert main(["verdict", str(root)]) == 2

        assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    assert "another run is working on" in capsys.readouterr().err


def test_a_workflow_gets_the_verdict_on_its_page(
    bundles: tuple[Bundle, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    main(["verdict", str(bundles[0].root)])

    assert summary.read_text(encoding="utf-8").startswith("before\n## ⏳ INCOMPLETE\n")


def test_a_bundle_is_sealed_again_to_the_same_bytes(bundles: tuple[Bundle, Bundle]) -> None:
    def kept() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in bundles[0].root.iterdir() if path.is_file() and path.name != ".lock"}

    before = kept()

    main(["verdict", str(bundles[0].root)])

    assert kept() == before
