"""Ctrl-C ends a run with 130 and one sentence at whatever moment it comes, and whatever library swallows it.

``MLXK2_INTERRUPT_MOMENTS=50 pytest tests_2.0/unit/mlxk/test_interrupts.py`` tries 50 moments all over a run, and with
``MLXK2_INTERRUPT_SEED`` others.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from qualification.mint import store

MODEL = "mint/llama-tiny"
PROMPT = "Write one sentence about cats."
ANSWER = "Cats sleep most of the day and hunt at dusk.\n"
COUNT = int(os.environ.get("MLXK2_INTERRUPT_MOMENTS", "6"))
CHANCE = random.Random(int(os.environ.get("MLXK2_INTERRUPT_SEED", "0")))
MOMENTS = [(number + CHANCE.random()) / COUNT for number in range(COUNT)]
"""In parts of a whole run, somewhere within each of as many equal stretches of it."""
SAYS_WHEN_IT_BEGINS = "from mlxk.cli import main; import sys; print('begun', file=sys.stderr, flush=True); sys.exit(main())"
SWALLOWS = """
import os, signal, sys

class Swallows:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "transformers":
            Swallows()

sys.meta_path.insert(0, Finder())
from mlxk.cli import main
sys.exit(main())
"""
"""A finalizer can raise nothing, and neither can the weak references' callbacks that importing runs thousands of times."""
CUT = """
import contextlib, os, signal, sys
from mlxk import output

place, name, first = {
    "put aside": (contextlib.redirect_stdout, "__enter__", True),
    "to be put back": (contextlib.redirect_stdout, "__exit__", False),
    "to be heard again": (contextlib._GeneratorContextManager, "__exit__", False),
}[sys.argv[1]]
usual = getattr(place, name)

def cut_off(self, *about):
    if first or output._stdout is None:
        usual(self, *about)
    if output._stdout is not None:
        os.kill(os.getpid(), signal.SIGINT)

setattr(place, name, cut_off)
from mlxk.cli import main
sys.exit(main(sys.argv[2:]))
"""
"""It comes when stdout has just been put aside, or just before it is put back."""

MISTAKES = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "huggingface_hub._commit_api":
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt as interrupt:
                raise RuntimeError("Error calling __set_name__") from interrupt

sys.meta_path.insert(0, Finder())
from mlxk.cli import main
sys.exit(main())
"""
"""What Python before 3.12 makes of one that comes while a class is made; huggingface_hub prints it and raises it on."""

TRIES_OUT = """
import os, signal, sys, tempfile

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "filelock":
            folder = tempfile.mkdtemp()
            os.kill(os.getpid(), signal.SIGINT)
            os.rmdir(folder)

sys.meta_path.insert(0, Finder())
from mlxk.cli import main
sys.exit(main())
"""
"""What filelock does while it is imported on Python 3.10."""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    store.install(MODEL, home)
    return {**os.environ, "HF_HOME": str(home)}


@pytest.fixture(scope="module")
def whole_s(environment):
    """How long a run takes that nobody interrupts."""
    began = time.monotonic()
    out, err, code = interrupted_after(60, [], environment)

    assert (out, err, code) == (ANSWER, "", 0)
    return time.monotonic() - began


@pytest.mark.parametrize("part", MOMENTS, ids=lambda part: f"{part:.3f}")
def test_an_interrupt_at_any_moment_ends_it_with_130_or_comes_too_late(environment, whole_s, part):
    assert interrupted_after(part * whole_s, [], environment) in [
        ("", "mlxk run: Interrupted.\n", 130),
        (ANSWER, "", 0),
        (ANSWER, "mlxk run: Interrupted.\n", 130),
    ]


@pytest.mark.parametrize("part", MOMENTS[::2], ids=lambda part: f"{part:.3f}")
def test_at_any_moment_a_program_gets_one_envelope(environment, whole_s, part):
    out, err, code = interrupted_after(part * whole_s, ["--json"], environment)
    told = json.loads(out)

    assert err == ""
    assert (code, told["error"] and told["error"]["type"]) in [(130, "interrupted"), (0, None)]


def interrupted_after(moment_s, options, environment):
    """What a run said, on stdout and stderr, and its exit code, unless it had ended before; nothing of it is left."""
    command = [sys.executable, "-c", SAYS_WHEN_IT_BEGINS, "run", MODEL, PROMPT, "--temperature", "0", *options]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    tool = subprocess.Popen(command, env=environment, start_new_session=True, text=True, **pipes)
    assert tool.stderr.readline() == "begun\n"
    with suppress(subprocess.TimeoutExpired):
        tool.wait(timeout=moment_s)
    tool.send_signal(signal.SIGINT)
    out, err = tool.communicate(timeout=60)

    with pytest.raises(ProcessLookupError):
        os.killpg(tool.pid, 0)
    return out, err, tool.returncode


@pytest.mark.parametrize("library", [SWALLOWS, MISTAKES], ids=["swallows it", "takes it for a mistake"])
def test_whatever_a_library_makes_of_an_interrupt_it_is_one(environment, library):
    for_people = run([sys.executable, "-c", library, "run", MODEL, PROMPT], environment)
    for_programs = run([sys.executable, "-c", library, "run", MODEL, PROMPT, "--json"], environment)

    assert (for_people.returncode, for_people.stdout, for_people.stderr) == (130, "", "mlxk run: Interrupted.\n")
    assert (for_programs.returncode, for_programs.stderr) == (130, "")
    assert json.loads(for_programs.stdout)["error"]["type"] == "interrupted"


@pytest.mark.parametrize("moment", ["put aside", "to be put back", "to be heard again"])
def test_stdout_is_found_again_wherever_an_interrupt_cut_off_its_absence(environment, moment):
    done = run([sys.executable, "-c", CUT, moment, "run", MODEL, PROMPT, "--json"], environment)

    assert (done.returncode, json.loads(done.stdout)["error"]["type"], done.stderr) == (130, "interrupted", "")


@pytest.mark.parametrize("command", [["run", MODEL, PROMPT], ["pull", "mint/elsewhere"]], ids=["run", "pull"])
def test_an_interrupt_leaves_nothing_of_what_a_library_tries_out(environment, command, tmp_path):
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "TMPDIR": str(tmp_path)}
    done = run([sys.executable, "-c", TRIES_OUT, *command], {**environment, **nobody})

    assert (done.returncode, done.stderr) == (130, f"mlxk {command[0]}: Interrupted.\n")
    assert list(tmp_path.iterdir()) == []


def test_where_interrupts_are_ignored_from_the_start_they_stay_so(environment):
    """As nohup and a shell's background jobs have it."""
    command = [sys.executable, "-c", SWALLOWS, "run", MODEL, PROMPT, "--temperature", "0"]
    done = run(command, environment, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))

    assert (done.returncode, done.stdout, done.stderr) == (0, ANSWER, "")


def run(command, environment, **options):
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False, **options)
