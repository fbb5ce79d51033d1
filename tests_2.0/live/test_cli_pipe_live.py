"""``mlxk run`` in pipelines: what it reads, what it hands on, and the exit code of each."""

from __future__ import annotations

import json
import shlex
import subprocess

import pytest

from qualification.plugin import measuring, subject

pytestmark = [pytest.mark.live, pytest.mark.live_e2e]

CATS = "Write one sentence about cats."
SHORTER = "Say it shorter."
GREEDY = ("--temperature", "0", "--max-tokens", "50")


def pipeline(*commands):
    """Runs the tool once for each command, the output of each being the input of the next; exit codes, and data of the last."""
    processes = []
    for arguments in commands:
        stdin = processes[-1].stdout if processes else subprocess.DEVNULL
        processes.append(subprocess.Popen([*subject.tool(), *arguments], stdin=stdin, stdout=subprocess.PIPE))
    for process in processes[:-1]:
        process.stdout.close()
    out, _ = processes[-1].communicate(timeout=100)
    data = json.loads(out)["data"]
    measuring.hear(measuring.of_command(data))
    return [process.wait(timeout=100) for process in processes], data


def test_one_model_reads_what_another_has_answered(mlxk, text_model_info, text_known_answers):
    known = {answer.name: answer for answer in text_known_answers}
    model = text_model_info.model_id

    codes, told = pipeline(["run", model, CATS, *GREEDY], ["run", model, "-", SHORTER, *GREEDY, "--json"])

    assert codes == [0, 0]
    assert told["response"].strip()
    assert not known or told["response"] == known["pipe"].answer


def test_a_list_of_models_is_a_prompt_like_any_other(text_model_info):
    model = text_model_info.model_id

    codes, told = pipeline(["list", model, "--json"], ["run", model, "-", "--max-tokens", "5", "--json"])

    assert codes == [0, 0]
    assert told["prompt"].startswith("{")
    assert 0 < told["usage"]["completion_tokens"] <= 5


@pytest.mark.unmeasured("its reader leaves before the answer")
def test_a_reader_that_leaves_ends_it_quietly(text_model_info):
    command = [*subject.tool(), "run", text_model_info.model_id, CATS, *GREEDY]
    tool = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    tool.stdout.close()

    _, complaint = tool.communicate(timeout=100)

    assert (tool.returncode, complaint) == (0, b"")


@pytest.mark.unmeasured("nobody reads the answer")
def test_nobody_to_read_is_no_failure(text_model_info):
    command = shlex.join([*subject.tool(), "run", text_model_info.model_id, CATS, *GREEDY])

    done = subprocess.run(
        ["sh", "-c", f"{command} >&-"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=100, check=False
    )

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.unmeasured("nothing is loaded")
@pytest.mark.parametrize(
    ("arguments", "stdin", "word"),
    [
        (["-"], b"caf\xe9", "UTF-8"),
        (["-", "Shorter."], b"", "stdin"),
        (["-"], b" \n\n", "stdin"),
        ([], b"Hello", "interactive"),
        (["--json"], b"", "interactive"),
        ([""], b"", "prompt"),
        (["caf\udce9"], b"", "UTF-8"),
    ],
    ids=["latin-1", "nothing", "white space", "no prompt", "no prompt as JSON", "empty prompt", "latin-1 argument"],
)
def test_what_is_no_prompt_is_a_usage_error_before_anything_is_loaded(mlxk, text_model_info, arguments, stdin, word):
    done = mlxk("run", text_model_info.model_id, *arguments, stdin=stdin)

    message = done.envelope["error"]["message"] if "--json" in arguments else done.stderr
    assert done.code == 2
    assert word in message
    assert message.strip().count("\n") == 0
