"""Verifying a bundle of 10,000 records, and the page of a run of 2,000 cells, made and opened in a browser."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import wide_run
from figures import Row, at_most
from measuring import LIMIT_S, paired
from session import Session

from qualification import declared, journal, plan, records
from qualification.bundle import Bundle
from qualification.report import derived, html
from qualification.report.run import judge
from qualification.verify import verify

RECORDS, CELLS = 10_000, 2_000
TIER = declared.Tier("64gb", 64 << 30, 0.6, 0.7, 4 << 30)
PROBE = """<script>addEventListener("load", () => {
  document.documentElement.offsetHeight;
  document.getElementById("troubled")?.click();
  document.documentElement.offsetHeight;
  document.body.textContent = "MEASURED" + performance.now() / 1000 + "MEASURED";
});</script>"""
"""Tells the seconds since navigation began when the page was laid out, filtered, and laid out again."""
MACHINE = {"system": "Linux", "release": "6", "architecture": "any", "processor": "any", "cores": 2, "ram_bytes": 1 << 34}
MACHINE |= {"available_bytes": 1 << 33, "swap_used_bytes": 0}


def measure(session: Session) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        bundle = _bundle(Path(folder) / "large")

        def whole() -> None:
            verified = verify(bundle.root)
            assert verified.holds and verified.records == RECORDS, verified.findings[:3]

        def parse() -> None:
            assert len([json.loads(line) for line in bundle.tests.read_bytes().splitlines()]) == RECORDS

        ours, floor = paired(max(3, session.rounds // 5), lambda: _cpu(whole), lambda: _cpu(parse))
        yield Row("verify 10,000 records, processor time", "s", ours, "json.loads of each", floor, at_most(5.0, of="figure"))
        yield from _page(session, Path(folder))


def _cpu(action: Callable[[], object]) -> float:
    """Processor seconds of this process, which other work on the machine disturbs least."""
    before = time.process_time()
    action()
    return time.process_time() - before


def _page(session: Session, folder: Path) -> Iterator[Row]:
    content = html.render(wide_run.make(CELLS))
    page, empty = folder / "page.html", folder / "empty.html"
    page.write_text(_probed(content), encoding="utf-8")
    empty.write_text(_probed("<!doctype html><title>empty</title><main></main>"), encoding="utf-8")
    size = (len(content.encode()) / 1e6,)
    yield Row("page of 2,000 cells", "MB", size, "the empty page", (empty.stat().st_size / 1e6,), at_most(1.0, of="figure"))
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        raise FileNotFoundError("there is no chromium here to open the page with")

    def opened(file: Path) -> float:
        argv = (chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", file.as_uri())
        done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=LIMIT_S)
        return float(done.stdout.split("MEASURED")[1])

    ours, floor = paired(max(5, session.rounds // 3), lambda: opened(page), lambda: opened(empty))
    yield Row("open that page and filter it", "s", ours, "the empty page", floor, at_most(1.0, of="figure"))


def _probed(page: str) -> str:
    """With a script that measures and a policy that allows it."""
    return re.sub(r"<meta http-equiv[^>]*>", "", page).replace("</main>", f"</main>{PROBE}")


def _bundle(root: Path) -> Bundle:
    """A sealed bundle whose one cell has so many records, each with all that a model test says."""
    cell = plan.Cell("text[a]", "text", "wet", "blocker", ("tests",), None, 60.0, "3.12", "locked", None, None)
    inputs = plan.Inputs("0" * 64, "0" * 64, None, "mlxk.whl", "0" * 64)
    required = plan.Required(("3.12",), (), ("text",), ())
    frozen = plan.freeze(plan.Plan("large", "Many records.", "64gb", (TIER,), inputs, required, (cell,)))
    bundle = Bundle(root)
    bundle.logs.mkdir(parents=True)
    bundle.plan.write_bytes(frozen)
    bundle.machine.write_text(json.dumps(MACHINE), encoding="utf-8")
    raw = [records.encode(_record(number)) for number in range(RECORDS)]
    bundle.tests.write_bytes(b"".join(raw))
    log = bundle.journal
    journal.append(log, "run_started", run="run-1", plan_sha256=hashlib.sha256(frozen).hexdigest())
    journal.append(log, "cell_started", cell=cell.id, attempt=1)
    facts = {"collected": RECORDS, "recorded": RECORDS, "sha256": records.digest(raw)}
    end = {"outcome": "passed", "reason": "", "duration_s": 9.0, "peak_bytes": 1 << 30, "tests": facts, "log": "logs/a.1.log"}
    journal.append(log, "cell_finished", cell=cell.id, attempt=1, **end)
    derived.write(bundle, judge(bundle))
    return bundle


def _record(number: int) -> dict[str, object]:
    return {
        "schema_version": "1.0.0",
        "timestamp": "2026-01-02T03:04:05.678Z",
        "mlx_knife_version": "2.0.0",
        "test": f"tests_2.0/live/test_a.py::test_{number}",
        "outcome": "passed",
        "duration": 1.5,
        "test_start_ts": 1000.0 + number,
        "test_end_ts": 1001.5 + number,
        "run": "run-1",
        "cell": "text[a]",
        "attempt": 1,
        "environment": {"python": "3.12.1", "dependencies": "locked", "packages": {"mlx": "0.31.2", "mlx-lm": "0.31.3"}},
        "model": {"id": "org/a", "size_gb": 1.0, "family": "llama", "variant": "a", "framework": "MLX", "quantization": "4bit"},
        "performance": {"generation_tps": 30.5 + number, "prompt_tps": 300.0, "time_to_first_token_s": 0.1, "peak_ram_gb": 2.5},
        "system_health": {"swap_used_mb": 0.0, "ram_free_gb": 20.0, "zombie_processes": 0, "quality_flags": ["clean"]},
        "metadata": {"inference_modality": "text"},
    }
