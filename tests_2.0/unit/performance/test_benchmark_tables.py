"""How figures become a table, a file, a plot and a page: bars, marks and intervals by hand."""

from __future__ import annotations

import base64
import hashlib
import json
import xml.etree.ElementTree as ET
import zipfile
from typing import Any, ClassVar

import mlx.core as mx
import pytest

TEN = tuple(range(1, 11))


@pytest.mark.parametrize(
    ("ours", "theirs", "bar", "met"),
    [
        ((2.0,), (1.0,), ("ratio", "at most", 2.0), True),
        ((2.1,), (1.0,), ("ratio", "at most", 2.0), False),
        ((1.0, 9.0, 1.0), (1.0, 1.0, 1.0), ("ratio", "at most", 1.05), True),  # the median, not the mean
        ((0.5,), (5.0,), ("figure", "at most", 0.5), True),
        ((0.6,), (5.0,), ("figure", "at most", 0.5), False),
        ((15.0,), (6.0,), ("difference", "at most", 10.0), True),
        ((17.0,), (6.0,), ("difference", "at most", 10.0), False),
        ((97.0,), (100.0,), ("ratio", "at least", 0.97), True),
        ((96.0,), (100.0,), ("ratio", "at least", 0.97), False),
        ((1.0,), (1.0,), None, None),
    ],
)
def test_a_bar_is_met_or_missed(benchmark_module, ours, theirs, bar, met):
    figures = benchmark_module("figures")

    row = figures.Row("what", "s", ours, "reference", theirs, figures.Bar(*bar) if bar else None)

    assert row.met is met


def test_samples_that_are_no_pairs_are_refused(benchmark_module):
    row = benchmark_module("figures").Row

    for ours, theirs in (((), ()), ((1.0,), (1.0, 2.0))):
        with pytest.raises(ValueError, match="samples of ours beside"):
            row("what", "s", ours, "reference", theirs)


def test_an_interval_needs_six_pairs_above_zero(benchmark_module):
    row = benchmark_module("figures").Row

    assert row("what", "s", (2.0,) * 6, "reference", (1.0,) * 6).interval == pytest.approx((2.0, 2.0))
    assert row("what", "s", (2.0,) * 5, "reference", (1.0,) * 5).interval is None
    assert row("what", "s", (0.0,) * 6, "reference", (1.0,) * 6).interval is None


def test_a_table_marks_what_misses_its_bar(benchmark_module):
    figures, tables = benchmark_module("figures"), benchmark_module("tables")
    rows = [
        figures.Row("fast", "s", (0.012,), "floor", (0.010,), figures.at_most(2.0)),
        figures.Row("slow", "ms", (1234.5,), "floor", (100.0,), figures.at_most(10, of="difference")),
        figures.Row("free", "MB", (27.3,), "floor", (26.0,)),
    ]

    assert tables.for_terminal(rows).splitlines() == [
        "figure  ours      reference  its figure  ratio    bar",
        "fast    0.0120 s  floor      0.0100 s    1.20 x   at most 2 x         met",
        "slow    1,234 ms  floor      100 ms      12.35 x  at most 10 ms more  MISSED",
        "free    27.3 MB   floor      26.0 MB     1.05 x",
    ]
    assert tables.for_markdown(rows).splitlines()[2] == ("| fast | 0.0120 s | floor | 0.0100 s | 1.20 x | at most 2 x | met |")


def test_a_run_is_a_file_with_every_sample_and_no_owner(benchmark_module):
    figures, results = benchmark_module("figures"), benchmark_module("results")
    row = figures.Row("what", "s", (3.0, 1.0, 2.0), "floor", (1.0, 1.0, 1.0), figures.at_most(1.5))

    told = json.loads(json.dumps(results.document([row], ["pulling was not measured to its end: no hub"], rounds=3)))

    assert told["rows"][0]["ours"] == [3.0, 1.0, 2.0]
    assert (told["rows"][0]["ratio"], told["rows"][0]["met"]) == (2.0, False)
    assert told["failed"] == ["pulling was not measured to its end: no hub"]
    assert set(told["machine"]) == {
        "system", "release", "architecture", "processor", "cores", "ram_bytes", "available_bytes", "swap_used_bytes"
    } | (set(told["machine"]) & {"metal_working_set_bytes"})  # fmt: skip
    assert "Python 3." in results.described(told)


def test_a_plot_draws_every_row(benchmark_module, tmp_path):
    figures, plots = benchmark_module("figures"), benchmark_module("plots")
    rows = [figures.Row(f"figure {index}", "s", (2.0,) * 6, "floor", (1.0,) * 6, figures.at_most(1.5)) for index in range(3)]

    plots.draw(rows, tmp_path / "plot.svg", "Linux on x86_64.")

    assert ET.parse(tmp_path / "plot.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "plot.svg").read_text(encoding="utf-8").count(plots.MISSED) >= 3


def test_only_what_stands_between_the_marks_is_replaced(benchmark_module, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n", encoding="utf-8")
    replace_part = benchmark_module("documents").replace_part

    replace_part(page, "a", "new\n")
    replace_part(page, "a", "newer")

    assert page.read_text(encoding="utf-8") == "before\n<!-- a -->\nnewer\n<!-- /a -->\nafter\n"
    with pytest.raises(ValueError, match="no part 'b'"):
        replace_part(page, "b", "new")


class Halving:
    """A model, as far as a slowed engine touches one."""

    computed: ClassVar[list[list[list[int]]]] = []

    def __call__(self, tokens, cache=None):
        self.computed.append(tokens.tolist())
        return tokens / 2


def test_a_slowed_wheel_is_a_whole_wheel_and_its_model_computes_more(benchmark_module, tmp_path):
    slowed = benchmark_module("slowed")
    engine = "def load(path):\n    return Halving(), path\n"
    wheel = tmp_path / "mlxk-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(slowed.ENGINE, engine)
        archive.writestr("mlxk-1.dist-info/RECORD", f"{slowed.ENGINE},sha256=x,1\nmlxk-1.dist-info/RECORD,,\n")

    made = slowed.make(wheel, 0.5, tmp_path / "slow")

    with zipfile.ZipFile(made) as archive:
        content, record = archive.read(slowed.ENGINE), archive.read("mlxk-1.dist-info/RECORD").decode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    assert record.splitlines() == ["mlxk-1.dist-info/RECORD,,", f"{slowed.ENGINE},sha256={digest},{len(content)}"]
    space: dict[str, Any] = {"Halving": Halving}
    exec(compile(content, "engine", "exec"), space)
    model, path = space["load"]("a path")
    space["load"]("another")
    answers = [model(mx.array([[number, 7]]), cache="kept").tolist() for number in range(4)]
    assert path == "a path"
    assert answers == [[[number / 2, 3.5]] for number in range(4)]
    assert Halving.computed == [[[0, 7]], [[7]], [[1, 7]], [[2, 7]], [[7]], [[3, 7]]]


def test_the_simulation_gives_the_same_figures_again(benchmark_module):
    simulate = benchmark_module("simulate_gate").simulate

    lines = simulate(releases=60, seed=1)

    assert lines == simulate(releases=60, seed=1)
    quiet = {each["slowdown"]: each for each in lines if each["noise"] == "a quiet machine"}
    assert (quiet[0.0]["FAIL"], quiet[0.10]["FAIL"]) == (0.0, 1.0)
    assert max(each["FAIL"] for each in lines if each["slowdown"] == 0.0) <= 0.05
