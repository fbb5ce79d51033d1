"""An interrupt is heard while threads are waited for, also one that wakes nobody."""

import _thread
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from qualification import waiting


def test_an_interrupt_that_wakes_nobody_is_heard():
    never = Future()
    threading.Timer(0.05, _thread.interrupt_main).start()  # as a signal that came just before the wait began

    with pytest.raises(KeyboardInterrupt):
        next(waiting.as_ended([never]))


def test_each_comes_once_and_the_first_to_end_comes_first():
    gate = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        slow, quick = pool.submit(gate.wait), pool.submit(int, "7")
        ended = waiting.as_ended([slow, quick])
        first = next(ended)
        gate.set()

        assert (first.result(), [future.result() for future in ended]) == (7, [True])
