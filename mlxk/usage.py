"""What `mlxk --help` says, and the commands that there are. Read on every start, so it imports nothing."""

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
