"""``index.html`` in a real browser: it fits a phone, follows the system's colours, filters without a script, and prints.

These tests need Chromium (Debian's package ``chromium``) and fail where there is none. They are no part of the default suite:
``pytest tests_2.0/browser`` runs them, and so does the matrix ``nightly``.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from qualification.bundle import Bundle
from qualification.report import html
from qualification.report.run import load

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "reports" / "example"
PHONE, DESK = 390, 1280
"""Pixels. Chromium makes no window that is narrower than 500, so the page stands in a frame of that width."""

MEASURE = """<script>addEventListener("load", () => {
  const root = document.documentElement, box = document.getElementById("troubled");
  const rows = () => [...document.querySelectorAll(".map tr")].filter((row) => row.offsetParent !== null).length;
  const all = rows();
  if (box) box.click();
  const troubled = rows(), seconds = performance.now() / 1000;
  if (box) box.click();
  document.head.insertAdjacentHTML("beforeend", "<style>section { content-visibility: visible !important }</style>");
  const main = [...document.querySelectorAll("main *")];
  document.body.textContent = "MEASURED" + JSON.stringify({
    all, troubled, seconds, overflow: root.scrollWidth - root.clientWidth,
    outside: main.filter((each) => !each.matches(".bar > span") && right(each) > root.clientWidth + 1).length,
    scrollers: main.filter((each) => ["auto", "scroll"].includes(getComputedStyle(each).overflowX)).length,
    small: main.filter((each) => parseFloat(getComputedStyle(each).fontSize) < 11).map((each) => each.className),
    dark: matchMedia("(prefers-color-scheme: dark)").matches, page: getComputedStyle(document.body).backgroundColor,
    contrasts: contrasts(main), tiles, unnamed,
  }) + "MEASURED";
});
const tiles = document.querySelectorAll(".map .o").length;
const right = (each) => each.getBoundingClientRect().right;
const named = (each) => each.textContent.trim() || each.labels?.length;
const unnamed = [...document.querySelectorAll("a, input, summary")].filter((each) => !named(each)).length;
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
function light(color) {
  canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
  const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((each) => each / 255)
    .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrasts(elements) {
  const found = {};
  for (const each of elements) {
    if (![...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    let behind = each;
    while (behind.parentElement && getComputedStyle(behind).backgroundColor.endsWith(", 0)")) behind = behind.parentElement;
    const lights = [light(getComputedStyle(each).color), light(getComputedStyle(behind).backgroundColor)];
    const [low, high] = lights.sort((a, b) => a - b);
    found[each.tagName + "." + each.className] = (high + 0.05) / (low + 0.05);
  }
  return found;
}</script>"""
"""What a script sees. The contrast is WCAG's: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""

FRAME = """<!doctype html><title>frame</title><iframe src="probed.html" width="{width}" height="844" style="border:0"></iframe>
<script>addEventListener("load", () => {{ document.body.textContent = frames[0].document.body.textContent; }});</script>"""


def _chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.fail("there is no Chromium on this machine: install it (Debian: apt-get install chromium)", pytrace=False)
    return found


def _browse(page: Path, *options: str) -> str:
    argv = [_chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *options, page.as_uri()]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=90).stdout


def _measure(page: str, folder: Path, width: int = DESK, *options: str) -> dict[str, Any]:
    """What a script sees in the page; its policy, which allows no script, is taken out of this copy."""
    probed = re.sub(r"<meta http-equiv[^>]*>", "", page).replace("</main>", f"</main>{MEASURE}")
    (folder / "probed.html").write_text(probed, encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")
    shown = _browse(folder / "frame.html", "--dump-dom", "--allow-file-access-from-files", "--window-size=1400,900", *options)
    found = re.search(r"MEASURED(\{.*\})MEASURED", shown)
    assert found, "the page did not come to its end"
    measured: dict[str, Any] = json.loads(found[1])
    return measured


@pytest.fixture(scope="module")
def page() -> str:
    return html.render(load(Bundle(EXAMPLE)))


@pytest.fixture(scope="module")
def large_page() -> str:
    """2,000 cells, three of twenty of which did not pass, with all that a page tells of a run."""
    spec = util.spec_from_file_location("wide_run", ROOT / "benchmarks" / "wide_run.py")
    assert spec and spec.loader
    wide_run = util.module_from_spec(spec)
    spec.loader.exec_module(wide_run)
    return html.render(wide_run.make(2000))


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_nothing_is_wider_than_the_window_and_nothing_scrolls_sideways(
    page: str, large_page: str, tmp_path: Path, width: int
) -> None:
    for each in (page, large_page):
        measured = _measure(each, tmp_path, width)

        assert (measured["overflow"], measured["outside"], measured["scrollers"]) == (0, 0, 0)


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_is_large_enough_and_stands_out_in_the_colours_of_the_system(
    large_page: str, tmp_path: Path, dark: bool
) -> None:
    measured = _measure(large_page, tmp_path, PHONE, *(["--force-dark-mode"] if dark else []))

    assert measured["dark"] == dark
    assert measured["page"] == ("rgb(18, 20, 24)" if dark else "rgb(246, 246, 244)")
    assert {name: ratio for name, ratio in measured["contrasts"].items() if ratio < 4.5} == {}
    assert len(measured["contrasts"]) > 20
    assert measured["small"] == []
    assert measured["unnamed"] == 0


def test_two_thousand_cells_are_under_a_megabyte_and_can_be_filtered(large_page: str, tmp_path: Path) -> None:
    measured = _measure(large_page, tmp_path)

    assert len(large_page.encode()) < 1_000_000
    assert measured["tiles"] == 2000
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
    _browse(tmp_path / "page.html", f"--screenshot={tmp_path / 'page.png'}", f"--window-size={DESK},900")

    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF-")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "page.png").stat().st_size > 20_000
