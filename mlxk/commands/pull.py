"""Download a model from the Hugging Face Hub into the cache, or go on with a download that was cut short."""

from __future__ import annotations

import argparse
from typing import Any

from mlxk import fetch, pull, views
from mlxk.commands.progress import shown
from mlxk.errors import ConfirmationRequired, InvalidName
from mlxk.hub import Hub
from mlxk.library import Library, Model
from mlxk.output import Result, ask, notice, plain, somebody_answers
from mlxk.pull import Offer, Wanted
from mlxk.workspace import is_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="org/name in full, with @REVISION for a branch, a tag or a commit")
    parser.add_argument(
        "--force-resume", action="store_true", help="do not ask; check what is there, and fetch what is missing, wrong or newer"
    )
    parser.add_argument("--dry-run", action="store_true", help="ask the Hub, and say what would come; write nothing")


def execute(arguments: argparse.Namespace) -> Result:
    if is_path(arguments.model):
        raise InvalidName(
            f"{arguments.model} is a path, and pull wants org/name. `mlxk clone org/name {arguments.model}` fills a folder."
        )
    wanted = pull.parse(arguments.model)
    library = Library.of_user()
    there = pull.here(library, wanted)
    if not arguments.dry_run and not arguments.force_resume and there is not None:
        if there.healthy:
            return _result(wanted, "already_exists", _already(there), commit=there.snapshot.commit, model=there)
        if not _may_resume(wanted, there, as_json=arguments.json):
            return _result(wanted, "requires_confirmation", "Nothing was downloaded.", model=there)
    source = Hub.of_user()
    offer = pull.offered(source, library.hub, wanted, distrust=arguments.force_resume)
    if offer.warning and not arguments.json:
        notice(f"mlxk pull: {plain(offer.warning)} The second try went through.")
    if arguments.dry_run:
        return _dry_run(wanted, offer)
    with shown(offer.plan, wanted=not arguments.json) as progress:
        fetch.carry_out(offer.plan, source, progress)
    model = pull.here(library, wanted)
    return _result(wanted, "success", _done(offer, model), commit=offer.plan.commit, offer=offer, model=model)


def _may_resume(wanted: Wanted, there: Model, *, as_json: bool) -> bool:
    """Whether the person wants it completed. Raises ConfirmationRequired where nobody can be asked."""
    what = f"{wanted.name} is there, and not whole: {there.reason}"
    if as_json or not somebody_answers():
        raise ConfirmationRequired(f"{what} Add --force-resume to complete it.")
    return ask(f"{what} Complete it?", default=True)


def _already(there: Model) -> str:
    commit = f" at {there.snapshot.commit[:7]}" if there.snapshot.commit else ""
    return f"{there.name} is there{commit}, and whole. `mlxk pull --force-resume {there.name}` asks the Hub for a newer one."


def _done(offer: Offer, model: Model | None) -> str:
    what = f"{offer.plan.name}@{offer.plan.commit[:7]}"
    came = f"{views.size(offer.plan.missing_bytes)} downloaded" if offer.plan.missing else "everything was there"
    sentence = f"{what} is complete: {came}, {views.size(offer.plan.total_bytes)} in all."
    if model is not None and not model.healthy:
        sentence += f" As it is published it is not whole: {model.reason}"
    return sentence


def _dry_run(wanted: Wanted, offer: Offer) -> Result:
    missing = {file.etag for file in offer.plan.missing}
    files = [{"path": file.path, "size_bytes": file.size, "cached": file.etag not in missing} for file in offer.plan.files]
    message = f"{views.size(offer.plan.missing_bytes)} of {views.size(offer.plan.total_bytes)} would be downloaded."
    result = _result(wanted, "dry_run", message, commit=offer.plan.commit, offer=offer)
    lines = [
        f"  {views.size(file.size):>8}  {'there' if file.etag not in missing else 'to come':7}  {plain(file.path)}"
        for file in offer.plan.files
    ]
    return Result({**result.data, "files": files}, "\n".join([f"{wanted.name}@{offer.plan.commit[:7]}: {message}", *lines]))


def _result(
    wanted: Wanted,
    status: str,
    message: str,
    *,
    commit: str | None = None,
    offer: Offer | None = None,
    model: Model | None = None,
) -> Result:
    hub_name = offer.remote.name if offer is not None else wanted.name
    data: dict[str, Any] = {
        "model": wanted.name,
        "download_status": status,
        "message": message,
        "expanded_name": hub_name if hub_name != wanted.name else None,
        "commit_hash": commit,
        "preflight_warning": offer.warning if offer is not None else None,
        "total_bytes": offer.plan.total_bytes if offer is not None else None,
        "downloaded_bytes": offer.plan.missing_bytes if offer is not None and status == "success" else 0,
        "missing_bytes": offer.plan.missing_bytes if offer is not None and status == "dry_run" else None,
        "health": None if model is None else "healthy" if model.healthy else "unhealthy",
        "health_reason": None if model is None or model.healthy else model.reason,
    }
    return Result(data, message)
