"""A pull that ends too soon, however it ends: what had come stays, the next one fetches the rest and nothing twice."""

from __future__ import annotations

import _thread
import os
import random
import signal
import sys
import threading
import time
from contextlib import suppress

import pytest

from qualification.hub.faults import Fault
from qualification.hub.server import running
from qualification.plugin.terminal import sitting_at

NAME = "acme/tiny"
POINTS = int(os.environ.get("PULL_CUT_POINTS", "4"))
"""200 take some minutes: ``PULL_CUT_POINTS=200 pytest tests_2.0/unit/hub/test_pull_interrupted.py``."""

HEARS_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
"""A process started in the background, as a test run may be, hands an ignored SIGINT down to its children."""


def on_disk(person) -> int:
    sizes = []
    for path in person.repository(NAME).glob("blobs/*"):
        with suppress(FileNotFoundError):  # it has just got its final name
            sizes.append(path.stat().st_size)
    return sum(sizes)


def wait_for(person, count_bytes: int, process) -> None:
    deadline = time.monotonic() + 30
    while on_disk(person) < count_bytes and process.poll() is None:
        assert time.monotonic() < deadline, "nothing comes"
        time.sleep(0.002)


def sent(hub) -> int:
    return sum(request.sent for request in hub.requests() if request.path.startswith(("/cdn/", "/api/resolve-cache/")))


@pytest.mark.parametrize("seed", range(POINTS))
def test_killed_anywhere_the_next_pull_fetches_exactly_what_is_missing(local_hub, person, model, tell, monkeypatch, seed):
    local_hub.store.import_folder(NAME, model)
    total = sum(map(len, tell(model).values()))
    local_hub.fail(Fault("slow", "/cdn/*", bytes_per_s=2_000_000))
    pulling = person.start("pull", NAME)
    wait_for(person, random.Random(seed).randrange(1, total - 100_000), pulling)
    pulling.kill()
    pulling.communicate()
    had = on_disk(person)
    before = person.run("health", NAME, "--json").data["summary"]["unhealthy_count"]
    with running(local_hub.store.root) as other:  # whose record has nothing of the first pull in it
        monkeypatch.setenv("HF_ENDPOINT", other.url)
        data = person.run("pull", NAME, "--force-resume", "--json").data
        again = sent(other)

    assert before == 1
    assert data["downloaded_bytes"] == data["total_bytes"] - had == again
    assert {name: person.files(NAME)[name] for name in tell(model)} == tell(model)
    assert data["health"] == "healthy"
    assert list(person.home.rglob("*.incomplete")) == []


@pytest.mark.parametrize("kind", ["cut", "reset"])
@pytest.mark.parametrize("seed", range(POINTS))
def test_cut_anywhere_one_pull_is_enough(local_hub, person, model, tell, kind, seed):
    local_hub.store.import_folder(NAME, model)
    chosen = random.Random(f"{kind}{seed}")
    name = chosen.choice(sorted(tell(model)))
    place = chosen.randrange(len(tell(model)[name]))
    local_hub.fail(Fault(kind, f"*{name}", times=2, at_byte=place))  # the first step of a small file has no such byte, and passes
    data = person.run("pull", NAME, "--json").data

    assert {name: person.files(NAME)[name] for name in tell(model)} == tell(model)
    assert sent(local_hub) <= data["total_bytes"] + (len(tell(model)[name]) if kind == "reset" else 0)


@pytest.mark.parametrize(
    "fault", [Fault("stall", "/cdn/*", at_byte=50_000), Fault("slow", "/cdn/*", bytes_per_s=20_000)], ids=["silent", "slow"]
)
def test_one_interrupt_ends_it_whatever_the_network_does(local_hub, person, model, fault):
    local_hub.store.import_folder(NAME, model)
    local_hub.fail(fault)
    pulling = person.start("pull", NAME, "--json", first=HEARS_INTERRUPTS)
    wait_for(person, 30_000, pulling)
    pulling.send_signal(signal.SIGINT)
    out, err = pulling.communicate(timeout=5)  # a request waits for 10 seconds

    assert (pulling.returncode, err) == (130, "")
    assert '"type": "interrupted"' in out
    assert on_disk(person) >= 30_000


def test_an_interrupt_that_wakes_nobody_is_heard(local_hub, person, model):
    """As one does that comes just as the main thread begins to wait for the others."""
    local_hub.store.import_folder(NAME, model)
    local_hub.fail(Fault("stall", "/cdn/*", at_byte=30_000))
    interrupt = threading.Timer(0.5, _thread.interrupt_main)
    interrupt.start()
    try:
        ended = person.run("pull", NAME, "--json")
    finally:
        interrupt.cancel()

    assert (ended.code, ended.error["type"]) == (130, "interrupted")


@pytest.mark.parametrize("moment_s", [0.02, 0.15, 0.4])
def test_an_interrupt_at_any_moment_leaves_nothing_half_shown(local_hub, person, model, moment_s):
    local_hub.store.import_folder(NAME, model)
    pulling = person.start("pull", NAME, first=f"{HEARS_INTERRUPTS}; import sys; print('begun', file=sys.stderr, flush=True)")
    assert pulling.stderr.readline() == "begun\n"
    time.sleep(moment_s)
    pulling.send_signal(signal.SIGINT)
    _, err = pulling.communicate(timeout=10)

    assert "Traceback" not in err
    assert pulling.returncode in (0, 130)
    assert len(list(person.repository(NAME).glob("snapshots/*"))) == (1 if pulling.returncode == 0 else 0)


def test_a_file_system_that_takes_no_more_keeps_what_came(local_hub, person, model):
    local_hub.store.import_folder(NAME, model)
    no_more = 300_000
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({no_more}, {no_more}))"
    pulling = person.start("pull", NAME, "--json", first=limited)
    out, err = pulling.communicate(timeout=60)
    resumed = person.run("pull", NAME, "--force-resume", "--json").data

    assert (pulling.returncode, err) == (1, "")
    assert '"type": "download_failed"' in out
    assert resumed["downloaded_bytes"] <= resumed["total_bytes"] - no_more


def test_on_a_terminal_it_asks_and_an_empty_line_is_a_yes(local_hub, person, model):
    local_hub.store.import_folder(NAME, model)
    (person.repository(NAME) / "blobs").mkdir(parents=True)
    (person.repository(NAME) / "blobs" / f"{'0' * 64}.incomplete").write_bytes(b"begun")
    command = [sys.executable, "-m", "mlxk", "pull", NAME]
    with sitting_at(command, person.environment()) as somebody:
        somebody.sees("Complete it? [Y/n] ")
        somebody.type("n\n")
        somebody.sees("Nothing was downloaded.")
        refused = somebody.leaves()
    with sitting_at(command, person.environment()) as somebody:
        somebody.sees("Complete it? [Y/n] ")
        somebody.type("\n")
        somebody.sees("is complete")
        done = somebody.leaves()

    assert (refused, done) == (0, 0)


def test_on_a_terminal_a_long_download_shows_how_far_it_is(local_hub, person, model):
    local_hub.store.import_folder(NAME, model)
    local_hub.fail(Fault("slow", "/cdn/*", bytes_per_s=200_000))
    command = f"stty rows 24 cols 100; exec {sys.executable} -m mlxk pull {NAME}"
    with sitting_at(["sh", "-c", command], person.environment()) as somebody:
        shown = somebody.sees("is complete")
        somebody.leaves()

    assert "acme/tiny:" in shown
    assert "%|" in shown
