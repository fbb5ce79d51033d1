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
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

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
        at = f"/revision/{quote(revision, safe='')}" if revision is not None else ""
        with self._translated(name, revision):
            info = self._get(f"{self.endpoint}/api/models/{name}{at}").json()
            found = Remote(info["id"], info["sha"], bool(info.get("gated")), bool(info.get("private")))
        if info.get("disabled"):
            raise AccessDenied(f"The Hub has disabled {name}: nobody can download it.")
        return found

    def files(self, name: str, commit: str) -> tuple[RemoteFile, ...]:
        found: list[RemoteFile] = []
        page: str | None = f"{self.endpoint}/api/models/{name}/tree/{commit}?recursive=true&expand=false"
        with self._translated(name, commit):
            while page is not None:
                answer = self._get(page)
                found += [_file(entry) for entry in answer.json() if entry["type"] == "file"]
                page = answer.links.get("next", {}).get("url")
        return tuple(found)

    def commits(self, name: str) -> list[str]:
        """The hashes of the default branch, the newest first."""
        with self._translated(name, None):
            return [commit["id"] for commit in self._get(f"{self.endpoint}/api/models/{name}/commits/main").json()]

    def check_access(self, name: str, commit: str, path: str) -> None:
        """Whether files may be downloaded, which the Hub tells of gated models only when a file is asked for."""
        with self._translated(name, commit):
            answer = self._session.head(self._file_url(name, commit, path), headers=self._headers, follow_redirects=False)
            _raise_for_status(answer)

    @contextlib.contextmanager
    def read(self, name: str, commit: str, path: str, start: int = 0) -> Iterator[Body]:
        """The content of a file, from ``start`` on or, where the Hub ignores that, from its beginning."""
        headers = {**self._headers, "Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        with (
            self._translated(name, commit),
            self._session.stream("GET", self._file_url(name, commit, path), headers=headers, follow_redirects=True) as response,
        ):
            if response.status_code >= 400:
                response.read()
            _raise_for_status(response)
            begins = start if response.status_code == 206 else 0
            packed = "content-encoding" in response.headers
            yield Body(begins, response.iter_bytes() if packed else response.iter_raw())

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
    def _session(self) -> Any:
        """The client's own, with its proxies and certificates."""
        settings.prepare_hub_client()
        from huggingface_hub.utils import get_session  # type: ignore[attr-defined]  # noqa: PLC0415 - 0.2 s, for the network only

        _limit_waiting()
        return get_session()

    @cached_property
    def _api(self) -> HfApi:
        _ = self._session
        from huggingface_hub import HfApi  # noqa: PLC0415 - another 0.1 s, and only writing needs it

        return HfApi(endpoint=self.endpoint, token=self._token or False, library_name="mlxk")

    @cached_property
    def _headers(self) -> dict[str, str]:
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # noqa: PLC0415

        headers: dict[str, str] = build_hf_headers(token=self._token or False, library_name="mlxk")
        return headers

    def _get(self, url: str) -> Any:
        answer = self._session.get(url, headers=self._headers)
        _raise_for_status(answer)
        return answer

    def _file_url(self, name: str, commit: str, path: str) -> str:
        return f"{self.endpoint}/{name}/resolve/{commit}/{quote(path)}"

    def _change(self, action: Callable[[], _Answer], name: str, revision: str | None = None) -> _Answer:
        try:
            with self._translated(name, revision):
                return action()
        except DownloadFailed as error:
            raise UploadFailed(error.message) from error

    @contextlib.contextmanager
    def _translated(self, name: str, revision: str | None) -> Iterator[None]:
        """The client's errors as ours. An answer that is no JSON, or another, comes from something that is no Hub."""
        from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

        http = sys.modules[type(self._session).__module__.partition(".")[0]]  # httpx, or what the client has instead of it
        try:
            yield
        except HfHubHTTPError as error:
            raise self._refusal(error, name, revision) from error
        except http.TimeoutException as error:
            raise HubUnavailable(f"{self.endpoint} did not answer in time. Try again.") from error
        except http.HTTPError as error:
            said = str(error) or type(error).__name__
            raise HubUnavailable(
                f"The connection to {self.endpoint} failed: {said}. Check the network and HF_ENDPOINT."
            ) from error
        except ConnectionError as error:  # as the client tells that it is to stay offline
            raise HubUnavailable(f"{self.endpoint} is not asked: {str(error).partition(chr(10))[0]}") from error
        except (ValueError, RuntimeError, LookupError, TypeError) as error:
            said = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            raise HubUnavailable(f"{self.endpoint} does not answer as a Hub does ({said}).") from error

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
        return DownloadFailed(f"The Hub refuses this for {name} (status {status}): {said}.")


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


def _file(entry: dict[str, Any]) -> RemoteFile:
    lfs = entry.get("lfs")
    return RemoteFile(entry["path"], entry["size"], entry["oid"], lfs["oid"] if lfs else None)


def _raise_for_status(response: Any) -> None:
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]  # noqa: PLC0415

    hf_raise_for_status(response)


def _read_limit_s() -> float:
    from huggingface_hub import constants  # noqa: PLC0415

    return float(constants.HF_HUB_DOWNLOAD_TIMEOUT)


def _limit_waiting() -> None:
    """Give a time limit to every request that the client makes without one."""
    from huggingface_hub.utils import get_session, set_client_factory  # type: ignore[attr-defined]  # noqa: PLC0415

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
