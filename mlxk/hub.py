"""The Hugging Face Hub: the only module that talks to the network, through huggingface_hub.

The client asks some things without any time limit, and tells plain HTTP's errors by their wording; here every request has a
limit, and what the Hub refuses is told by its status.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from mlxk import interrupts, output, settings
from mlxk.errors import (
    AccessDenied,
    DependencyMissing,
    DownloadFailed,
    HubUnavailable,
    ModelNotFound,
    RevisionNotFound,
    TokenMissing,
    UploadFailed,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_Answer = TypeVar("_Answer")
_CONNECT_S, _WRITE_S, _CHANGE_S = 10, 60, 300  # a commit of many files is worked on for minutes
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_ANSWER_MAX_BYTES = 32 << 30  # a CDN may refuse to send more at once; the client itself asks for no more than 50 GB by plain HTTP
_SAID_MAX = 300
_MOST_PAGES = 10_000  # of 1,000 files each; a repository holds 100,000 files
_COMMIT = re.compile(r"[0-9a-f]{40}")
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
        token = settings.hub_token()
        if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
            raise TokenMissing("The token in HF_TOKEN, or in the file that holds it, has characters that no token has.")
        return cls(settings.hub_endpoint(), token)

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
            found = Remote(_text(info["id"]), _commit(info["sha"]), bool(info.get("gated")), bool(info.get("private")))
        if info.get("disabled"):
            raise AccessDenied(f"The Hub has disabled {name}: nobody can download it.")
        return found

    def files(self, name: str, commit: str) -> tuple[RemoteFile, ...]:
        found: list[RemoteFile] = []
        page: str | None = f"{self.endpoint}/api/models/{name}/tree/{commit}?recursive=true&expand=false"
        read: set[str] = set()
        with self._translated(name, commit):
            while page is not None:
                if page in read or len(read) == _MOST_PAGES:
                    raise ValueError(f"its list of files has no end: after {len(read)} pages comes {page}")
                read.add(page)
                answer = self._get(page)
                found += [_file(entry) for entry in answer.json() if entry["type"] == "file"]
                page = answer.links.get("next", {}).get("url")
        return tuple(found)

    def commits(self, name: str) -> list[str]:
        """The hashes of the default branch, the newest first."""
        with self._translated(name, None):
            return [_commit(commit["id"]) for commit in self._get(f"{self.endpoint}/api/models/{name}/commits/main").json()]

    def check_access(self, name: str, commit: str, path: str) -> None:
        """Whether files may be downloaded, which the Hub tells of gated models only when a file is asked for."""
        with self._translated(name, commit):
            answer = self._session.head(self._file_url(name, commit, path), headers=self._headers, follow_redirects=False)
            _raise_for_status(answer)

    @contextlib.contextmanager
    def read(self, name: str, commit: str, file: RemoteFile, start: int = 0) -> Iterator[Body]:
        """The content of a file, from ``start`` on or, where the Hub ignores that, from its beginning.

        Of a very large file only a part comes; ask again for what follows it.
        """
        headers = {**self._headers, "Accept-Encoding": "identity", **_range(start, file.size)}
        with contextlib.ExitStack() as open_:
            with self._translated(name, commit):
                url = self._file_url(name, commit, file.path)
                response = open_.enter_context(self._session.stream("GET", url, headers=headers, follow_redirects=True))
                if response.status_code >= 400:
                    response.read()
                _raise_for_status(response)
            yield Body(start if response.status_code == 206 else 0, self._pieces(response, name, commit))

    def _pieces(self, response: Any, name: str, commit: str) -> Iterator[bytes]:
        """What fails in reading them is the network's; what fails in using them is not, and passes by here."""
        with self._translated(name, commit):
            yield from response.iter_bytes() if "content-encoding" in response.headers else response.iter_raw()

    # What is written

    def create(self, name: str, *, private: bool) -> None:
        self._change(lambda: self._api.create_repo(name, private=private, exist_ok=True), name)

    def create_branch(self, name: str, branch: str) -> None:
        self._change(lambda: self._api.create_branch(name, branch=branch, exist_ok=True), name)

    def commit(self, name: str, change: Change) -> tuple[str, str]:
        """Make one commit; its hash, and where it is to be seen. Raises UploadFailed."""
        api = self._api
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete  # noqa: PLC0415

        def make() -> Any:
            operations: list[Any] = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=file) for path, file in change.put]
            operations += [CommitOperationDelete(path_in_repo=path, is_folder=False) for path in change.gone]
            return api.create_commit(
                name, operations, commit_message=change.message, revision=change.branch, parent_commit=change.parent
            )

        made = self._change(make, name, change.branch)
        return made.oid, str(made.commit_url)

    # How it is asked

    @cached_property
    def _session(self) -> Any:
        """The client's own, with its proxies and certificates."""
        settings.prepare_hub_client()
        try:
            interrupts.import_undisturbed("filelock")  # as in engines/libraries.py
            from huggingface_hub.utils import get_session  # type: ignore[attr-defined]  # noqa: PLC0415 - 0.2 s, for the network
        except ImportError as error:
            raise DependencyMissing(
                f"huggingface_hub, which speaks with the Hub, cannot be imported ({error}). Install mlxk again."
            ) from error
        _limit_waiting()
        return get_session()

    @cached_property
    def _api(self) -> HfApi:
        _ = self._session
        with output.unheard():
            from huggingface_hub import HfApi  # noqa: PLC0415 - another 0.1 s, and only writing needs it

        return HfApi(endpoint=self.endpoint, token=self._token or False, library_name="mlxk")

    @cached_property
    def _headers(self) -> dict[str, str]:
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # noqa: PLC0415

        headers: dict[str, str] = build_hf_headers(token=self._token or False, library_name="mlxk")
        return headers

    def _get(self, url: str) -> Any:
        ours = url.startswith(f"{self.endpoint}/")  # a mirror may send us on to another host, which has no need of the token
        headers = self._headers if ours else {key: value for key, value in self._headers.items() if key != "authorization"}
        answer = self._session.get(url, headers=headers)
        _raise_for_status(answer)
        return answer

    def _file_url(self, name: str, commit: str, path: str) -> str:
        return f"{self.endpoint}/{name}/resolve/{commit}/{quote(path)}"

    def _change(self, action: Callable[[], _Answer], name: str, revision: str | None = None) -> _Answer:
        """What the client makes of the Hub's answers, and of files that it cannot read, it tells in words only."""

        def told() -> _Answer:
            try:
                return action()
            except (ValueError, RuntimeError) as error:
                raise UploadFailed(f"The Hub's client gave up: {_said(error)}") from error

        try:
            with self._translated(name, revision):
                return told()
        except DownloadFailed as error:
            raise UploadFailed(error.message) from error
        except OSError as error:
            raise UploadFailed(f"{error.filename or name}: {error.strerror or error}.") from error

    @contextlib.contextmanager
    def _translated(self, name: str, revision: str | None) -> Iterator[None]:
        """The client's errors as ours. An answer that is no JSON, or another, comes from something that is no Hub."""
        http = sys.modules[type(self._session).__module__.partition(".")[0]]  # httpx, or what the client has instead of it
        from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

        try:
            yield
        except HfHubHTTPError as error:
            raise self._refusal(error, name, revision) from error
        except http.TimeoutException as error:
            raise HubUnavailable(f"{self.endpoint} did not answer in time. Try again.") from error
        except (http.HTTPError, http.InvalidURL) as error:
            said = str(error) or type(error).__name__
            raise HubUnavailable(
                f"The connection to {self.endpoint} failed: {said}. Check the network and HF_ENDPOINT."
            ) from error
        except ConnectionError as error:  # as the client tells that it is to stay offline
            raise HubUnavailable(f"{self.endpoint} is not asked: {_said(error)}") from error
        except (ValueError, RuntimeError, LookupError, TypeError, AttributeError) as error:
            said = f"{type(error).__name__}: {_said(error)}"
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
    """Raises what reading such a document raises, where it is none."""
    lfs, size = entry.get("lfs"), entry["size"]
    if type(size) is not int or size < 0:
        raise ValueError(f"a file of the size {size!r}")
    return RemoteFile(_text(entry["path"]), size, _text(entry["oid"]), _text(lfs["oid"]) if lfs else None)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where a word belongs")
    return value


def _commit(value: object) -> str:
    if not _COMMIT.fullmatch(_text(value)):
        raise ValueError(f"{value!r} for a commit")
    return str(value)


def _range(start: int, size: int) -> dict[str, str]:
    if size - start > _ANSWER_MAX_BYTES:
        return {"Range": f"bytes={start}-{start + _ANSWER_MAX_BYTES - 1}"}
    return {"Range": f"bytes={start}-"} if start else {}


def _said(error: BaseException) -> str:
    """The words of an error and of its cause, on one line."""
    words = [" ".join(str(each).split()) for each in (error, error.__cause__) if each is not None]
    return " ".join(filter(None, words))[:_SAID_MAX] or type(error).__name__


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
