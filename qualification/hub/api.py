"""The Hub's HTTP protocol as huggingface_hub speaks it, over a store: what is read, what is written, and who may."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bottle import Bottle, HTTPResponse, request  # type: ignore[import-untyped]

from qualification.hub import store
from qualification.hub.content import ContentStore
from qualification.hub.store import Entry, Missing, Stale, State, Store, User

_MODEL = "/api/models/<name:re:[^/]+/[^/]+>"
_PIECE_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Limits:
    """How many files a page of a tree has; from which size on a file of LFS comes in parts, of this size; and the largest."""

    page_entries: int = 1000
    part_bytes: int = 5_000_000_000
    file_max_bytes: int = 50_000_000_000


class Api:
    """The application. ``origin`` is where it is reached; ``elsewhere`` the same under another host's name, as a CDN has."""

    def __init__(self, kept: Store, content: ContentStore, limits: Limits) -> None:
        self._store = kept
        self._content = content
        self._limits = limits
        self.origin = self.elsewhere = ""
        self.application = Bottle()
        self._routes()

    def _routes(self) -> None:
        def route(path: str, method: str, answer: Any) -> None:
            self.application.route(path, method, self._guarded(answer))

        route("/api/whoami-v2", "GET", self._whoami)
        route("/api/validate-yaml", "POST", lambda: _json({"errors": [], "warnings": []}))
        route("/api/repos/create", "POST", self._create)
        route("/api/repos/delete", "DELETE", self._delete)
        route(_MODEL, "GET", self._info)
        route(f"{_MODEL}/revision/<revision:path>", "GET", self._info)
        route(f"{_MODEL}/tree/<rest:path>", "GET", self._tree)
        route(f"{_MODEL}/paths-info/<revision:path>", "POST", self._paths_info)
        route(f"{_MODEL}/refs", "GET", self._refs)
        route(f"{_MODEL}/commits/<revision:path>", "GET", self._commits)
        route(f"{_MODEL}/auth-check", "GET", lambda name: self._auth_check(name, write=False))
        route(f"{_MODEL}/auth-check/write", "GET", lambda name: self._auth_check(name, write=True))
        route(f"{_MODEL}/branch/<ref:path>", "POST", lambda name, ref: self._new_ref(name, "branches", ref))
        route(f"{_MODEL}/branch/<ref:path>", "DELETE", self._drop_branch)
        route(f"{_MODEL}/tag/<revision:path>", "POST", self._new_tag)
        route(f"{_MODEL}/preupload/<revision:path>", "POST", self._preupload)
        route(f"{_MODEL}/commit/<revision:path>", "POST", self._commit)
        for kind in ("read", "write"):
            route(
                f"{_MODEL}/xet-{kind}-token/<revision:path>", "GET", lambda name, revision, kind=kind: self._xet_token(name, kind)
            )
        route("/<name:re:[^/]+/[^/]+>.git/info/lfs/objects/batch", "POST", self._lfs_batch)
        route("/lfs/<sha256>", "PUT", self._lfs_put)
        route("/lfs/<sha256>/parts/<number:int>", "PUT", self._lfs_put_part)
        route("/lfs/<sha256>/parts", "POST", self._lfs_complete)
        route("/lfs/<sha256>/verify", "POST", self._lfs_verify)
        for method in ("GET", "HEAD"):
            route("/<name:re:[^/]+/[^/]+>/resolve/<rest:path>", method, self._resolve)
            route("/api/resolve-cache/models/<name:re:[^/]+/[^/]+>/<rest:path>", method, self._resolve_cache)
            route("/cdn/<sha256>/<path:path>", method, self._cdn)
        self._content.add_routes(route)
        self.application.error(404)(lambda problem: json.dumps({"error": "Sorry, we can't find the page you are looking for."}))

    def _guarded(self, answer: Any) -> Any:
        def guarded(**arguments: str) -> Any:
            try:
                replied = answer(**arguments)
            except HTTPResponse as refusal:
                replied = refusal
            except Missing as error:
                replied = _refusal(404, str(error), error.kind)
            except Stale as error:
                replied = _refusal(412, str(error))
            except (KeyError, ValueError, TypeError) as error:
                replied = _refusal(400, f"{type(error).__name__}: {error}")
            replied.set_header("X-Request-Id", uuid.uuid4().hex)
            replied.set_header("RateLimit", '"api";r=499;t=295')
            return replied

        return guarded

    # Who may

    def _user(self) -> User | None:
        """Raises an answer where a token is not one of ours."""
        words = request.headers.get("Authorization", "").split()
        if not words:
            return None
        found = self._store.user(words[-1])
        if found is None:
            raise _refusal(401, "Invalid credentials in Authorization header")
        return found

    def _readable(self, name: str) -> State:
        """The repository, if whoever asks may know of it: to others it is not there."""
        user = self._user()
        if (moved := self._store.moved(name)) is not None:
            self._readable(moved)
            query = f"?{request.query_string}" if request.query_string else ""
            there = quote(request.path.replace(name, moved, 1)) + query
            raise HTTPResponse(status=307, body="Temporary Redirect", headers={"Location": there})
        try:
            state = self._store.state(name)
            if not state.private or (user is not None and user.belongs_to(name.partition("/")[0])):
                return state
        except Missing:
            pass
        if user is None:
            raise _refusal(401, "Invalid username or password.")
        raise Missing("RepoNotFound", "Repository not found")

    def _downloadable(self, name: str) -> State:
        state = self._readable(name)
        if state.disabled:
            raise _refusal(403, "Access to this resource is disabled.")
        user = self._user()
        if state.gated and (user is None or not user.belongs_to(name.partition("/")[0])):
            sentence = f"Access to model {name} is restricted. You must have access to it and be authenticated to access it."
            raise _refusal(401 if user is None else 403, sentence, "GatedRepo")
        return state

    def _writer(self, name: str) -> User:
        user = self._user()
        if user is None:
            raise _refusal(401, "Invalid username or password.")
        if user.role != "write" or not user.belongs_to(name.partition("/")[0]):
            raise _refusal(403, "Forbidden: you don't have the rights to create or change a model under this namespace")
        return user

    def _whoami(self) -> HTTPResponse:
        user = self._user()
        if user is None:
            return _refusal(401, "Invalid username or password.")
        orgs = [{"type": "org", "name": name} for name in user.namespaces]
        token: dict[str, Any] = {"accessToken": {"displayName": "local", "role": user.role}}
        auth = {"type": "access_token", **token}
        return _json({"type": "user", "name": user.name, "fullname": user.name, "orgs": orgs, "auth": auth})

    def _auth_check(self, name: str, *, write: bool) -> HTTPResponse:
        self._downloadable(name)
        if write:
            self._writer(name)
        return _json({})

    # What is read

    def _info(self, name: str, revision: str = "main") -> HTTPResponse:
        state = self._readable(name)
        commit = self._store.resolve(name, revision)
        siblings = [{"rfilename": path} for path in sorted(commit.files)]
        if request.query.get("blobs"):
            siblings = [{"rfilename": path, **_details(entry)} for path, entry in sorted(commit.files.items())]
        body = {
            **{"_id": hashlib.sha1(name.encode()).hexdigest()[:24], "id": state.id, "modelId": state.id, "sha": commit.id},
            **{"private": state.private, "gated": state.gated, "disabled": state.disabled, "author": name.partition("/")[0]},
            **{"tags": [], "downloads": 0, "likes": 0, "lastModified": commit.created_at, "createdAt": commit.created_at},
            "siblings": siblings,
        }
        return _json(body)

    def _tree(self, name: str, rest: str) -> HTTPResponse:
        self._readable(name)
        commit, folder = self._store.split_revision(name, rest)
        prefix = f"{folder}/" if folder else ""
        recursive = request.query.get("recursive", "").lower() == "true"
        found = [entry for path, entry in sorted(commit.files.items()) if path.startswith(prefix)]
        shown = [_tree_entry(entry) for entry in found if recursive or "/" not in entry.path[len(prefix) :]]
        start = int(request.query.get("cursor", "0"))
        stop = start + self._limits.page_entries
        page = _json(shown[start:stop])
        if stop < len(shown):
            query = f"recursive={str(recursive).lower()}&cursor={stop}"
            page.set_header("Link", f'<{self.origin}{quote(request.path)}?{query}>; rel="next"')
        return page

    def _paths_info(self, name: str, revision: str) -> HTTPResponse:
        self._readable(name)
        commit = self._store.resolve(name, revision)
        return _json([_tree_entry(commit.files[path]) for path in request.forms.getall("paths") if path in commit.files])

    def _refs(self, name: str) -> HTTPResponse:
        state = self._readable(name)
        branches, tags = _refs("heads", state.branches or {}), _refs("tags", state.tags or {})
        return _json({"branches": branches, "tags": tags, "converts": [], "pullRequests": []})

    def _commits(self, name: str, revision: str) -> HTTPResponse:
        self._readable(name)
        past = self._store.history(name, self._store.resolve(name, revision))
        return _json(
            [{"id": each.id, "title": each.title, "message": "", "date": each.created_at, "authors": []} for each in past]
        )

    def _resolve(self, name: str, rest: str) -> HTTPResponse:
        """A regular file is a step away on the same host; one of LFS is on another."""
        self._downloadable(name)
        commit, path = self._store.split_revision(name, rest)
        try:
            entry = self._store.entry(name, commit, path)
        except Missing as error:
            return _refusal(404, str(error), error.kind, {"X-Repo-Commit": commit.id})
        headers = {"X-Repo-Commit": commit.id, "X-Linked-Etag": f'"{entry.etag}"', "Accept-Ranges": "bytes"}
        if not entry.lfs:
            return HTTPResponse(
                status=307,
                body="Temporary Redirect",
                headers={
                    **headers,
                    "Location": f"/api/resolve-cache/models/{name}/{commit.id}/{quote(path)}?etag=%22{entry.etag}%22",
                },
            )
        headers |= {
            "X-Linked-Size": str(entry.size),
            "Location": f"{self.elsewhere}/cdn/{entry.sha256}/{quote(path)}?signature=local",
        }
        if entry.xet_hash:
            auth = f"{self.origin}/api/models/{name}/xet-read-token/{commit.id}"
            headers |= {"X-Xet-Hash": entry.xet_hash, "Link": f'<{auth}>; rel="xet-auth"', "X-Xet-Refresh-Route": auth}
        return HTTPResponse(status=302, body=f"Found. Redirecting to {self.elsewhere}", headers=headers)

    def _resolve_cache(self, name: str, rest: str) -> HTTPResponse:
        self._downloadable(name)
        commit, path = self._store.split_revision(name, rest)
        entry = self._store.entry(name, commit, path)
        return self._file(entry.sha256, {"ETag": f'"{entry.etag}"', "X-Repo-Commit": commit.id})

    def _cdn(self, sha256: str, path: str) -> HTTPResponse:
        """Knows no repositories and no tokens; its ETag is a name of its own for the content."""
        if request.query.get("signature") != "local":
            return _refusal(403, "MissingKey")
        return self._file(sha256, {"ETag": f'"{hashlib.sha1(sha256.encode()).hexdigest()}"'})

    def _file(self, sha256: str, headers: Mapping[str, str]) -> HTTPResponse:
        size = self._store.object(sha256).stat().st_size
        span = _span(request.headers.get("Range"), size)
        if span is None:
            return HTTPResponse(status=416, headers={"Content-Range": f"bytes */{size}", "Content-Length": "0"})
        start, stop = span
        told = {
            **headers,
            "Content-Type": "application/octet-stream",
            "Accept-Ranges": "bytes",
            "Content-Length": str(stop - start),
        }
        partial = "Range" in request.headers
        if partial:
            told["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        if request.method == "HEAD":
            return HTTPResponse(status=200, headers=told)
        opened = self._store.object(sha256).open("rb")
        opened.seek(start)
        # waitress sends a file without copying it through Python, and closes it; it stops at Content-Length.
        return HTTPResponse(opened, status=206 if partial else 200, headers=told)

    # What is written

    def _create(self) -> HTTPResponse:
        asked = request.json
        user = self._user()
        namespace = asked.get("organization") or (user.name if user else "")
        name = f"{namespace}/{asked['name']}"
        self._writer(name)
        private = bool(asked.get("private")) or asked.get("visibility") == "private"
        made = self._store.create(name, private=private)
        body = {"url": f"{self.origin}/{name}", "name": name, "id": name, "private": private}
        return _json(body if made else {**body, "error": "You already created this model repo"}, status=200 if made else 409)

    def _delete(self) -> HTTPResponse:
        asked = request.json
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        self._writer(name)
        self._store.delete(name)
        return _json({})

    def _new_ref(self, name: str, kind: Any, ref: str, start: str | None = None) -> HTTPResponse:
        self._readable(name)
        self._writer(name)
        at = self._store.resolve(name, start or (request.json or {}).get("startingPoint") or "main")
        made = self._store.set_ref(name, kind, ref, at.id)
        return _json({}) if made else _refusal(409, f"Reference {ref} already exists")

    def _new_tag(self, name: str, revision: str) -> HTTPResponse:
        return self._new_ref(name, "tags", request.json["tag"], revision)

    def _drop_branch(self, name: str, ref: str) -> HTTPResponse:
        self._readable(name)
        self._writer(name)
        self._store.drop_branch(name, ref)
        return _json({})

    def _preupload(self, name: str, revision: str) -> HTTPResponse:
        self._readable(name)
        self._writer(name)
        there = self._store.resolve(name, revision).files
        return _json({"files": [_upload_mode(asked, there.get(asked["path"])) for asked in request.json["files"]]})

    def _lfs_batch(self, name: str) -> HTTPResponse:
        self._readable(name)
        self._writer(name)
        asked = json.load(request.body)
        answers = []
        for wanted in asked["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"], "authenticated": True}
            if wanted["size"] > self._limits.file_max_bytes:
                sentence = f"No file may have more than {self._limits.file_max_bytes:,} bytes"
                answer["error"] = {"code": 422, "message": sentence}
            elif not self._store.object(wanted["oid"]).exists():
                href = f"{self.origin}/lfs/{wanted['oid']}"
                answer["actions"] = {"upload": self._lfs_upload(href, wanted["size"]), "verify": {"href": f"{href}/verify"}}
            answers.append(answer)
        offered = asked.get("transfers", ["basic"])
        body = _json({"transfer": "xet" if "xet" in offered else "basic", "objects": answers})
        body.set_header("Content-Type", "application/vnd.git-lfs+json")
        return body

    def _lfs_upload(self, href: str, size: int) -> dict[str, Any]:
        """Where the content goes: a small one to one address, a large one in parts, each of which has an address of its own."""
        part = self._limits.part_bytes
        if size <= part:
            return {"href": f"{href}?signature=local"}
        addresses = {f"{number + 1:05}": f"{href}/parts/{number + 1}?signature=local" for number in range(-(-size // part))}
        return {"href": f"{href}/parts", "header": {"chunk_size": str(part), **addresses}}

    def _lfs_put(self, sha256: str) -> HTTPResponse:
        with self._store.incoming() as file:
            digest = hashlib.sha256()
            with file.open("wb") as opened:
                while piece := request.environ["wsgi.input"].read(_PIECE_BYTES):
                    digest.update(piece)
                    opened.write(piece)
            if digest.hexdigest() != sha256:
                return _refusal(400, f"The content is that of {digest.hexdigest()}, not of {sha256}")
            file.replace(self._store.object(sha256))
        return _json({})

    def _lfs_put_part(self, sha256: str, number: int) -> HTTPResponse:
        answer = _json({})
        answer.set_header("ETag", f'"{self._store.put_part(sha256, number, request.environ["wsgi.input"])}"')
        return answer

    def _lfs_complete(self, sha256: str) -> HTTPResponse:
        parts = [(part["partNumber"], part["etag"].strip('"')) for part in json.load(request.body)["parts"]]
        self._store.complete(sha256, parts)
        return _json({})

    def _lfs_verify(self, sha256: str) -> HTTPResponse:
        there = self._store.object(sha256)
        wanted = json.load(request.body)["size"]
        return _json({}) if there.exists() and there.stat().st_size == wanted else _refusal(404, "Object not found")

    def _commit(self, name: str, revision: str) -> HTTPResponse:
        self._readable(name)
        self._writer(name)
        title, parent = "Upload", None
        put: dict[str, Entry] = {}
        gone: dict[str, bool] = {}
        for line in request.body.read().splitlines():
            action = json.loads(line)
            key, value = action["key"], action["value"]
            if key == "header":
                title, parent = value["summary"], value.get("parentCommit")
            elif key == "file":
                content = base64.b64decode(value["content"]) if value.get("encoding") == "base64" else value["content"].encode()
                put[value["path"]] = self._store.put(value["path"], content, lfs=False)
            elif key == "lfsFile":
                put[value["path"]] = self._uploaded(value["path"], value["oid"])
            elif key in ("deletedFile", "deletedFolder"):
                gone[value["path"]] = key == "deletedFolder"
            else:
                raise ValueError(f"an action {key!r} is not known")
        made = self._store.commit(name, revision, title, put, gone, parent)
        return _json(
            {"success": True, "commitOid": made.id, "commitUrl": f"{self.origin}/{name}/commit/{made.id}", "hookOutput": ""}
        )

    def _uploaded(self, path: str, sha256: str) -> Entry:
        """What LFS or the content store has received. Raises ValueError where neither has."""
        xet_hash = self._content.file_of(sha256)
        there = self._store.object(sha256)
        if not there.exists() and xet_hash is not None:
            with self._store.incoming() as file:
                self._content.assemble(xet_hash, file)
                if store.hash_file(file) != sha256:
                    raise ValueError(f"what was uploaded of {path} is not {sha256}")
                file.replace(there)
        if not there.exists():
            raise ValueError(f"the content of {path} ({sha256}) was never uploaded")
        return store.entry(path, there.stat().st_size, sha256, lfs=True, xet_hash=xet_hash)

    def _xet_token(self, name: str, kind: str) -> HTTPResponse:
        if kind == "write":
            self._readable(name)
            self._writer(name)
        else:
            self._downloadable(name)
        told = {"casUrl": f"{self.origin}/cas", "accessToken": "local", "exp": 4102444800}
        answer = _json(told)
        answer.set_header("X-Xet-Cas-Url", str(told["casUrl"]))
        answer.set_header("X-Xet-Access-Token", str(told["accessToken"]))
        answer.set_header("X-Xet-Token-Expiration", str(told["exp"]))
        return answer


def _json(body: object, status: int = 200) -> HTTPResponse:
    return HTTPResponse(json.dumps(body), status=status, headers={"Content-Type": "application/json; charset=utf-8"})


def _refusal(status: int, sentence: str, code: str | None = None, headers: Mapping[str, str] | None = None) -> HTTPResponse:
    answer = _json({"error": sentence}, status)
    for name, value in {"X-Error-Message": sentence, **(headers or {})}.items():
        answer.set_header(name, value)
    if code is not None:
        answer.set_header("X-Error-Code", code)
    return answer


def _details(entry: Entry) -> dict[str, Any]:
    pointer = store.pointer(entry.sha256, entry.size)
    lfs = {"lfs": {"sha256": entry.sha256, "size": entry.size, "pointerSize": len(pointer)}} if entry.lfs else {}
    return {"size": entry.size, "blobId": entry.blob_id, **lfs}


def _tree_entry(entry: Entry) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": "file", "oid": entry.blob_id, "size": entry.size, "path": entry.path}
    if entry.lfs:
        shown["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": len(store.pointer(entry.sha256, entry.size))}
    if entry.xet_hash:
        shown["xetHash"] = entry.xet_hash
    return shown


def _refs(kind: str, refs: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": commit} for name, commit in sorted(refs.items())]


def _upload_mode(asked: Mapping[str, Any], there: Entry | None) -> dict[str, Any]:
    lfs = store.is_lfs(asked["path"], asked["size"], base64.b64decode(asked["sample"]))
    mode: dict[str, Any] = {"path": asked["path"], "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False}
    return mode | ({"oid": there.etag} if there is not None else {})


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last. None where the range begins behind the end (RFC 9110, 14.1.2)."""
    if not header or not header.startswith("bytes=") or "," in header:
        return 0, size
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, size - int(last)), size
    start = int(first)
    stop = min(size, int(last) + 1) if last else size
    return (start, stop) if start < size else None
