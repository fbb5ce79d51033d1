"""How many threads answer requests."""

from __future__ import annotations

import queue
import threading
import time

import pytest

from mlxk.server.threads import Threads

TIMEOUT_S = 10


class Held:
    """A request whose answer takes until it is let go."""

    def __init__(self):
        self.begun, self.may_end = threading.Event(), threading.Event()

    def service(self):
        self.begun.set()
        self.may_end.wait(TIMEOUT_S)

    def cancel(self):
        self.may_end.set()


@pytest.fixture
def threads():
    made = Threads(3)
    at_rest(made)
    yield made
    made.shutdown(timeout=TIMEOUT_S)


def held(threads, count):
    """Requests that are all being answered."""
    tasks = [Held() for _ in range(count)]
    for task in tasks:
        threads.add_task(task)
        assert task.begun.wait(TIMEOUT_S)
    return tasks


def let_go(*tasks):
    for task in tasks:
        task.may_end.set()


def at_rest(threads):
    """Once all threads are without work."""
    _until(lambda: not threads.active_count)


def _until(condition):
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def refused(thread):
    raise RuntimeError("there are no more")


def test_one_request_after_another_needs_one_thread(threads):
    for _ in range(5):
        let_go(*held(threads, 1))
        at_rest(threads)

    assert len(threads.threads) == 1


def test_each_request_at_the_same_time_gets_a_thread_of_its_own_up_to_the_most(threads):
    first, second, third = held(threads, 3)
    fourth = Held()
    threads.add_task(fourth)
    waits = not fourth.begun.wait(0.05)
    let_go(first)

    assert waits
    assert fourth.begun.wait(TIMEOUT_S)
    assert len(threads.threads) == 3
    let_go(second, third, fourth)


def test_requests_that_come_from_many_threads_at_once_are_all_answered_at_the_same_time():
    threads, together = Threads(20), threading.Barrier(21)

    class Meeting(Held):
        def service(self):
            together.wait(TIMEOUT_S)

    for _ in range(20):
        threading.Thread(target=threads.add_task, args=(Meeting(),)).start()
    together.wait(TIMEOUT_S)
    threads.shutdown(timeout=TIMEOUT_S)

    assert not together.broken


def test_where_the_system_gives_no_more_threads_those_that_are_there_go_on(threads, monkeypatch, caplog):
    (first,) = held(threads, 1)
    monkeypatch.setattr("threading.Thread.start", refused)
    second = Held()
    threads.add_task(second)
    let_go(first)

    assert second.begun.wait(TIMEOUT_S)
    assert len(threads.threads) == 1
    assert "beside 1, and requests wait for one of them: there are no more." in caplog.text
    let_go(second)
    at_rest(threads)


def test_without_any_thread_no_server_begins(monkeypatch):
    monkeypatch.setattr("threading.Thread.start", refused)

    with pytest.raises(RuntimeError, match="no more"):
        Threads(3)


def test_once_the_end_has_come_no_thread_begins(threads):
    tasks = held(threads, 1)
    ended: queue.SimpleQueue[bool] = queue.SimpleQueue()
    ending = threading.Thread(target=lambda: ended.put(threads.shutdown(timeout=TIMEOUT_S)))
    ending.start()
    _until(lambda: threads.stop_count)
    late = Held()
    threads.add_task(late)
    let_go(*tasks)
    ending.join(TIMEOUT_S)

    assert ended.get(timeout=TIMEOUT_S)
    assert len(threads.threads) == 0
    assert late.may_end.is_set()
    assert not late.begun.is_set()
