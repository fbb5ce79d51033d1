"""The store of baselines: figures by hand, what counts as a regression, and that nothing is ever lost."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from qualification.errors import BaselineError
from qualification.performance import baselines

BERT = {"inference_time_mean": 0.02, "inference_time_median": 0.02, "inference_time_min": 0.01, "memory_peak_mb": 400.0}


def test_an_entry_has_the_documented_form():
    entry = baselines.entry([0.03, 0.01, 0.02, 0.06], 456.78, "cpu", now=datetime(2026, 2, 2, 1, 0, 0))

    assert entry == {
        "inference_time_mean": pytest.approx(0.03),
        "inference_time_median": pytest.approx(0.025),
        "inference_time_min": 0.01,
        "inference_time_max": 0.06,
        "memory_peak_mb": 456.78,
        "timestamp": "2026-02-02T01:00:00.000000",
        "device": "cpu",
    }
    assert baselines.key("BERT", "cpu") == "BERT_cpu"


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"inference_time_mean": 0.024}, []),  # 20 % above is within 20 %
        ({"inference_time_mean": 0.0241}, ["inference_time_mean"]),
        ({"inference_time_max": 9.0}, []),
        ({"memory_peak_mb": 500.0, "inference_time_min": 0.005}, ["memory_peak_mb"]),
        ({"inference_time_min": None}, []),
    ],
)
def test_only_what_is_beyond_the_tolerance_is_a_regression(changes, found):
    regressions = baselines.regressions(BERT, {**BERT, **changes}, tolerance=0.2)

    assert [each.figure for each in regressions] == found


@pytest.mark.parametrize("was", [0, -1.0, None, "0.02", True, float("nan")])
def test_a_baseline_that_is_no_figure_judges_nothing(was):
    assert baselines.regressions({"inference_time_mean": was}, {"inference_time_mean": 1.0}, tolerance=0.2) == ()


def test_a_regression_says_how_much():
    (found,) = baselines.regressions({"inference_time_mean": 0.02}, {"inference_time_mean": 0.025}, tolerance=0.2)

    assert str(found) == "inference_time_mean 0.025 is 25% above its baseline 0.02"


def test_an_update_keeps_all_other_entries_and_what_it_does_not_know(tmp_path):
    path = tmp_path / "baselines.json"
    path.write_text(json.dumps({"BERT_cuda": {"note": "by hand"}, "BERT_cpu": BERT}), encoding="utf-8")

    baselines.update(path, "BERT_cpu", {"inference_time_mean": 1.0})

    assert baselines.load(path) == {"BERT_cuda": {"note": "by hand"}, "BERT_cpu": {"inference_time_mean": 1.0}}
    assert [file.name for file in tmp_path.iterdir()] == ["baselines.json"]


def test_updates_at_a_time_lose_nothing_of_each_other(tmp_path):
    path = tmp_path / "baselines.json"
    names = [f"model-{number}_cpu" for number in range(64)]

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: baselines.update(path, name, BERT), names))

    assert sorted(baselines.load(path)) == sorted(names)


@pytest.mark.parametrize("content", ["{", "", "[]", '{"BERT_cpu": 3}', "\udcff"])
def test_a_corrupt_file_is_said_and_left_as_it_is(tmp_path, content):
    path = tmp_path / "baselines.json"
    before = content.encode("utf-8", "surrogateescape")
    path.write_bytes(before)

    with pytest.raises(BaselineError, match=r"baselines\.json .*mend it or delete it"):
        baselines.load(path)
    with pytest.raises(BaselineError, match="mend it or delete it"):
        baselines.update(path, "BERT_cpu", BERT)
    assert path.read_bytes() == before


def test_a_read_only_file_is_said_and_left_as_it_is(tmp_path):
    path = tmp_path / "baselines.json"
    path.write_text("{}", encoding="utf-8")
    path.chmod(0o444)

    with pytest.raises(BaselineError, match=r"cannot be written \(it is read-only\); make it and its folder writable"):
        baselines.update(path, "BERT_cpu", BERT)
    assert path.read_text(encoding="utf-8") == "{}"
    assert [file.name for file in tmp_path.iterdir()] == ["baselines.json"]


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(BaselineError, match="cannot be written"):
        baselines.update(tmp_path / "absent" / "baselines.json", "BERT_cpu", BERT)


def test_what_cannot_be_stored_leaves_the_file_and_no_part_of_a_new_one(tmp_path):
    path = tmp_path / "baselines.json"
    baselines.update(path, "BERT_cpu", BERT)

    with pytest.raises(TypeError):
        baselines.update(path, "BERT_cuda", {"inference_time_mean": object()})
    assert baselines.load(path) == {"BERT_cpu": BERT}
    assert [file.name for file in tmp_path.iterdir()] == ["baselines.json"]
