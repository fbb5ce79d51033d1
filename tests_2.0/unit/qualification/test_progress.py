"""A person who waits for a run sees what runs, what has ended, and how long the rest takes as far as earlier runs tell."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from qualification import progress, runner

SECONDS = {"text[a]": 60.0, "text[b]": 90.0, "unit[a]": 40.0}


@pytest.mark.parametrize(
    ("waiting", "running", "at_once", "left"),
    [
        (["text[a]", "text[b]"], {}, 4, 150.0),
        (["text[a]"], {"text[a]": 20.0}, 4, 40.0),
        (["text[a]"], {"text[a]": 100.0}, 4, 0.0),
        (["text[new]"], {}, 4, 75.0),  # as long as others of its group, (60 + 90) / 2
        (["unit[a]", "unit[b]"], {}, 4, 20.0),  # beside each other
        (["unit[a]"], {}, 2, 20.0),
        (["other[a]"], {}, 4, None),
        ([], {}, 4, None),
    ],
)
def test_what_is_left_is_what_earlier_runs_took(
    build: Any, waiting: list[str], running: dict[str, float], at_once: int, left: float | None
) -> None:
    cells = [build.cell(name, cpu=name.startswith("unit")) for name in waiting]

    assert progress.seconds_left(cells, running, SECONDS, at_once) == left


def test_lines_say_what_began_what_became_of_it_and_what_is_left(build: Any, capsys: Any) -> None:
    first, second = build.cell("text[a]"), build.cell("text[b]")
    with progress.watching(SECONDS, 4) as watch:
        watch.planned([first, second])
        watch.began(first)
        watch.ended(first, "passed", " (3 tests)")
        watch.ended(second, "not here", ": it is too large")

    assert capsys.readouterr().out.splitlines() == [
        "text[a] ...",
        "text[a]: passed (3 tests)  [1 of 2, about 1 min 30 s left]",
        "text[b]: not here: it is too large  [2 of 2]",
    ]


def test_a_table_shows_what_runs_before_what_waits(build: Any) -> None:
    cells = [build.cell(name) for name in ("text[a]", "text[b]", "unit[a]")]
    console = Console(file=StringIO(), width=80)
    shown = progress.OnTerminal(SECONDS, 4, console)
    shown.planned(cells)
    shown.began(cells[1])
    shown.ended(cells[0], "failed", " (1 test): [bold]no markup[/bold]")

    console.print(shown.table())

    said = console.file.getvalue().splitlines()
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in said if line.strip()}
    assert said[0].startswith("text[a]: failed (1 test): [bold]no markup[/bold]  [1 of 3")
    assert [*rows][-2:] == ["text[b]", "unit[a]"]
    assert rows["text[b]"].endswith("s 1 min 30 s")
    assert rows["unit[a]"] == "waits 40.0 s"


@pytest.mark.parametrize(
    ("cell", "beside"),
    [
        ({"cpu": True}, True),
        ({"cpu": False}, False),
        ({"model": "minted"}, True),
        ({"model": "discovered"}, False),  # two of 30 GB are more than a machine has
        ({"model": "minted", "exclusive": True}, False),
    ],
)
def test_what_needs_little_memory_may_run_beside_others(build: Any, cell: dict[str, Any], beside: bool) -> None:
    origin = cell.pop("model", None)

    assert build.cell(model=origin and build.model(origin=origin), **cell).beside is beside


def test_the_longest_begins_first_so_that_no_core_waits_for_it_at_the_end(build: Any) -> None:
    cells = [build.cell(name) for name in ("unit[a]", "text[new]", "text[a]", "text[b]", "text[newer]")]

    assert [cell.id for cell in runner.longest_first(cells, SECONDS)] == [
        "text[new]",
        "text[newer]",
        "text[b]",
        "text[a]",
        "unit[a]",
    ]
