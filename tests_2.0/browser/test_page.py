"""``index.html`` in a real browser: it fits a phone, follows the system's colours, filters without a script, and prints.

These tests need Chromium (Debian's package ``chromium``) and fail where there is none. They are no part of the default suite:
``pytest tests_2.0/browser`` runs them, and so does the matrix ``nightly``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qualification.bundle import Bundle
from qualification.report import html
from qualification.report.run import load

EXAMPLE = Path(__file__).parents[2] / "reports" / "example"
PHONE, DESK = "500,900", "1280,900"
"""Chromium makes no window that is narrower than 500 pixels."""

MEASURE = """<script>addEventListener("load", () => setTimeout(() => {
  const box = document.getElementById("troubled");
  const rows = () => [...document.querySelectorAll(".map tr")].filter((row) => row.offsetParent !== null).length;
  const all = rows();
  if (box) box.click();
  document.body.replaceChildren(document.createTextNode("MEASURED" + JSON.stringify({
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth, all, troubled: rows(),
    dark: matchMedia("(prefers-color-scheme: dark)").matches, page: getComputedStyle(document.body).backgroundColor,
    tiles: tiles }) + "MEASURED"));
}));
const tiles = document.getElementsByClassName("outcome").length;</script>"""


def _chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.fail("there is no Chromium on this machine: install it (Debian: apt-get install chromium)", pytrace=False)
    return found


def _browse(page: Path, *options: str) -> str:
    argv = [_chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *options, page.as_uri()]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=90).stdout


def _measure(page: str, folder: Path, *options: str) -> dict[str, Any]:
    """What a script sees in the page; its policy, which allows no script, is taken out of this copy."""
    probed = re.sub(r"<meta http-equiv[^>]*>", "", page).replace("</main>", f"</main>{MEASURE}")
    (folder / "probed.html").write_text(probed, encoding="utf-8")
    found = re.search(r"MEASURED(\{.*\})MEASURED", _browse(folder / "probed.html", "--dump-dom", *options))
    assert found, "the page did not come to its end"
    measured: dict[str, Any] = json.loads(found[1])
    return measured


@pytest.fixture(scope="module")
def page() -> str:
    return (EXAMPLE / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def large_page() -> str:
    """The example's cells over and over, 2,000 in all, every tenth of them failed."""
    run = load(Bundle(EXAMPLE))
    numbers = range(2000)
    cells = [replace(run.plan.cells[n % len(run.plan.cells)], id=f"text[{n}]", group=f"text {n // 8}") for n in numbers]
    became = [
        replace(run.verdict.cells[0], cell=cell.id, outcome="failed" if n % 10 == 0 else "passed", reason="it said green")
        for n, cell in enumerate(cells)
    ]
    wide = replace(run, plan=replace(run.plan, cells=tuple(cells)), verdict=replace(run.verdict, cells=tuple(became)))
    return html.render(wide)


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_the_page_is_never_wider_than_its_window(page: str, tmp_path: Path, size: str) -> None:
    assert _measure(page, tmp_path, f"--window-size={size}")["overflow"] <= 0


def test_the_page_is_light_or_dark_as_the_system_is(page: str, tmp_path: Path) -> None:
    light = _measure(page, tmp_path)
    dark = _measure(page, tmp_path, "--force-dark-mode")

    assert (light["dark"], light["page"]) == (False, "rgb(251, 251, 250)")
    assert (dark["dark"], dark["page"]) == (True, "rgb(21, 23, 27)")


def test_two_thousand_cells_are_under_a_megabyte_and_can_be_filtered(large_page: str, tmp_path: Path) -> None:
    measured = _measure(large_page, tmp_path)

    assert len(large_page.encode()) < 1_000_000
    assert measured["tiles"] >= 2000
    assert 1 < measured["troubled"] < measured["all"]


def test_the_page_asks_nothing_of_a_network(page: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    log = tmp_path / "net.json"

    _browse(tmp_path / "page.html", "--dump-dom", f"--log-net-log={log}", "--disable-background-networking", "--no-first-run")

    asked = re.findall(r'"url":"(https?://[^"]*)"', log.read_text(encoding="utf-8"))
    assert [url for url in asked if not re.match(r"https?://([a-z0-9.-]+\.)?(google|googleapis|gstatic|gvt1)\.com", url)] == []


def test_the_page_can_be_printed_and_shown(page: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page, encoding="utf-8")

    _browse(tmp_path / "page.html", f"--print-to-pdf={tmp_path / 'page.pdf'}", "--no-pdf-header-footer")
    _browse(tmp_path / "page.html", f"--screenshot={tmp_path / 'page.png'}", f"--window-size={DESK}")

    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF-")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "page.png").stat().st_size > 20_000
