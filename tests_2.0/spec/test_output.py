"""Every way in which `mlxk --json` can end prints one envelope that its schema allows, with the exit code that is documented."""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from mlxk.usage import COMMANDS

SCHEMA = Draft202012Validator(json.loads(files("mlxk.schemas").joinpath("output.json").read_text(encoding="utf-8")))
COMMITS = ("0123456789abcdef0123456789abcdef01234567", "0123fedcba9876543210fedcba9876543210fedc")
HEADER = b'{"__metadata__":{"format":"mlx"},"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
WEIGHTS = struct.pack("<Q", len(HEADER)) + HEADER + bytes(4)

SENTINEL = {"mlxk_version": "0.1.0", "created_at": "2026-01-01T00:00:00Z", "managed": True, "operation": "clone"}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """org/whole, with two snapshots; org/whole-too; org/broken, without weights; org/foreign, which brings its own code."""
    home = tmp_path_factory.mktemp("home")
    add(home, "whole", {"model_type": "llama"})
    add(home, "whole", {"model_type": "llama"}, commit=COMMITS[1])
    add(home, "whole-too", {"model_type": "llama"})
    add(home, "broken", {"model_type": "llama"}, weights=None)
    add(home, "foreign", {"model_type": "llama", "auto_map": {"AutoModel": "theirs.Model"}})
    with (home / "large").open("wb") as large:
        large.truncate(51 << 20)
    (home / "mp3").write_bytes(b"\xff\xfb\x90\x00")
    (home / "workspace").mkdir()
    (home / "workspace" / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    (home / "workspace" / ".mlxk_workspace.json").write_text(json.dumps(SENTINEL), encoding="utf-8")
    return home


def add(home: Path, name: str, config: dict, *, commit: str = COMMITS[0], weights: bytes | None = WEIGHTS) -> None:
    repository = home / "hub" / f"models--org--{name}"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(COMMITS[0], encoding="utf-8")
    (snapshot / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (snapshot / "tokenizer.json").write_text("{}", encoding="utf-8")
    if weights is not None:
        (snapshot / "model.safetensors").write_bytes(weights)


def mlxk(home: Path, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "MLXK"))}
    command = [sys.executable, "-m", "mlxk", *arguments]
    environment["HF_HOME"] = str(home)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False, **options)


OUTCOMES = [
    # arguments, exit code, command, error type
    ("version", 0, "version", None),
    ("--version", 0, "version", None),
    ("--help", 0, "mlxk", None),
    ("run --help", 0, "run", None),
    ("", 2, "mlxk", "CommandError"),
    ("lisst", 2, "mlxk", "CommandError"),
    ("--bogus list", 2, "list", "CommandError"),
    ("list --bogus", 2, "list", "CommandError"),
    ("list one two", 2, "list", "CommandError"),
    ("list", 0, "list", None),
    ("list --all", 0, "list", None),
    ("list nothing-has-this-name", 0, "list", None),
    ("show", 2, "show", "CommandError"),
    ("show org/whole", 0, "show", None),
    ("show org/broken", 0, "show", None),
    ("show foreign", 0, "show", None),
    ("show org/whole@0123f", 0, "show", None),
    ("show whole", 3, "show", "ambiguous_match"),
    ("show org/whole@0123", 3, "show", "ambiguous_match"),
    ("show org/none", 3, "show", "model_not_found"),
    ("show org/whole@main-not", 3, "show", "hash_not_found"),
    ("show org/whole --files", 0, "show", None),
    ("show org/broken --config", 0, "show", None),
    ("show org/whole --files --config", 2, "show", "CommandError"),
    ("show org/whole --recalc-hash", 2, "show", "CommandError"),
    ("show ./nowhere", 3, "show", "model_not_found"),
    ("show {home}/workspace", 0, "show", None),
    ("show {home}/workspace --recalc-hash", 0, "show", None),
    ("list {home}/workspace", 0, "list", None),
    ("list {home}", 0, "list", None),
    ("list --health --verbose --all", 0, "list", None),
    ("list org/whole@0123f", 0, "list", None),
    ("list org/whole@9999", 3, "list", "hash_not_found"),
    ("health", 0, "health", None),
    ("health broken", 0, "health", None),
    ("health nothing-has-this-name", 0, "health", None),
    ("health {home}/workspace", 0, "health", None),
    ("health whole@main", 3, "health", "ambiguous_match"),
    ("health --bogus", 2, "health", "CommandError"),
    ("rm", 2, "rm", "CommandError"),
    ("rm org/whole", 4, "rm", "requires_confirmation"),
    ("rm org/whole@main", 4, "rm", "requires_confirmation"),
    ("rm whole --force", 3, "rm", "model_not_found"),
    ("rm org/whole@9999 --force", 3, "rm", "hash_not_found"),
    ("rm ./workspace --force", 4, "rm", "workspace_model"),
    ("completion bash", 0, "completion", None),
    ("completion names", 0, "completion", None),
    ("completion tcsh", 2, "completion", "CommandError"),
    ("schema", 0, "schema", None),
    ("schema modelObject", 0, "schema", None),
    ("schema nothing", 3, "schema", "not_found"),
    ("run", 2, "run", "CommandError"),
    ("run org/whole", 2, "run", "CommandError"),
    ("run org/whole hello --temperature hot", 2, "run", "CommandError"),
    ("run org/whole hello --temperature -1", 2, "run", "CommandError"),
    ("run org/whole hello --max-tokens 0", 2, "run", "CommandError"),
    ("run org/none hello", 3, "run", "model_not_found"),
    ("run whole hello", 3, "run", "ambiguous_match"),
    ("run org/broken hello", 4, "run", "model_unhealthy"),
    ("run org/foreign hello", 4, "run", "model_not_runnable"),
    ("run org/whole hello", 1, "run", "load_failed"),
    ("run org/whole --audio {home}/large", 4, "run", "media_refused"),
    ("run org/whole --image {home}/large", 4, "run", "media_refused"),
    ("run org/whole --audio {home}/mp3", 4, "run", "capability_not_supported"),
    ("serve --port 70000", 2, "serve", "CommandError"),
    ("serve --host 0.0.0.0", 2, "serve", "CommandError"),
    ("serve --model org/none --port 0", 3, "serve", "model_not_found"),
    ("server --model org/broken --port 0", 4, "serve", "model_unhealthy"),
    ("serve --host 192.0.2.1 --api-key k --port 0", 1, "serve", "address_unavailable"),
]


@pytest.mark.parametrize(("arguments", "code", "command", "error"), OUTCOMES, ids=[outcome[0] for outcome in OUTCOMES])
def test_outcome(home, arguments, code, command, error):
    done = mlxk(home, *arguments.format(home=home).split(), "--json")
    printed = json.loads(done.stdout)

    assert [problem.message for problem in SCHEMA.iter_errors(printed)] == []
    assert (done.returncode, printed["command"]) == (code, command)
    assert (printed["error"] or {"type": None})["type"] == error
    assert done.stderr == ""


HEAVY = {"mlx", "mlx_lm", "mlx_vlm", "mlx_audio", "transformers", "huggingface_hub", "numpy", "torch", "shtab"}
WITHOUT_THEM = ("list", "list --all --json", "show org/whole", "health", "rm org/whole", "--version", "version")
TOLD_TO_PEOPLE = (
    *("version", "--help", "", "list --bogus", "show org/whole", "show whole", "run org/broken hello"),
    *("list --health --verbose --all", "health", "rm org/whole", "rm whole --force", "completion fish", "schema modelObject"),
)


@pytest.mark.parametrize(("arguments", "code", "command", "error"), [each for each in OUTCOMES if each[0] in TOLD_TO_PEOPLE])
def test_people_get_the_same_exit_code_with_a_sentence_on_stderr(home, arguments, code, command, error):
    done = mlxk(home, *arguments.split())

    assert done.returncode == code
    assert (error is None) == bool(done.stdout)
    assert done.stderr.startswith("" if error is None else "mlxk: " if command == "mlxk" else f"mlxk {command}: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("word", "said"), [("shwo", "Did you mean `mlxk show`?"), ("xyzzy", "`mlxk --help` lists them.")])
def test_a_command_that_is_not_there_is_answered_with_the_nearest(home, word, said):
    assert mlxk(home, word).stderr == f"mlxk: There is no command {word!r}. {said}\n"


def test_json_may_stand_before_the_command(home):
    assert mlxk(home, "--json", "list").stdout == mlxk(home, "list", "--json").stdout


def test_list_prints_every_model_in_json_and_the_runnable_ones_to_people(home):
    named = [model["name"] for model in json.loads(mlxk(home, "list", "--json").stdout)["data"]["models"]]
    lines = mlxk(home, "list").stdout.splitlines()

    assert named == ["org/broken", "org/foreign", "org/whole", "org/whole-too"]
    assert [line.split()[0] for line in lines[2:]] == ["org/whole", "org/whole-too", "2"]


def test_an_unforeseen_failure_is_an_envelope_too():
    broken = "import sys; from mlxk import cache, cli; cache.names = None; sys.exit(cli.main(['list', '--json']))"
    done = subprocess.run([sys.executable, "-c", broken], capture_output=True, text=True, timeout=60, check=False)
    printed = json.loads(done.stdout)

    assert SCHEMA.is_valid(printed)
    assert (done.returncode, printed["error"]["type"], done.stderr) == (1, "InternalError", "")


INTERRUPTS_ITSELF = """
import os, signal, sys
event, word = sys.argv[1:3]
del sys.argv[1:3]

def interrupt(name, arguments):
    global event
    if name == event and word in str(arguments):
        event = None
        os.kill(os.getpid(), signal.SIGINT)

sys.addaudithook(interrupt)
from mlxk.cli import main
sys.exit(main())
"""
"""Gets Ctrl-C in the midst of the first thing of a kind that it does: an event of sys.audit whose arguments hold a word."""


@pytest.mark.parametrize(
    ("arguments", "event", "word", "command"),
    [
        ("list", "import", "mlxk.dispatch", "list"),
        ("list", "open", "listing.", "list"),
        ("list", "os.listdir", "{hub}", "list"),
        ("show org/whole", "os.scandir", COMMITS[0], "show"),
        ("health", "open", "config.json", "health"),
        ("rm org/whole --force", "os.listdir", "{hub}", "rm"),
        ("run org/whole hello", "os.scandir", COMMITS[0], "run"),
        ("serve --port 0", "socket.bind", "", "serve"),
        ("server --port 0", "import", "waitress", "serve"),
        ("version", "import", "mlxk.system", "version"),
        ("completion bash", "open", "shtab", "completion"),
        ("schema", "open", "output.json", "schema"),
        ("lisst", "import", "mlxk.arguments", "mlxk"),
    ],
)
def test_an_interrupt_of_any_command_at_its_work_is_one_envelope(home, arguments, event, word, command):
    place = word.format(hub=home / "hub")
    argv = [sys.executable, "-c", INTERRUPTS_ITSELF, event, place, *arguments.split(), "--json"]
    environment = {**os.environ, "HF_HOME": str(home)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    printed = json.loads(done.stdout)

    assert [problem.message for problem in SCHEMA.iter_errors(printed)] == []
    assert (done.returncode, printed["command"], printed["error"]["type"]) == (130, command, "interrupted")
    assert done.stderr == ""
    assert (home / "hub" / "models--org--whole" / "snapshots" / COMMITS[0] / "model.safetensors").is_file()


def test_an_interrupt_while_an_envelope_is_printed_leaves_it_whole_and_the_only_one(tmp_path):
    add(tmp_path, "large", {"model_type": "llama", "text": "x" * 500_000})  # more than a pipe holds
    command = [sys.executable, "-m", "mlxk", "show", "org/large", "--config", "--json"]
    printing = subprocess.Popen(command, env={**os.environ, "HF_HOME": str(tmp_path)}, stdout=subprocess.PIPE, bufsize=0)
    first = printing.stdout.read(1)
    printing.send_signal(signal.SIGINT)
    printed = json.loads(first + printing.communicate(timeout=60)[0])

    assert SCHEMA.is_valid(printed)
    assert (printing.returncode, printed["status"]) == (0, "success")


@pytest.mark.parametrize(("arguments", "code"), [("list --json", 1), ("list", 1), ("--version", 1), ("show none --json", 3)])
def test_output_that_cannot_be_written_is_one_sentence(home, tmp_path, arguments, code):
    """As on a full disk: here no file may grow beyond no bytes at all."""
    argv = [sys.executable, "-m", "mlxk", *arguments.split()]
    options = {"env": {**os.environ, "HF_HOME": str(home)}, "stderr": subprocess.PIPE, "text": True, "timeout": 60}
    with (tmp_path / "output").open("wb") as output:
        done = subprocess.run(argv, stdout=output, preexec_fn=let_no_file_grow, check=False, **options)

    assert done.returncode == code
    assert done.stderr.endswith(": The output cannot be written: File too large.\n")
    assert done.stderr.count("\n") == 1


def let_no_file_grow() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def test_an_interrupt_is_an_envelope_too(home):
    command = [sys.executable, "-m", "mlxk", "run", "org/whole", "-", "--json"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    reading = subprocess.Popen(command, env={**os.environ, "HF_HOME": str(home)}, text=True, **pipes)
    reading.stdin.write("x" * 1_000_000)  # more than a pipe holds: once it is written, the other end is being read
    reading.stdin.flush()
    reading.send_signal(signal.SIGINT)
    out, err = reading.communicate(timeout=60)
    printed = json.loads(out)

    assert SCHEMA.is_valid(printed)
    assert (reading.returncode, printed["command"], printed["error"]["type"], err) == (130, "run", "interrupted", "")


@pytest.mark.parametrize("arguments", ["list --json", "--help", "show nothing --json", "list --bogus --json"])
def test_a_reader_that_left_is_not_complained_about(home, arguments):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "mlxk", *arguments.split()]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(write)

    assert done.stderr == b""


def test_listing_and_showing_work_with_the_standard_library_alone(home):
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from mlxk.cli import main\n"
        "for line in ('list --json', 'show org/whole', 'version', '--help', 'show org/none'): main(line.split())\n"
        "ours = {'mlxk', '__main__'} | set(sys.stdlib_module_names)\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} - ours))"
    )
    checkout = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, checkout],
        env={"HF_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout.splitlines()[-1] == "[]"


def test_a_wheel_lists_models_without_being_installed(home, tmp_path):
    wheel = tmp_path / "mlxk.whl"
    package = Path(__file__).parents[2] / "mlxk"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in package.rglob("*.py"):
            archive.write(path, path.relative_to(package.parent))
    environment = {"HF_HOME": str(home), "PYTHONPATH": str(wheel)}
    command = [sys.executable, "-S", "-m", "mlxk", "list", "--json"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    models = json.loads(done.stdout)["data"]["models"]

    assert [model["name"] for model in models] == ["org/broken", "org/foreign", "org/whole", "org/whole-too"]
    assert models[2]["reason"] == "mlx-lm is not installed."


@pytest.mark.parametrize("command", ["schema", "version", "health"])
def test_a_wheel_needs_no_installation_for_what_the_standard_library_can_do(home, tmp_path, command):
    wheel = tmp_path / "mlxk.whl"
    package = Path(__file__).parents[2] / "mlxk"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in (*package.rglob("*.py"), package / "schemas" / "output.json"):
            archive.write(path, path.relative_to(package.parent))
    environment = {"HF_HOME": str(home), "PYTHONPATH": str(wheel)}
    argv = [sys.executable, "-S", "-m", "mlxk", command, "--json"]
    done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert SCHEMA.is_valid(json.loads(done.stdout))


@pytest.mark.parametrize("arguments", WITHOUT_THEM)
def test_what_needs_no_model_in_memory_imports_no_library_that_runs_one(home, arguments):
    command = [sys.executable, "-X", "importtime", "-m", "mlxk", *arguments.split()]
    done = subprocess.run(command, env={"HF_HOME": str(home)}, capture_output=True, text=True, timeout=60, check=False)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "import time:" in line}

    assert "mlxk" in imported
    assert (
        imported & {"mlx", "mlx_lm", "mlx_vlm", "mlx_audio", "transformers", "huggingface_hub", "numpy", "torch", "shtab"}
        == set()
    )


def test_the_help_names_every_command_and_every_exit_code(home):
    help_text = mlxk(home, "--help").stdout

    assert [name for name in COMMANDS if f"\n  {name} " not in help_text] == []
    assert [code for code in ("0 ", "1 ", "2 ", "3 ", "4 ", "130 ") if code not in help_text.split("exit codes:")[1]] == []
