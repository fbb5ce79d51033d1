"""Download a model from the Hub into a folder of your own, a workspace, without touching the cache."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mlxk import clone, fetch, pull, views
from mlxk.commands.progress import shown
from mlxk.errors import InvalidName
from mlxk.hub import Hub
from mlxk.library import Library, Model
from mlxk.output import Result, plain
from mlxk.pull import Offer, Wanted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="org/name in full, with @REVISION for a branch, a tag or a commit")
    parser.add_argument("target", nargs="?", help="a folder that is not there yet (default: the name, in MLXK_WORKSPACE_HOME)")
    parser.add_argument("--branch", help="the same as @BRANCH after the name")
    parser.add_argument("--no-health-check", action="store_true", help="do not look whether the model is whole")
    parser.add_argument(
        "--force-resume", action="store_true", help="check what an earlier clone has left before going on with it"
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing if all is well")


def execute(arguments: argparse.Namespace) -> Result | int:
    wanted = _wanted(arguments)
    library = Library.of_user()
    target = clone.target_of(wanted.name, arguments.target, library.workspace_home)
    clone.check_target(target, library.hub)
    place = clone.temporary(f"{wanted.name}@{wanted.ref}", target)
    source = Hub.of_user()
    offer = pull.offered(source, place, wanted, distrust=arguments.force_resume)
    with clone.begun(place):
        with shown(offer.plan, wanted=not (arguments.json or arguments.quiet)) as progress:
            fetch.bring(offer.plan, source, progress)
        clone.finish(offer.plan, target)
    model = None if arguments.no_health_check else library.find(str(target))
    return 0 if arguments.quiet and not arguments.json else _result(wanted, target, offer, model)


def _wanted(arguments: argparse.Namespace) -> Wanted:
    wanted = pull.parse(arguments.model)
    if not arguments.branch:
        return wanted
    if wanted.revision is not None:
        raise InvalidName(f"{arguments.model} names a revision, and so does --branch {arguments.branch}. Use one of them.")
    return pull.parse(f"{wanted.name}@{arguments.branch}")


def _result(wanted: Wanted, target: Path, offer: Offer, model: Model | None) -> Result:
    state = None if model is None else "healthy" if model.healthy else "unhealthy"
    message = f"{wanted.name}@{offer.plan.commit[:7]} → {target} ({views.size(offer.plan.total_bytes)})"
    if model is not None and not model.healthy:
        message += f". As it is published it is not whole: {model.reason}"
    data: dict[str, Any] = {
        "model": wanted.name,
        "clone_status": "success",
        "message": message,
        "target_dir": str(target),
        "commit_hash": offer.plan.commit,
        "downloaded_bytes": offer.plan.missing_bytes,
        "health_check": model is not None,
        "health": state,
        "health_reason": None if model is None or model.healthy else model.reason,
        "preflight_warning": offer.warning,
    }
    return Result(data, plain(message))
