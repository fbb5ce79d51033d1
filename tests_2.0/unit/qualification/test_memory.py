"""What a tree of processes holds is measured cheaply and rightly, and a cell is stopped before the machine is brought down."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from qualification import caches, memory, processes

MIB = 1 << 20


@pytest.fixture
def holder():
    """A process that holds 100 MiB of its own, and a child that shares them."""
    code = "import os, sys\nheld = b'x' * (100 << 20)\nchild = os.fork()\nos.write(1, b'%d\\n' % len(held))\nsys.stdin.read()\n"
    started = subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert [started.stdout.readline() for _ in range(2)] == [b"104857600\n"] * 2
    yield started
    started.communicate(timeout=20)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells proportional sizes")
def test_shared_pages_count_once(holder):
    tree = [psutil.Process(holder.pid), *processes.descendants(holder.pid)]

    measured = memory.Meter().measure(tree)

    assert len(tree) == 2
    assert sum(process.memory_info().rss for process in tree) > 200 * MIB
    assert 100 * MIB < measured < 130 * MIB


def test_measuring_again_what_has_not_changed_costs_next_to_nothing(holder):
    meter = memory.Meter()
    tree = [psutil.Process(holder.pid), *processes.descendants(holder.pid)]
    first = meter.measure(tree)

    began = time.thread_time()
    again = [meter.measure(tree) for _ in range(50)]
    cheap = time.thread_time() - began
    began = time.thread_time()
    exact = [meter.measure(tree, exactly=True) for _ in range(50)]
    dear = time.thread_time() - began

    assert cheap < dear
    assert all(abs(each - first) < 0.02 * first for each in again)
    assert all(abs(each - first) < 0.1 * first for each in exact)  # other Pythons come and go, and share pages with these


def test_no_processes_hold_nothing():
    assert memory.Meter().measure([]) == 0


@pytest.mark.parametrize(
    ("held", "need", "stopped"),
    [(100 * MIB, 100 * MIB, False), (125 * MIB, 100 * MIB, False), (126 * MIB, 100 * MIB, True), (126 * MIB, 0, False)],
)
def test_a_quarter_above_its_need_is_too_much(held, need, stopped):
    assert bool(memory.distress(held, need)) is stopped


def test_this_machine_has_more_than_is_free_and_both_are_something():
    assert 0 < memory.available_bytes() <= memory.total_bytes()


def test_descendants_are_found_through_threads_and_generations():
    code = "import subprocess, sys, threading\n" + (
        "def start(): subprocess.run([sys.executable, '-S', '-c', 'import time; print(1, flush=True); time.sleep(60)'])\n"
        "threading.Thread(target=start).start()\n"
    )
    started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert started.stdout.readline() == b"1\n"
        found = processes.descendants()
        assert {process.ppid() for process in found} >= {psutil.Process().pid, started.pid}
        assert {each.pid for each in processes.descendants(started.pid)} == {
            each.pid for each in psutil.Process(started.pid).children(recursive=True)
        }
    finally:
        for process in processes.descendants(started.pid):
            process.kill()
        started.communicate(timeout=20)


def test_a_cache_is_as_it_was_until_anything_in_it_is_touched(tmp_path: Path):
    model = tmp_path / "models--org--name"
    (model / "blobs").mkdir(parents=True)
    (model / "blobs/a").write_text("x")
    (model / "gone").touch()
    before = caches.fingerprint(tmp_path)
    assert caches.changes(before, caches.fingerprint(tmp_path)) == ()
    time.sleep(0.01)  # a file system's clock may tick no faster

    (model / "blobs/a").write_text("y")
    (model / "blobs/b").touch()
    (model / "gone").unlink()

    changed = caches.changes(before, caches.fingerprint(tmp_path))
    assert changed == ("models--org--name/blobs/a", "models--org--name/blobs/b", "models--org--name/gone")


def test_of_a_cache_the_time_of_a_file_alone_is_told_and_a_folder_in_which_something_came_and_went(tmp_path: Path):
    for folder in ("timed", "visited"):
        (tmp_path / folder / "deep").mkdir(parents=True)
        (tmp_path / folder / "deep" / "a").touch()
    (tmp_path / "link").symlink_to(tmp_path / "timed")
    before = caches.fingerprint(tmp_path)
    time.sleep(0.01)

    os.utime(tmp_path / "timed/deep/a")
    (tmp_path / "visited/deep/b").touch()
    (tmp_path / "visited/deep/b").unlink()

    assert caches.changes(before, caches.fingerprint(tmp_path)) == ("timed/deep/a", "visited/deep")


def test_no_cache_has_nothing_in_it(tmp_path: Path):
    assert caches.fingerprint(None) == caches.fingerprint(tmp_path / "absent") == {}
