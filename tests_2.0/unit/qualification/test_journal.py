"""The journal: whatever happens to the file, what is read back is what was written, or the damage is named."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qualification import journal
from qualification.errors import BundleError


def _begin(path: Path, events: int = 4) -> list[bytes]:
    journal.append(path, "run_started", run="run-é", plan_sha256="a" * 64)
    for number in range(1, events):
        journal.append(path, "cell_started", cell=f"cell-{number}", attempt=number)
    return path.read_bytes().splitlines(keepends=True)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return _begin(tmp_path_factory.mktemp("journal") / "journal.jsonl")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place for changed copies."""
    return tmp_path_factory.mktemp("copy") / "journal.jsonl"


def test_events_come_back_in_order_with_what_they_said(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    _begin(path, 3)

    events = journal.read(path)

    assert [event["seq"] for event in events] == [0, 1, 2]
    assert events[0]["run"] == "run-é"
    assert (events[2]["event"], events[2]["cell"], events[2]["attempt"]) == ("cell_started", "cell-2", 2)


@pytest.mark.parametrize("length", [10, 70_000, 300_000])
@pytest.mark.parametrize("torn", [b"", b'{"seq": 3, "prev"', b"x" * 200_000])
def test_the_chain_goes_on_after_an_event_of_any_length_and_a_torn_line(tmp_path: Path, length: int, torn: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    _begin(path, 2)
    journal.append(path, "cell_gated", cell="a", code="ram", sentence="x" * length, pays="")
    with path.open("ab") as file:
        file.write(torn)

    journal.append(path, "cell_started", cell="a", attempt=1)

    events = journal.read(path)
    assert [event["seq"] for event in events] == [0, 1, 2, 3]
    assert len(events[2]["sentence"]) == length


def test_each_line_holds_the_hash_of_the_line_before(written: list[bytes]) -> None:
    previous = [json.loads(line)["prev"] for line in written]

    assert previous == ["0" * 64, *(hashlib.sha256(line).hexdigest() for line in written[:-1])]


def test_each_line_ends_with_the_hash_of_what_stands_before_it(written: list[bytes]) -> None:
    for line in written:
        body, _, mark = line.rpartition(b', "sha256": ')

        assert json.loads(mark.rstrip(b"}\n")) == hashlib.sha256(body + b"}").hexdigest()


@given(place=st.integers(0), byte=st.integers(1, 255))
def test_any_changed_byte_is_found(written: list[bytes], copy: Path, place: int, byte: int) -> None:
    content = bytearray(b"".join(written))
    content[place % (len(content) - 1)] ^= byte
    copy.write_bytes(content)

    with pytest.raises(BundleError, match=r"^journal\.jsonl:[1-4]: "):
        journal.read(copy)


@settings(max_examples=50)
@given(byte=st.integers(0, 255).filter(lambda byte: byte != ord("\n")))
def test_a_changed_final_newline_takes_the_last_event_away_and_changes_none(written: list[bytes], copy: Path, byte: int) -> None:
    copy.write_bytes(b"".join(written)[:-1] + bytes([byte]))

    assert [event["seq"] for event in journal.read(copy)] == [0, 1, 2]


@settings(max_examples=50)
@given(data=st.data())
def test_lines_that_were_removed_repeated_or_reordered_are_found(written: list[bytes], copy: Path, data: st.DataObject) -> None:
    lines = data.draw(
        st.lists(st.sampled_from(written), min_size=1, max_size=6).filter(lambda drawn: drawn != written[: len(drawn)])
    )
    copy.write_bytes(b"".join(lines))

    with pytest.raises(BundleError, match="the journal was changed"):
        journal.read(copy)


@given(end=st.integers(0))
def test_a_cut_at_any_byte_loses_at_most_the_line_that_was_cut(written: list[bytes], copy: Path, end: int) -> None:
    content = b"".join(written)
    cut = content[: end % (len(content) + 1)]
    copy.write_bytes(cut)

    assert len(journal.read(copy)) == cut.count(b"\n")


def test_the_next_event_replaces_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    lines = _begin(path)
    path.write_bytes(b"".join(lines)[:-20])

    journal.append(path, "cell_started", cell="after", attempt=1)

    assert [event.get("cell") for event in journal.read(path)] == [None, "cell-1", "cell-2", "after"]


def test_an_event_that_the_schema_does_not_know_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    _begin(path, 1)
    before = path.read_bytes()

    with pytest.raises(BundleError, match="an event 'cell_vanished' that its schema does not know"):
        journal.append(path, "cell_vanished", cell="a")
    with pytest.raises(BundleError, match="'cell_started' that its schema does not know"):
        journal.append(path, "cell_started", cell="a", attempt=1, mood="good")

    assert path.read_bytes() == before


def test_a_log_may_lie_in_the_bundle_only(tmp_path: Path) -> None:
    fact = {"cell": "a", "attempt": 1, "outcome": "passed", "reason": "", "duration_s": 1, "peak_bytes": 1}
    tests = {"collected": 0, "recorded": 0, "sha256": "a" * 64}

    for log in ("javascript:alert(1)//.log", "logs/../../a.log", "/etc/a.log"):
        with pytest.raises(BundleError, match="that its schema does not know"):
            journal.append(tmp_path / "journal.jsonl", "cell_finished", **fact, tests=tests, log=log)


def test_half_a_surrogate_pair_does_not_stop_the_run(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"

    journal.append(path, "cell_started", cell="a\ud800b", attempt=1)

    assert journal.read(path)[0]["cell"] == "a?b"


def test_a_missing_journal_is_a_damaged_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is missing"):
        journal.read(tmp_path / "journal.jsonl")


def test_two_processes_that_append_at_once_keep_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    program = (
        "import sys; from pathlib import Path; from qualification import journal\n"
        "for number in range(1, 21): journal.append(Path(sys.argv[1]), 'cell_started', cell=sys.argv[2], attempt=number)"
    )

    both = [subprocess.Popen([sys.executable, "-c", program, path, name]) for name in ("left", "right")]
    codes = [process.wait(timeout=60) for process in both]

    assert codes == [0, 0]
    events = journal.read(path)
    for name in ("left", "right"):
        assert [event["attempt"] for event in events if event["cell"] == name] == list(range(1, 21))
