"""What did not run is summed by what would pay it, with the time that earlier runs tell."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from qualification import history, needs, settings
from qualification.debt import debts

MIN = 60.0


def _cells(build: Any) -> list[Any]:
    models = [build.model(f"org/m{number}") for number in range(3)]
    owed = [build.cell(f"text[py312-locked,64gb,{model.model_id}]", model=model, tier="64gb") for model in models]
    return [*owed, build.cell("unit[py310-locked]"), build.cell("extra[py310-locked]")]


def test_debts_are_summed_by_what_pays_them(build: Any) -> None:
    cells = _cells(build)
    unpaid = {cell.id: "a 64gb machine" if cell.tier else "a machine with Python 3.10" for cell in cells}
    took = {"text[py312-locked,16gb,org/m0]": 10 * MIN, "text[py312-locked,16gb,org/m1]": 18 * MIN, "unit[py310-locked]": 30.0}
    took["text[py312-locked,64gb,org/m2]"] = 13 * MIN

    found = debts(build.plan(*cells, groups=("text", "unit")), unpaid, took)

    # m0 and m1 were not run on 64gb: each is taken as the mean of the group, (10 + 18 + 13) / 3
    assert [str(debt) for debt in found] == [
        "a 64gb machine: 3 cells, 3 models, about 40 min",
        "a machine with Python 3.10: 1 cell, about 30.0 s",
    ]


def test_what_nobody_has_run_yet_has_no_time(build: Any) -> None:
    (cell, *_) = _cells(build)

    (debt,) = debts(build.plan(cell), {cell.id: "a 64gb machine"}, {})

    assert str(debt) == "a 64gb machine: 1 cell, 1 model"


def test_only_what_is_required_is_owed(build: Any) -> None:
    (*_, extra) = _cells(build)

    assert debts(build.plan(extra, groups=()), {extra.id: "anything"}, {}) == ()


def _bundle(reports: Path, name: str, *lines: Any) -> None:
    bundle = reports / name
    bundle.mkdir(parents=True)
    cells = [{"id": "text[a]", "model": {"model_id": "org/m", "revision": "r"}}, {"id": "unit[a]", "model": None}]
    (bundle / "plan.json").write_text(json.dumps({"cells": cells}))
    (bundle / "journal.jsonl").write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))


def _finished(cell: str, seconds: float, peak: int, outcome: str = "passed") -> dict[str, Any]:
    return {"event": "cell_finished", "cell": cell, "outcome": outcome, "duration_s": seconds, "peak_bytes": peak}


def test_earlier_runs_tell_the_median_time_and_the_largest_peak(tmp_path: Path) -> None:
    for number, seconds in enumerate((1.0, 9.0, 2.0)):
        _bundle(tmp_path, f"run-{number}", _finished("text[a]", seconds, 100 * number), _finished("unit[a]", 5.0, 7))
    _bundle(tmp_path, "run-3", _finished("text[a]", 600.0, 10**9, "timeout"), {"event": "cell_started"})

    told = history.read(tmp_path)

    assert told.seconds == {"text[a]": 2.0, "unit[a]": 5.0}
    assert told.peaks == {("org/m", "r"): 200}


def test_a_damaged_bundle_tells_what_it_can_and_stops_nobody(tmp_path: Path) -> None:
    _bundle(tmp_path, "run-1", "garbage\n", _finished("unit[a]", 5.0, 7), '{"event": "cell_fin')
    (tmp_path / "run-1/plan.json").write_text("{")
    _bundle(tmp_path, "run-2")
    (tmp_path / "run-2/journal.jsonl").unlink()

    assert history.read(tmp_path) == history.History({"unit[a]": 5.0}, {})
    assert history.read(tmp_path / "absent") == history.History()


@pytest.mark.parametrize(
    ("variables", "wanted", "missing"),
    [
        ({}, ["credentials"], {"credentials": "HF_TOKEN is not set"}),
        ({"HF_TOKEN": "hf_x"}, ["credentials"], {}),
        ({}, ["hub"], {}),
        ({}, [], {}),
    ],
)
def test_a_need_is_looked_for_and_told(monkeypatch: Any, variables: dict[str, str], wanted: Any, missing: Any) -> None:
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert needs.missing(wanted) == missing


def test_the_network_is_there_when_the_hub_answers(monkeypatch: Any) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listening.getsockname()[1]}")
        accepted = threading.Thread(target=listening.accept)
        accepted.start()
        assert needs.missing(["network"]) == {}
        accepted.join(timeout=10)

    assert "127.0.0.1 cannot be reached" in needs.missing(["network"])["network"]


def test_only_a_cell_that_needs_them_gets_the_user_s_credentials(monkeypatch: Any) -> None:
    for name in settings.live():
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("MLXK2_LIVE_REPO", "org/model")
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")

    assert needs.environment([]) == needs.environment(["hub"]) == {}
    assert needs.environment(["network"]) == {"MLXK2_LIVE_REPO": "org/model", "HF_ENDPOINT": "https://hub.example"}
    assert needs.environment(["credentials"]) == {"MLXK2_LIVE_REPO": "org/model", "HF_TOKEN": "hf_secret"}
