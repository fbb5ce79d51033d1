"""What `mlxk --help` says, and the commands that there are. Read on every start, so it imports nothing."""

HELP = """\
usage: mlxk [--json] <command> [arguments]

Manage and run MLX models from the Hugging Face cache.

commands:
  list [PATTERN]         the models that are whole and run here (--all: every model)
  show MODEL             what a model is, whether it is whole, whether it runs here
  health [PATTERN]       whether the files are whole, and everything that is wrong with them
  pull MODEL             download a model from the Hub, or go on with what was cut short
  clone MODEL [FOLDER]   download a model into a folder of your own, without touching the cache
  push FOLDER REPO       upload a workspace to a private repository of the Hub
  convert FOLDER TARGET  a workspace from another: index repaired, or weights quantized
  rm MODEL               delete a model, or with @REVISION one snapshot, from the cache
  run MODEL [PROMPT]     answer a prompt ("-" reads it from stdin); without one, chat on a terminal
  serve                  an OpenAI-compatible server (also: server)
  version                the version of mlxk, and of its JSON
  completion SHELL       what makes bash, zsh or fish complete commands and models
  schema [NAME]          the JSON Schema of what --json prints

MODEL is org/name, or a part of a name that only one model has; @REVISION pins a branch, a tag or a commit.
A path (./x, ../x, /x) is a folder with a model in it, and so is a name in MLXK_WORKSPACE_HOME.
`mlxk <command> --help` lists the options of a command. --json prints one JSON object, on every outcome.

exit codes: 0 success, 1 failed, 2 usage, 3 not found or ambiguous,
            4 refused (not runnable, memory, access), 130 interrupted
"""

COMMANDS = {
    "list": "mlxk.commands.listing",
    "show": "mlxk.commands.show",
    "health": "mlxk.commands.health",
    "pull": "mlxk.commands.pull",
    "clone": "mlxk.commands.clone",
    "push": "mlxk.commands.push",
    "convert": "mlxk.commands.convert",
    "rm": "mlxk.commands.rm",
    "run": "mlxk.commands.run",
    "serve": "mlxk.commands.serve",
    "version": "mlxk.commands.version",
    "completion": "mlxk.commands.completion",
    "schema": "mlxk.commands.schema",
}
