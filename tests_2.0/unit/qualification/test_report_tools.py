"""The front doors in ``benchmarks/``: what they write and exit with, and that the documented recipes run as they stand."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jq
import pytest

from qualification.report import benchmark, history, memmon, memplot, summary

ROOT = Path(__file__).parents[3]
BENCHMARKS = ROOT / "benchmarks"
START = 1_767_225_600.0
"""2026-01-01T00:00:00Z."""


def _record(number: int, model: str, size_gb: float, duration: float, **changes: Any) -> dict[str, Any]:
    """A record as the hooks of schema 0.2.1 wrote it: no start and no end, and health in words of their own."""
    return {
        "schema_version": "0.2.1",
        "timestamp": f"2026-01-01T00:{number:02d}:00Z",
        "mlx_knife_version": "2.0.4",
        "test": f"tests_2.0/live/test_a.py::test_it[{model}]",
        "outcome": "passed",
        "duration": duration,
        "model": {"id": model, "size_gb": size_gb},
        "metadata": {"inference_modality": "text"},
        "system_health": {"swap_used_mb": 0, "ram_free_gb": 40.0, "zombie_processes": 0, "quality_flags": ["clean"]},
        **changes,
    }


NOW = [
    _record(1, "org/large-4bit", 25.0, 30.0),
    _record(2, "org/small", 2.0, 11.0),
    _record(3, "org/small", 2.0, 0.4, test="tests_2.0/live/test_a.py::test_quick[org/small]"),
    _record(4, "org/seeing", 12.6, 20.0, metadata={"inference_modality": "vision"}),
    _record(
        5, "org/small", 2.0, 5.0, test="tests_2.0/live/test_b.py::test_other[org/small]", outcome="failed",
        system_health={"swap_used_mb": 250, "ram_free_gb": 3.0, "zombie_processes": 1, "quality_flags": ["degraded_swap"]},
    ),
]  # fmt: skip
BEFORE = [_record(1, "org/large-4bit", 25.0, 20.0), _record(2, "org/small", 2.0, 12.0)]
SAMPLES = [
    {"ts": START + second, "elapsed_s": second, "ram_free_gb": 40.0 - (second == 45) * 25, "swap_used_mb": 0.0, "load_1": 1.0,
     "memory_pressure": 1, "gpu_device_util": 0 if second <= 30 else 80}
    for second in range(0, 301, 5)
]  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, lines in (("2026-benchmark.jsonl", NOW), ("2026-memory.jsonl", SAMPLES), ("old.jsonl", BEFORE)):
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return tmp_path


def _front_door(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(BENCHMARKS / script), *arguments]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=60, check=False, env=os.environ.copy())


@pytest.mark.parametrize(
    ("script", "arguments", "written"),
    [
        ("validate_reports.py", ("2026-benchmark.jsonl",), None),
        ("generate_benchmark_report.py", ("2026-benchmark.jsonl",), "BENCHMARK-v1.1-2.0.4-2026-01-01.md"),
        ("tools/memmon.py", ("--duration", "0.2"), "memory.jsonl"),
        ("tools/memplot.py", ("2026-memory.jsonl", "2026-benchmark.jsonl"), "memory_timeline.html"),
    ],
)
def test_each_front_door_opens_from_any_directory(
    files: Path, script: str, arguments: tuple[str, ...], written: str | None
) -> None:
    done = _front_door(script, *arguments, cwd=files)

    assert (done.returncode, done.stderr) == (0, "")
    assert written is None or (files / written).stat().st_size > 0


def _section(report: str, heading: str) -> list[str]:
    body = report.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [line for line in body.splitlines() if line]


@pytest.fixture
def report(files: Path) -> str:
    arguments = [str(files / "2026-benchmark.jsonl"), "--compare", str(files / "old.jsonl"), "--output", str(files / "out.md")]
    assert benchmark.main(arguments) == 0
    return (files / "out.md").read_text(encoding="utf-8")


def test_a_benchmark_report_has_all_its_sections_in_order(report: str) -> None:
    assert re.findall(r"^#+ (.*)$", report, re.MULTILINE) == [
        "Benchmark report: mlxk 2.0.4",
        "Input files",
        "Executive summary",
        "Test summary",
        "System health",
        "Per-model statistics",
        "Model categories",
        "Per-test statistics",
        "GPU analysis",
        "Files",
    ]


def test_the_summary_counts_tests_time_quality_and_what_changed(report: str) -> None:
    assert _section(report, "Executive summary") == [
        "- Tests: 5, 4 passed",
        "- Duration: 1.1 min",
        "- Quality: 80 % of 5 tests on a clean machine",
        "- Models: 3",
        "- Comparison: 0.5 → 1.1 min; 1 models slower, 1 faster, of 2 in both",
        "- System health: degraded_swap in 1 tests",
    ]
    assert "| failed | 1 | 20.0 % |" in report


def test_each_model_and_modality_has_a_row_with_its_change_and_quick_tests_do_not_count(report: str) -> None:
    rows = _section(report, "Per-model statistics")[2:]

    assert rows == [
        "| org/large-4bit | 25.0 GB | text | 1 | 30.0 s | 15.0–40.0 free | 20.0 s | +10.0 s | +50.0 % 🔺 |",
        "| org/seeing | 12.6 GB | vision | 1 | 20.0 s | 40.0 free | – | – | new |",
        "| org/small | 2.0 GB | text | 2 | 16.0 s | 40.0 free | 12.0 s | +4.0 s | -8.3 % 🔽 |",
    ]


def test_a_test_without_times_ran_from_its_end_less_its_duration(files: Path) -> None:
    """So the large model's test ran from second 30 to 60, and at 45 least memory was free: hence its 15.0 above."""
    records = history.read(files / "2026-benchmark.jsonl")

    assert summary.window(records[0]) == (START + 30, START + 60)


def test_models_are_sorted_into_categories_by_size(report: str) -> None:
    assert [row.split(" | ")[0] for row in _section(report, "Model categories")[2:]] == [
        "| Large (≥ 20 GB)",
        "| Medium (10–20 GB)",
        "| Small (< 10 GB)",
    ]


def test_each_test_has_its_fastest_slowest_and_median_model(report: str) -> None:
    assert _section(report, "Per-test statistics")[2:] == [
        "| `test_it` | 3 | 11.0 s (small) | 30.0 s (large-4bit) | 20.0 s | 16.0 s |",
        "| `test_other` | 1 | 5.0 s (small) | 5.0 s (small) | 5.0 s | – |",
    ]


def test_the_gpu_s_cold_starts_and_busy_tests_are_told(report: str) -> None:
    lines = _section(report, "GPU analysis")

    assert lines[0] == "Cold starts (the GPU idle when the test began): 1."
    assert "More than 50 % in the mean: 5 tests." in lines


def test_samples_of_memory_are_no_report(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main([str(files / "2026-memory.jsonl")]) == 2
    assert "give it with --memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "code"), [("pass", 0), ("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_memmon_ends_with_the_commands_code_and_a_summary(tmp_path: Path, program: str, code: int) -> None:
    output = tmp_path / "memory.jsonl"

    assert memmon.main(["--output", str(output), "--interval", "20", "--", sys.executable, "-c", program]) == code

    *samples, last = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    told = last["summary"]
    assert (told["exit_code"], told["samples"], told["interval_ms"]) == (code, len(samples), 20.0)
    assert told["ram_free_min_gb"] == min(sample["ram_free_gb"] for sample in samples)
    assert all(earlier["ts"] <= later["ts"] for earlier, later in pairwise(samples))


def test_memmon_ends_a_command_that_outlives_its_duration(tmp_path: Path) -> None:
    program = "import sys; sys.stdin.read()"
    child = [sys.executable, "-c", program]

    read, write = os.pipe()
    try:
        argv = [
            sys.executable,
            str(BENCHMARKS / "tools" / "memmon.py"),
            "--duration",
            "0.3",
            "--output",
            str(tmp_path / "m"),
            "--",
            *child,
        ]
        code = subprocess.run(argv, stdin=read, timeout=60, check=False).returncode
    finally:
        os.close(read)
        os.close(write)

    assert code == 143


def test_memmon_says_in_one_sentence_what_cannot_be_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert memmon.main(["--output", str(tmp_path / "m"), "--", "no-such-command"]) == 2
    assert capsys.readouterr().err == "memmon: no-such-command: No such file or directory\n"


def test_the_gpus_figures_are_read_from_what_macos_prints() -> None:
    text = '"PerformanceStatistics" = {"Tiler Utilization %"=3,"Renderer Utilization %"=41,"Device Utilization %"=42}'

    assert memmon.gpu_figures(text) == {"gpu_active": True, "gpu_device_util": 42, "gpu_renderer_util": 41, "gpu_tiler_util": 3}
    assert memmon.gpu_figures("") == dict.fromkeys(("gpu_device_util", "gpu_renderer_util", "gpu_tiler_util")) | {
        "gpu_active": False
    }


class _Links(HTMLParser):
    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.outside: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.outside += [
            value for name, value in attrs if name in ("src", "href", "xlink:href") and value and not value.startswith("#")
        ]


def test_memplot_writes_one_html_file_that_needs_nothing_else(files: Path) -> None:
    samples, spans = memplot.read_samples(files / "2026-memory.jsonl"), memplot.read_spans(files / "2026-benchmark.jsonl")

    odd = [replace(span, label=f"org/$\\frac{{ {span.label[4:]}") for span in spans]  # no formula, whatever its dollars

    page = memplot.draw(samples, odd, "<b>title</b> $", "html").decode()

    found = _Links(page)
    assert found.outside == []
    assert not {"script", "link", "img", "b"} & found.tags
    assert "large-4bit" in page
    assert "<td>15.00" in page


def test_memplot_writes_png_and_svg(files: Path) -> None:
    samples = memplot.read_samples(files / "2026-memory.jsonl")

    png, svg = (memplot.draw(samples, [], "title", form) for form in ("png", "svg"))

    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (1800, 975)
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"


def test_memplot_reads_the_samples_of_a_bundle(tmp_path: Path) -> None:
    path = tmp_path / "memory.jsonl"
    path.write_text(
        json.dumps({"ts": 1.0, "cell": "a", "available_bytes": 5_000_000_000, "swap_used_bytes": 2_000_000}), encoding="utf-8"
    )

    assert memplot.read_samples(path)[0] | {"ram_free_gb": 5.0, "swap_used_mb": 2.0} == memplot.read_samples(path)[0]


def test_memplot_names_a_file_without_samples(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert memplot.main([str(files / "old.jsonl")]) == 2
    assert "holds no sample of memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ('{"ts": "now", "ram_free_gb": 1}', "ts is no figure"),
        ('{"ts": 1}', "ram_free_gb is no figure"),
        ('{"ts": 1, "available_bytes": null}', "available_bytes is no figure"),
        ('{"ts": 1, "ram_free_gb": 1, "load_1": "much"}', "load_1 is no figure"),
        ('{"ts": 1, "ram_free_gb": NaN}', "NaN is no number of JSON"),
        ("{", "cannot be read as JSON lines"),
    ],
)
def test_memplot_names_a_sample_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, wrong: str) -> None:
    (tmp_path / "memory.jsonl").write_text(f'{{"ts": 0, "ram_free_gb": 1}}\n{line}\n', encoding="utf-8")

    assert memplot.main([str(tmp_path / "memory.jsonl"), "-o", str(tmp_path / "out.svg"), "--format", "svg"]) == 2
    assert wrong in capsys.readouterr().err
    assert not (tmp_path / "out.svg").exists()


def _recipes() -> list[tuple[bool, str]]:
    """Each recipe of the README: whether it reads all records as one array, and its program."""
    blocks = re.findall(
        r"```jq\njq (-s|-c) '(.*?)' benchmark\.jsonl\n```", (BENCHMARKS / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    return [(flag == "-s", program) for flag, program in blocks]


MODEL = {"id": "m"}
RICH = [
    {
        "outcome": "passed",
        "duration": 2.0,
        "test": "a",
        "model": MODEL,
        "performance": {"generation_tps": 30, "peak_ram_gb": 2.5},
        "stop_tokens": {"leaked": True, "detected": ["</s>"]},
        "system_health": {"quality_flags": ["degraded_swap"]},
    },
    {
        "outcome": "passed",
        "duration": 3.0,
        "test": "b",
        "model": MODEL,
        "performance": {"generation_tps": 10, "peak_ram_gb": 1.5},
        "stop_tokens": {"leaked": False},
        "metadata": {"inference_modality": "text"},
        "system_health": {"quality_flags": ["clean"]},
    },
    {"outcome": "failed", "duration": 1.0, "test": "c"},
]


def test_every_recipe_of_the_readme_runs_as_written() -> None:
    answers = [
        jq.compile(program).input_value(RICH).all()
        if whole
        else [each for record in RICH for each in jq.compile(program).input_value(record).all()]
        for whole, program in _recipes()
    ]

    assert answers == [
        [[{"outcome": "failed", "tests": 1}, {"outcome": "passed", "tests": 2}]],
        [[{"test": "b", "duration": 3.0}, {"test": "a", "duration": 2.0}, {"test": "c", "duration": 1.0}]],
        [[{"model": "m", "tokens_per_s": 30}]],
        [[{"model": "m", "peak_ram_gb": 2.5}]],
        [{"test": "a", "model": "m", "detected": ["</s>"]}],
        [{"test": "a", "flags": ["degraded_swap"]}],
        [{"text": 1, "unknown": 2}],
    ]
