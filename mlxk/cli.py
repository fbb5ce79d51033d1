"""From the command line to an exit code: the boundary at which every error becomes a sentence or an envelope.

Only ``sys`` is imported before it is known what is asked for: ``--version`` and ``--help`` cost what Python costs.
"""

import sys

from mlxk import __version__

HELP = """\
usage: mlxk [--json] <command> [arguments]

Run MLX models from the Hugging Face cache.

commands:
  list [PATTERN]         the models in the cache that are whole and runnable (--all: every model)
  show MODEL             what a model is, whether it is whole, whether it runs here
  run MODEL [PROMPT]     answer a prompt ("-" reads it from stdin)
  serve                  an OpenAI-compatible server (also: server)
  version                the version of mlxk

MODEL is org/name, or a part of a name that only one model has; @REVISION pins a branch, a tag or a commit.
`mlxk <command> --help` lists the options of a command. --json prints one JSON object, on every outcome.

exit codes: 0 success, 1 failed, 2 usage, 3 not found or ambiguous,
            4 refused (not runnable, memory, access), 130 interrupted
"""

COMMANDS = {
    "list": "mlxk.commands.listing",
    "show": "mlxk.commands.show",
    "run": "mlxk.commands.run",
    "serve": "mlxk.commands.serve",
    "version": "mlxk.commands.version",
}


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv == ["--version"]:
        return _say(f"mlxk {__version__}\n")
    if argv in (["--help"], ["-h"]):
        return _say(HELP)

    from mlxk.dispatch import dispatch  # noqa: PLC0415 - the rest of the tool

    return dispatch(argv)


def _say(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = None  # or the interpreter complains when it closes it
    return 0
