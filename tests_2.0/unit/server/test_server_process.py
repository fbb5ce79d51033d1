"""`mlxk serve` as a process: what starts it, what it logs, and what ends it."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from qualification.mint import store

SERVE = [sys.executable, "-m", "mlxk", "serve", "--json"]
PATIENCE_S = 20
HEAP = 64 << 20


@contextlib.contextmanager
def serving(*options, home, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MLXK2_")}
    server = subprocess.Popen(
        [*SERVE, *options],
        env={**clean, "HF_HOME": str(home), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield server
    finally:
        server.kill()
        server.communicate()


@pytest.fixture
def hangups():
    """Are not ignored by what is started here, though nohup may have started the tests."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def announced(server):
    return json.loads(server.stdout.readline())["data"]


def get(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("GET", path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def gone(pid, within_s=PATIENCE_S):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_variables_stand_for_options_that_are_not_given_and_every_line_of_the_log_can_be_json(tmp_path):
    variables = {"MLXK2_PORT": "0", "MLXK2_HOST": "localhost", "MLXK2_LOG_JSON": "1", "MLXK2_API_KEY": "own-key"}
    with serving(home=tmp_path, **variables) as server:
        port = announced(server)["port"]
        statuses = [get(port, "/v1/models"), get(port, "/v1/models/own-key", Authorization="Bearer own-key")]
        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=PATIENCE_S)
    lines = [json.loads(line) for line in log.splitlines()]

    assert statuses == [401, 404]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("GET", "/v1/models", 401),
        ("GET", "/v1/models/***", 404),
    ]
    assert all(line["request_id"] and line["duration_ms"] >= 0 for line in lines)
    assert "own-key" not in log


def test_what_lies_beside_the_command_is_not_taken_for_a_module(tmp_path):
    """As the script bottle.py does, wherever Bottle is installed, and as anything may in a folder of commands."""
    command = tmp_path / "mlxk"
    command.write_text("import sys\nfrom mlxk.cli import main\nsys.exit(main())\n", encoding="utf-8")
    (tmp_path / "bottle.py").write_text("raise SystemExit('taken')", encoding="utf-8")
    asked = subprocess.run(
        [sys.executable, command, "serve", "--help"], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )

    assert (asked.returncode, asked.stderr) == (0, "")


@pytest.mark.parametrize(("variable", "value"), [("MLXK2_PORT", "many"), ("MLXK2_LOG_LEVEL", "loud"), ("MLXK2_MAX_TOKENS", "0")])
def test_a_variable_that_is_wrong_is_named_with_its_option(tmp_path, variable, value):
    with serving(home=tmp_path, **{variable: value}) as server:
        out, _ = server.communicate(timeout=PATIENCE_S)

    option = variable.removeprefix("MLXK2_").lower().replace("_", "-")

    assert server.returncode == 2
    assert f"--{option}: {value!r}, as {variable} says, is no" in json.loads(out)["error"]["message"]


def test_an_option_is_stronger_than_its_variable(tmp_path):
    with serving("--port", "0", "--log-level", "error", home=tmp_path, MLXK2_PORT="1", MLXK2_LOG_LEVEL="debug") as server:
        assert announced(server)["port"] > 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists what a process has mapped")
def test_all_threads_take_memory_from_one_heap(tmp_path):
    """For another thread glibc sets 64 MB apart, at a multiple of it: the part that is in use, and what is left of them."""
    with serving("--port", "0", home=tmp_path) as server:
        get(announced(server)["port"], "/v1/models")
        maps = Path(f"/proc/{server.pid}/maps").read_text(encoding="utf-8")
        threads = psutil.Process(server.pid).num_threads()
    parts = [(int(start, 16), int(end, 16), rights) for start, end, rights in re.findall(r"^(\w+)-(\w+) (\S+)", maps, re.M)]
    apart = [
        f"{start:#x}"
        for (start, used, rights), (left, end, others) in itertools.pairwise(parts)
        if (start % HEAP, used, end - start, rights, others) == (0, left, HEAP, "rw-p", "---p")
    ]

    assert threads > 2
    assert apart == []


@pytest.mark.usefixtures("hangups")
def test_a_terminal_that_is_closed_ends_it(tmp_path):
    with serving("--port", "0", home=tmp_path) as server:
        announced(server)
        server.send_signal(signal.SIGHUP)

        assert server.wait(PATIENCE_S) == 0


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize(("before", "lives_on"), [("", False), ("trap '' HUP; ", True)], ids=["", "nohup"])
def test_it_ends_with_the_process_that_started_it_unless_hangups_are_ignored(tmp_path, before, lives_on):
    command = f"{before}{' '.join(SERVE)} --port 0 & wait"
    shell = subprocess.Popen(["sh", "-c", command], env={**os.environ, "HF_HOME": str(tmp_path)}, stdout=subprocess.PIPE)
    pid = json.loads(shell.stdout.readline())["data"]["pid"]
    try:
        shell.kill()
        shell.wait()

        assert gone(pid, within_s=2 if lives_on else PATIENCE_S) is not lives_on
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        shell.stdout.close()


@pytest.mark.parametrize("by", ["path", "name"])
def test_a_workspace_is_announced_by_the_name_of_its_folder_alone(tmp_path, by):
    mine = tmp_path / "workspaces" / "mine"
    mine.parent.mkdir()
    (tmp_path / "hub").mkdir()
    mine.symlink_to(store.install("mint/llama-tiny", tmp_path / "elsewhere"))
    given = str(mine) if by == "path" else "mine"
    with serving("--port", "0", "--model", given, home=tmp_path, MLXK_WORKSPACE_HOME=str(mine.parent)) as server:
        started = announced(server)
        status = get(started["port"], "/v1/models/mine")

    assert (started["model"], status) == ("mine", 200)


def test_an_engine_that_dies_takes_the_process_with_it_and_says_why(tmp_path):
    config = store.install("mint/llama-tiny", tmp_path) / "config.json"
    wrong = json.loads(config.read_text(encoding="utf-8")) | {"hidden_size": 32}
    config.unlink()
    config.write_text(json.dumps(wrong), encoding="utf-8")
    with serving("--port", "0", "--model", "mint/llama-tiny", home=tmp_path) as server:
        port = announced(server)["port"]
        loading = get(port, "/health")
        _, complaint = server.communicate(timeout=PATIENCE_S * 2)

    assert loading == 503
    assert server.returncode == 1
    assert "mint/llama-tiny cannot be loaded" in complaint.splitlines()[-1]


@pytest.mark.timeout(600)  # the first to ask mints the model, or waits for who does
@pytest.mark.parametrize("model", ["mint/whisper-tiny", "mint/qwen2-vl-tiny"])
def test_a_server_that_saw_or_heard_ends_in_peace(tmp_path, model):
    store.install(model, tmp_path)
    with serving("--port", "0", "--model", model, home=tmp_path) as server:
        port = announced(server)["port"]
        while get(port, "/health") == 503:
            time.sleep(0.02)
        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=PATIENCE_S)

    assert server.returncode == 0
    assert {line.split()[0] for line in log.splitlines()} == {"[INFO]"}
