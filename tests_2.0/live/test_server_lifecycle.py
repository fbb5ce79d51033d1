"""``mlxk serve`` starts, says where, and ends on a signal with nothing left; each test in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

import psutil
import pytest

from qualification.plugin import subject

pytestmark = [pytest.mark.live, pytest.mark.live_lifecycle]


def test_health_answers_before_any_model_is_loaded():
    with subject.serving() as server:
        health = server.get("/health")

        assert health.status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_the_server_and_frees_its_port(number):
    with subject.serving() as server:
        port = int(server.url.rpartition(":")[2])
        family = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
        os.kill(server.process.pid, number)

        server.process.wait(timeout=10)

        assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))


def test_a_port_in_use_is_one_sentence_and_code_1(mlxk):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        done = mlxk("serve", "--port", str(port))

    assert done.code == 1
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


def test_an_open_address_without_a_key_is_refused(mlxk):
    done = mlxk("serve", "--host", "0.0.0.0", "--port", "0")

    assert done.code == 2
    assert "--api-key" in done.stderr


def test_a_model_that_is_not_there_ends_the_server_before_it_serves(mlxk):
    done = mlxk("serve", "--port", "0", "--model", "nobody/nothing")

    assert done.code == 3
    assert "nobody/nothing" in done.stderr


def test_output_cut_by_a_reader_that_left_is_quiet():
    tool = subprocess.Popen([*subject.tool(), "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    tool.stdout.close()

    _, complaint = tool.communicate(timeout=30)

    assert complaint == b""
