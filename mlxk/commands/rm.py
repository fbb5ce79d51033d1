"""Delete a model, or one snapshot of it, from the cache. Blobs that another snapshot uses stay."""

from __future__ import annotations

import argparse

from mlxk import removal, settings, views
from mlxk.errors import ConfirmationRequired, WorkspaceModel
from mlxk.output import Result, ask, somebody_answers
from mlxk.removal import Removal
from mlxk.workspace import is_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="org/name in full, with @REVISION for one snapshot only")
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")


def execute(arguments: argparse.Namespace) -> Result:
    if is_path(arguments.model):
        raise WorkspaceModel(f"{arguments.model} is a folder of yours, and rm works in the cache only. Delete it as any folder.")
    wanted = removal.plan(settings.hub_cache(), arguments.model)
    what = _described(wanted)
    if not arguments.force:
        if arguments.json or not somebody_answers():
            raise ConfirmationRequired(f"Nobody can be asked whether to delete {what}. Add --force to delete it.")
        if not ask(f"Delete {what} from the cache?"):
            return Result({}, "Nothing was deleted.")
    return _deleted(removal.carry_out(wanted))


def _described(wanted: Removal) -> str:
    commit = f"@{wanted.commit[:7]}" if wanted.snapshot is not None and wanted.commit else ""
    return f"{wanted.name}{commit} ({views.size(wanted.freed_bytes)})"


def _deleted(gone: Removal) -> Result:
    message = f"Deleted {_described(gone)}."
    data = {
        "model": gone.name,
        "commit_hash": gone.commit,
        "action": "deleted",
        "message": message,
        "requires_confirmation": False,
        "matches": [gone.name],
        "freed_bytes": gone.freed_bytes,
        "lock_files_cleaned": gone.locks_cleaned,
    }
    return Result(data, message)
