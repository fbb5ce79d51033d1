"""The Hugging Face Hub: the only module that talks to the network, through huggingface_hub.

The client asks some things without any time limit, and tells plain HTTP's errors by their wording; here every request has a
limit, and what the Hub refuses is told by its status.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from mlxk import settings
from mlxk.errors import AccessDenied, DownloadFailed, HubUnavailable, ModelNotFound, RevisionNotFound, UploadFailed

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_Answer = TypeVar("_Answer")
_CONNECT_S, _WRITE_S, _CHANGE_S = 10, 60, 300  # a commit of many files is worked on for minutes
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_AUTHENTICATION = "HF_TOKEN must name a token with access (https://huggingface.co/settings/tokens)."


@dataclass(frozen=True, slots=True)
class Remote:
    """A model at one commit, as the Hub knows it; ``name`` is the Hub's own, whatever it was asked for."""

    name: str
    commit: str
    gated: bool
    private: bool


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """``sha256`` is that of the content where the Hub keeps it outside git, else None; ``blob_id`` is git's name for it."""

    path: str
    size: int
    blob_id: str
    sha256: str | None

    @property
    def etag(self) -> str:
        """What the content hashes to, and what the cache names the blob by."""
        return self.sha256 or self.blob_id


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """The content of a file from ``start`` on."""

    start: int
    pieces: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Change:
    """One commit to be: what to put where, and what to take away."""

    put: Sequence[tuple[str, str]]
    gone: Sequence[str]
    message: str
    branch: str
    parent: str


class Hub:
    """Names are ``org/name``. All methods raise AccessDenied, ModelNotFound, RevisionNotFound, and HubUnavailable."""

    def __init__(self, endpoint: str, token: str | None) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._token = token

    @classmethod
    def of_user(cls) -> Hub:
        """The one that HF_ENDPOINT names, else huggingface.co; offline, no Hub is asked."""
        if settings.hub_offline():
            raise DownloadFailed("HF_HUB_OFFLINE is set, so the Hub is not asked. Unset it to go on.")
        return cls(settings.hub_endpoint(), settings.hub_token())

    @property
    def has_token(self) -> bool:
        return self._token is not None

    def url(self, name: str) -> str:
        return f"{self.endpoint}/{name}"

    # What is read

    def model(self, name: str, revision: str | None = None) -> Remote:
        info = self._ask(lambda: self._api.model_info(name, revision=revision, timeout=self._read_s), name, revision)
        if getattr(info, "disabled", False):
            raise AccessDenied(f"The Hub has disabled {name}: nobody can download it.")
        if not isinstance(info.sha, str):
            raise HubUnavailable(f"{self.endpoint} answers for {name}, but not as a Hub does.")
        return Remote(info.id, info.sha, bool(info.gated), bool(info.private))

    def files(self, name: str, commit: str) -> tuple[RemoteFile, ...]:
        found = self._ask(lambda: list(self._api.list_repo_tree(name, recursive=True, revision=commit)), name, commit)
        files: list[Any] = [entry for entry in found if hasattr(entry, "blob_id")]
        return tuple(RemoteFile(file.path, file.size, file.blob_id, file.lfs.sha256 if file.lfs else None) for file in files)

    def commits(self, name: str) -> list[str]:
        """The hashes of the default branch, the newest first."""
        return [commit.commit_id for commit in self._ask(lambda: self._api.list_repo_commits(name), name)]

    def check_access(self, name: str, commit: str, path: str) -> None:
        """Whether files may be downloaded, which the Hub tells of gated models only when a file is asked for."""
        url = self._file_url(name, commit, path)
        self._ask(lambda: self._raise_for_status(self._session.head(url, headers=self._headers)), name, commit)

    @contextlib.contextmanager
    def read(self, name: str, commit: str, path: str, start: int = 0) -> Iterator[Body]:
        """The content of a file, from ``start`` on or, where the Hub ignores that, from its beginning."""
        headers = {**self._headers, "Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        request = self._session.stream("GET", self._file_url(name, commit, path), headers=headers, follow_redirects=True)
        with self._translated(name, commit), request as response:
            if response.status_code >= 400:
                response.read()
            self._raise_for_status(response)
            begins = start if response.status_code == 206 else 0
            yield Body(begins, response.iter_bytes())

    # What is written

    def create(self, name: str, *, private: bool) -> None:
        self._change(lambda: self._api.create_repo(name, private=private, exist_ok=True), name)

    def create_branch(self, name: str, branch: str) -> None:
        self._change(lambda: self._api.create_branch(name, branch=branch, exist_ok=True), name)

    def commit(self, name: str, change: Change) -> tuple[str, str]:
        """Make one commit; its hash, and where it is to be seen. Raises UploadFailed."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete  # noqa: PLC0415

        operations: list[Any] = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=file) for path, file in change.put]
        operations += [CommitOperationDelete(path_in_repo=path, is_folder=False) for path in change.gone]
        made = self._change(
            lambda: self._api.create_commit(
                name, operations, commit_message=change.message, revision=change.branch, parent_commit=change.parent
            ),
            name,
            change.branch,
        )
        return made.oid, str(made.commit_url)

    # How it is asked

    @cached_property
    def _api(self) -> HfApi:
        settings.prepare_hub_client()
        from huggingface_hub import HfApi  # noqa: PLC0415 - takes 0.2 s to import, and is for the network only

        _limit_waiting()
        return HfApi(endpoint=self.endpoint, token=self._token or False, library_name="mlxk")

    @property
    def _session(self) -> Any:
        _ = self._api
        from huggingface_hub import get_session  # noqa: PLC0415

        return get_session()

    @cached_property
    def _headers(self) -> dict[str, str]:
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # noqa: PLC0415

        return build_hf_headers(token=self._token or False, library_name="mlxk")

    @property
    def _read_s(self) -> float:
        return _read_limit_s()

    def _file_url(self, name: str, commit: str, path: str) -> str:
        _ = self._api
        from huggingface_hub import hf_hub_url  # noqa: PLC0415

        return hf_hub_url(name, path, revision=commit, endpoint=self.endpoint)

    def _raise_for_status(self, response: Any) -> None:
        from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]  # noqa: PLC0415

        hf_raise_for_status(response)

    def _ask(self, question: Callable[[], _Answer], name: str, revision: str | None = None) -> _Answer:
        with self._translated(name, revision):
            return question()

    def _change(self, action: Callable[[], _Answer], name: str, revision: str | None = None) -> _Answer:
        try:
            return self._ask(action, name, revision)
        except HubUnavailable as error:
            raise UploadFailed(error.message) from error

    @contextlib.contextmanager
    def _translated(self, name: str, revision: str | None) -> Iterator[None]:
        """The client's errors as ours. An answer that is no JSON comes from something that is no Hub."""
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

        _ = self._api
        http = _http_library()
        try:
            yield
        except HfHubHTTPError as error:
            raise self._refusal(error, name, revision) from error
        except HFValidationError as error:
            raise ModelNotFound(f"{name!r} cannot be a model of the Hub: its name is org/name.") from error
        except http.TimeoutException as error:
            raise HubUnavailable(f"{self.endpoint} did not answer in time. Try again.") from error
        except http.HTTPError as error:
            said = str(error) or type(error).__name__
            raise HubUnavailable(
                f"The connection to {self.endpoint} failed: {said}. Check the network and HF_ENDPOINT."
            ) from error
        except (ValueError, RuntimeError) as error:
            raise HubUnavailable(f"{self.endpoint} does not answer as a Hub does: {str(error).splitlines()[0]}.") from error

    def _refusal(self, error: Any, name: str, revision: str | None) -> Exception:
        """What the Hub's status means. Without a token, what is missing and what is private look the same."""
        response = error.response
        status, code = response.status_code, response.headers.get("X-Error-Code")
        if code == "GatedRepo":
            return AccessDenied(f"{name} is gated: accept its terms at {self.url(name)}, and {_AUTHENTICATION}")
        if code == "RevisionNotFound":
            return RevisionNotFound(f"{name} has no revision {revision!r} on the Hub.", available_hashes=[])
        if status == 401 and self._token is not None:
            return AccessDenied(f"The Hub does not know the token, and so shows nothing of {name}. {_AUTHENTICATION}")
        if status in (401, 403):
            there = "is not there, or is private" if status == 401 else "may not be used in this way"
            return AccessDenied(f"{name} {there}. {_AUTHENTICATION}")
        if status == 404:
            return ModelNotFound(f"There is no model {name} on {self.endpoint}, or this token may not know of it.")
        if status in _TRY_AGAIN:
            waits = response.headers.get("Retry-After", "")
            after_s = float(waits) if waits.isdecimal() else None
            return HubUnavailable(f"{self.endpoint} answers with status {status} for {name}. Try again later.", after_s)
        said = getattr(error, "server_message", None) or response.headers.get("X-Error-Message") or "no reason given"
        return UploadFailed(f"The Hub refuses this for {name} (status {status}): {said}.")


def address(name: str) -> str:
    """Where people see a model of the user's Hub."""
    return f"{settings.hub_endpoint().rstrip('/')}/{name}"


@contextlib.contextmanager
def listening(*, quiet: bool, aloud: bool) -> Iterator[list[str]]:
    """What the client says meanwhile; printed too if ``aloud``. ``quiet``: it draws no progress bars."""
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]  # noqa: PLC0415

    lines: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    if quiet:
        disable_progress_bars()
    logger, ear = logging.getLogger("huggingface_hub"), Ear()
    before = logger.handlers
    logger.handlers = [*before, ear] if aloud else [ear]
    try:
        yield lines
    finally:
        logger.handlers = before


def _http_library() -> ModuleType:
    """httpx, or what the client uses of its kind: its errors are of that module."""
    from huggingface_hub import get_session  # noqa: PLC0415

    return sys.modules[type(get_session()).__module__.partition(".")[0]]


def _read_limit_s() -> float:
    from huggingface_hub import constants  # noqa: PLC0415

    return float(constants.HF_HUB_DOWNLOAD_TIMEOUT)


def _limit_waiting() -> None:
    """Give a time limit to every request that the client makes without one."""
    from huggingface_hub import get_session, set_client_factory  # noqa: PLC0415

    usual = get_session()
    if _limit in usual.event_hooks["request"]:
        return
    kind, hooks = type(usual), [*usual.event_hooks["request"], _limit]
    set_client_factory(lambda: kind(event_hooks={"request": hooks}, follow_redirects=True, timeout=None))


def _limit(request: Any) -> None:
    answer_s = _read_limit_s() if request.method in ("GET", "HEAD") else _CHANGE_S
    limits = {"connect": _CONNECT_S, "read": answer_s, "write": _WRITE_S, "pool": None}
    asked = request.extensions.get("timeout") or {}
    request.extensions["timeout"] = {part: asked.get(part) or limit for part, limit in limits.items()}
