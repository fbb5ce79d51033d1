"""Upload a workspace to a private repository of the Hub: one commit that makes the branch what the folder is."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from mlxk import hub, pull, push, views, workspace
from mlxk.errors import (
    AccessDenied,
    AmbiguousWorkspace,
    BranchCreationFailed,
    DownloadFailed,
    InvalidName,
    ModelNotFound,
    OperationFailed,
    PublicRepository,
    RepositoryNotFound,
    RevisionNotFound,
    TokenMissing,
    UploadFailed,
    UsageError,
    WorkspaceNotFound,
)
from mlxk.hub import Hub, Remote
from mlxk.library import Library, Model
from mlxk.output import Result, plain
from mlxk.push import Difference

_DISCLAIMER = "Experimental: what the folder lacks is deleted from the branch. Its history on the Hub keeps it."
_NO_CHANGES = "No files have been modified since last commit. Skipping to prevent empty commit."
_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="a folder with a model in it: a path, or a name in MLXK_WORKSPACE_HOME")
    parser.add_argument("repository", help="org/name on the Hub")
    parser.add_argument("--private", action="store_true", help="say that nobody else is to see it; nothing is uploaded without")
    parser.add_argument("--create", action="store_true", help="make the repository and the branch if they are not there")
    parser.add_argument("--branch", default="main", help="the branch to commit to (default: main)")
    parser.add_argument(
        "--commit", default="mlx-knife push", metavar="MESSAGE", help="the message of the commit (default: %(default)s)"
    )
    parser.add_argument("--check-only", action="store_true", help="only say whether the folder is whole; no network, no token")
    parser.add_argument("--dry-run", action="store_true", help="only say what would change")
    parser.add_argument("--verbose", action="store_true", help="also the address of the commit, and what the Hub's client says")


def execute(arguments: argparse.Namespace) -> Result:
    folder = _folder(arguments.folder, Library.of_user())
    wanted = pull.parse(f"{arguments.repository}@{arguments.branch}")
    if wanted.name.count("/") != 1:
        raise InvalidName(f"{wanted.name} is not in anybody's name. Write org/name.")
    if arguments.check_only:
        return _checked(arguments, Library.of_user().find(str(folder)))
    if not arguments.private and not arguments.dry_run:
        raise UsageError("Add --private, which says that nobody else is to see it. Nothing was uploaded.")
    try:
        target = Hub.of_user()
        if not target.has_token:
            raise TokenMissing("The Hub wants to know who writes. Set HF_TOKEN to a token with write access.")
        return _Push(arguments, target, wanted.name, folder).run()
    except DownloadFailed as error:
        raise UploadFailed(f"{error.message} Nothing was uploaded.") from error


class _Push:
    """One push, from what is on the Hub to what was done about it."""

    def __init__(self, arguments: argparse.Namespace, target: Hub, name: str, folder: Path) -> None:
        self._arguments = arguments
        self._target = target
        self._name = name
        self._ignored = push.patterns(folder)
        self._files = push.local_files(folder, self._ignored)
        if not self._files:
            raise UploadFailed(f"{folder} has no file to upload, and the branch would be emptied. Nothing was uploaded.")
        self._branch: str = arguments.branch
        self._created = False
        self._begun_at: Remote | None = None  # where a branch that is yet to be made would begin

    def run(self) -> Result:
        try:
            remote = self._head()
        except AccessDenied as error:
            raise TokenMissing(error.message) from error
        if self._arguments.dry_run:
            return self._planned(self._difference(remote or self._begun_at), remote)
        if remote is None:
            remote = self._make()
        difference = self._difference(remote)
        if difference.is_empty:
            return self._result(difference, _NO_CHANGES, no_changes=True)
        return self._commit(difference, remote)

    def _difference(self, remote: Remote | None) -> Difference:
        there = self._target.files(self._name, remote.commit) if remote is not None else ()
        return push.compare(self._files, there, self._ignored)

    def _head(self) -> Remote | None:
        """Where the branch stands; None where it, or the repository, is to be made. Raises RepositoryNotFound, UploadFailed."""
        try:
            remote = self._target.model(self._name, self._branch)
        except ModelNotFound as error:
            if self._arguments.create or self._arguments.dry_run:
                self._created = True
                return None
            raise RepositoryNotFound(f"{self._name} is not on the Hub. Add --create to make it, private.") from error
        except RevisionNotFound as error:
            if self._arguments.create or self._arguments.dry_run:
                self._begun_at = self._target.model(self._name)
                self._refuse_public(self._begun_at)
                return None
            raise UploadFailed(f"{self._name} has no branch {self._branch!r}. Add --create to make it.") from error
        self._refuse_public(remote)
        return remote

    def _refuse_public(self, remote: Remote) -> None:
        if self._arguments.private and not remote.private:
            raise PublicRepository(
                f"{self._name} is public, and --private says that nobody else is to see this. Make it private on the Hub first."
            )

    def _make(self) -> Remote:
        """The branch, which begins where main stands. Raises PublicRepository where somebody else made a public one meanwhile."""
        try:
            if self._created:
                self._target.create(self._name, private=True)
            if self._branch != "main":
                self._make_branch()
            remote = self._target.model(self._name, self._branch)
        except AccessDenied as error:
            raise UploadFailed(error.message) from error
        self._refuse_public(remote)
        return remote

    def _make_branch(self) -> None:
        try:
            self._target.create_branch(self._name, self._branch)
        except OperationFailed as error:
            raise BranchCreationFailed(f"The branch {self._branch!r} could not be made: {error.message}") from error

    def _commit(self, difference: Difference, remote: Remote) -> Result:
        quiet = self._arguments.json or not sys.stderr.isatty()
        change = push.change(self._files, difference, self._arguments.commit, self._branch, remote.commit)
        with hub.listening(quiet=quiet, aloud=self._arguments.verbose) as lines:
            try:
                made = push.carry_out(self._target, self._name, change)
            except RevisionNotFound:  # a branch that was made a moment ago is not everywhere yet
                if not self._arguments.create:
                    raise
                self._make_branch()
                made = push.carry_out(self._target, self._name, change)
            except AccessDenied as error:
                raise UploadFailed(error.message) from error
        if made is None:
            return self._result(difference, lines[-1] if lines else _NO_CHANGES, no_changes=True, lines=lines)
        counts = difference.summary()
        message = "Uploaded {added} new, {modified} changed, and deleted {deleted}.".format(**counts)
        return self._result(difference, message, made=made, lines=lines)

    def _planned(self, difference: Difference, remote: Remote | None) -> Result:
        changes = "no changes" if difference.is_empty and remote is not None else _signs(difference)
        result = self._result(difference, f"Dry-run: {changes}", no_changes=changes == "no changes", planned=True)
        data = {
            **result.data,
            "dry_run": True,
            "dry_run_summary": difference.summary(),
            "would_create_repo": remote is None and self._created,
            "would_create_branch": remote is None and (not self._created or self._branch != "main"),
            "added_files": list(difference.added[:_SHOWN]),
            "modified_files": list(difference.modified[:_SHOWN]),
            "deleted_files": list(difference.deleted[:_SHOWN]),
        }
        return Result(data, f"push (experimental): {self._name}@{self._branch} — dry-run: {changes}")

    def _result(
        self,
        difference: Difference,
        message: str,
        *,
        no_changes: bool = False,
        planned: bool = False,
        made: tuple[str, str] | None = None,
        lines: list[str] | None = None,
    ) -> Result:
        data = _data(self._arguments, self._target.url(self._name), len(self._files), message) | {
            "commit_sha": made[0] if made else None,
            "commit_url": made[1] if made else None,
            "uploaded_files_count": 0 if planned or no_changes else difference.count,
            "no_changes": no_changes,
            "created_repo": self._created and not planned,
            "change_summary": difference.summary() if planned or made else {"added": 0, "modified": 0, "deleted": 0},
            "hf_logs": lines or [],
        }
        what = f"commit {made[0][:7]} ({_signs(difference)})" if made else "no changes"
        address = f"\n{made[1]}" if made and self._arguments.verbose else ""
        return Result(data, plain(f"push (experimental): {self._name}@{self._branch} — {what}{address}"))


def _folder(given: str, library: Library) -> Path:
    folder = Path(given).absolute()
    if not folder.is_dir() and library.workspace_home is not None and "/" not in given:
        folder = library.workspace_home / given
    if given and folder.is_dir():
        return folder
    near = workspace.at(str(folder)) if given else []
    if len(near) > 1:
        raise AmbiguousWorkspace(
            f"There is no folder {given!r}, and {len(near)} workspaces begin so: {', '.join(near)}. Name one of them in full.",
            matches=near,
        )
    if near:
        raise WorkspaceNotFound(f"There is no folder {given!r}. Did you mean {near[0]}? Name it in full.", matches=near)
    raise WorkspaceNotFound(f"There is no folder {given!r}. `mlxk clone` makes one, and any folder with a model in it will do.")


def _signs(difference: Difference) -> str:
    return "+{added} ~{modified} -{deleted}".format(**difference.summary())


def _data(arguments: argparse.Namespace, url: str, files: int, message: str) -> dict[str, Any]:
    return {
        "repo_id": arguments.repository,
        "branch": arguments.branch,
        "commit_sha": None,
        "commit_url": None,
        "repo_url": url,
        "uploaded_files_count": None,
        "local_files_count": files,
        "no_changes": False,
        "created_repo": False,
        "message": message,
        "hf_logs": [],
        "experimental": True,
        "disclaimer": _DISCLAIMER,
    }


def _checked(arguments: argparse.Namespace, model: Model) -> Result:
    """The one rule set for health, in the words that push has for it."""
    state = "healthy" if model.healthy else f"unhealthy, {len(model.problems)} problems"
    ignored = push.patterns(model.snapshot.path)
    files = sum(not push.is_ignored(path, ignored) for path in model.contents.files)
    data = _data(arguments, hub.address(arguments.repository), files, f"The workspace is {state}.")
    lines = [f"push (experimental): {plain(model.name)} — check-only: {state}"]
    lines += [f"  {problem.code}: {plain(problem.message)}" for problem in model.problems]
    return Result({**data, "workspace_health": _health(model)}, "\n".join(lines))


def _health(model: Model) -> dict[str, Any]:
    contents, problems = model.contents, views.problem_objects(model)
    index = next((name for name in contents.documents if name.endswith(".index.json")), None)
    missing = [problem["path"] for problem in problems if problem["code"] == "shard_missing"]
    codes = {problem["code"] for problem in problems}
    return {
        "healthy": model.healthy,
        "files_count": len(contents.files),
        "total_bytes": contents.size_bytes,
        "config": {
            "exists": "config.json" in contents.files,
            "valid_json": isinstance(contents.documents.get("config.json"), dict),
            "path": "config.json" if "config.json" in contents.files else None,
        },
        "weights": {
            "count": len(contents.weights),
            "formats": sorted({name.rpartition(".")[2] for name in contents.weights}),
            "index": {"has_index": index is not None, "missing": missing},
            "pattern_complete": not codes & {"shard_missing", "shards_inconsistent", "index_missing"},
        },
        "anomalies": [{"severity": "error", **problem} for problem in problems],
    }
