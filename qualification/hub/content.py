"""The content store of Xet: uploads kept in pieces, and the plan by which a file is put together from them.

Written from the public specification (https://huggingface.co/docs/xet): a xorb is a row of chunks, each after a header of eight
bytes; a shard says which runs of chunks make a file, and which sha256 the file has.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bottle import HTTPResponse, request  # type: ignore[import-untyped]

from qualification import settings

_CHUNK_HEADER_BYTES = 8
_XORB_FOOTER = b"XETBLOB"
_SHARD_HEADER_BYTES = 48
_ENTRY_BYTES = 48
_ASSEMBLE = """
import sys
from hf_xet import XetFileInfo, XetSession
endpoint, file, size, target = sys.argv[1:]
with XetSession().new_file_download_group(endpoint=endpoint, token="local", token_expiry_unix_secs=4102444800) as group:
    group.start_download_file(XetFileInfo(file, int(size)), target)
"""
_LAST = b"\xff" * 32
_WITH_VERIFICATION, _WITH_METADATA = 1 << 31, 1 << 30


@dataclass(frozen=True, slots=True)
class Term:
    """A run of chunks, ``first`` to before ``last``, of one xorb; ``size`` is that of the file's bytes in it."""

    xorb: str
    size: int
    first: int
    last: int


class ContentStore:
    """<root>/xorbs/<hash>, and <root>/files/<hash>.json with the terms of a file and its sha256."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self.origin = ""
        for folder in ("xorbs", "files", "sha256"):
            (root / folder).mkdir(parents=True, exist_ok=True)

    def add_routes(self, route: Callable[[str, str, Any], None]) -> None:
        route("/cas/v1/xorbs/<prefix>/<xorb>", "POST", self._receive_xorb)
        route("/cas/v1/shards", "POST", self._receive_shard)
        route("/cas/v1/reconstructions/<file>", "GET", self._reconstruct)
        route("/cas/xorbs/<xorb>", "GET", self._send_xorb)

    def file_of(self, sha256: str) -> str | None:
        """The hash by which the store knows the file with this sha256, if it has it."""
        try:
            return (self._root / "sha256" / sha256).read_text(encoding="ascii")
        except FileNotFoundError:
            return None

    def assemble(self, file: str, target: Path) -> None:
        """Put a file together, with the client's own decoder, which writes where HF_HOME says: in a process that has one of ours.

        Raises ValueError where it cannot.
        """
        size = sum(term.size for term in self._terms(file))
        command = [sys.executable, "-c", _ASSEMBLE, f"{self.origin}/cas", file, str(size), str(target)]
        environment = {**settings.inherited(), "HF_HOME": str(self._root / "home")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise ValueError(f"{file} cannot be put together: {done.stderr.strip().rpartition(chr(10))[2]}")

    def _receive_xorb(self, prefix: str, xorb: str) -> HTTPResponse:
        return _json({"was_inserted": self._put(self._root / "xorbs" / xorb, request.body.read())})

    def _receive_shard(self) -> HTTPResponse:
        for file, sha256, terms in _files_of_shard(request.body.read()):
            document = json.dumps([[term.xorb, term.size, term.first, term.last] for term in terms]).encode()
            self._put(self._root / "files" / f"{file}.json", document)
            if sha256 is not None:
                self._put(self._root / "sha256" / sha256, file.encode())
        return _json({"result": 1})

    def _reconstruct(self, file: str) -> HTTPResponse:
        if not (self._root / "files" / f"{file}.json").exists():
            return HTTPResponse("no such file", status=404)
        terms = self._terms(file)
        size = sum(term.size for term in terms)
        start, stop = _wanted(request.headers.get("Range"), size)
        if start >= size:
            return HTTPResponse("", status=416)
        chosen: list[Term] = []
        skipped = at = 0
        for term in terms:
            if at < stop and at + term.size > start:
                skipped = start - at if not chosen else skipped
                chosen.append(term)
            at += term.size
        runs = [{"hash": term.xorb, "unpacked_length": term.size, "range": _range(term.first, term.last)} for term in chosen]
        return _json({"offset_into_first_range": skipped, "terms": runs, "fetch_info": self._fetch_info(chosen)})

    def _fetch_info(self, terms: list[Term]) -> dict[str, list[dict[str, Any]]]:
        """Where the bytes of each run lie in its xorb; both ends of a range of bytes belong to it."""
        info: dict[str, list[dict[str, Any]]] = {}
        for term in dict.fromkeys(terms):
            edges = _chunk_edges((self._root / "xorbs" / term.xorb).read_bytes())
            place = {
                "range": _range(term.first, term.last),
                "url": f"{self.origin}/cas/xorbs/{term.xorb}",
                "url_range": _range(edges[term.first], edges[term.last] - 1),
            }
            if place not in info.setdefault(term.xorb, []):
                info[term.xorb].append(place)
        return info

    def _send_xorb(self, xorb: str) -> HTTPResponse:
        whole = (self._root / "xorbs" / xorb).read_bytes()
        start, stop = _wanted(request.headers.get("Range"), len(whole))
        told = {"Content-Type": "application/octet-stream", "Content-Range": f"bytes {start}-{stop - 1}/{len(whole)}"}
        return HTTPResponse(whole[start:stop], status=206, headers=told)

    def _terms(self, file: str) -> list[Term]:
        return [Term(*term) for term in json.loads((self._root / "files" / f"{file}.json").read_text(encoding="utf-8"))]

    def _put(self, path: Path, content: bytes) -> bool:
        with self._lock:
            if path.exists():
                return False
            beside = path.with_name(f"{path.name}.{os.getpid()}.new")
            beside.write_bytes(content)
            beside.replace(path)
            return True


def _files_of_shard(shard: bytes) -> Iterator[tuple[str, str | None, list[Term]]]:
    """Each file's hash, its sha256 if it is told, and its terms.

    After the header come, for each file, 48 bytes (hash, flags, count), as many terms of 48 bytes (xorb, flags, size, first and
    last chunk), as many verification entries if the flags say so, and the metadata if they do. A hash of ones ends them.
    """
    at = _SHARD_HEADER_BYTES
    while at + _ENTRY_BYTES <= len(shard) and shard[at : at + 32] != _LAST:
        file = _hex(shard[at : at + 32])
        flags, count = struct.unpack_from("<II", shard, at + 32)
        at += _ENTRY_BYTES
        terms = []
        for _ in range(count):
            size, first, last = struct.unpack_from("<III", shard, at + 36)
            terms.append(Term(_hex(shard[at : at + 32]), size, first, last))
            at += _ENTRY_BYTES
        at += _ENTRY_BYTES * count if flags & _WITH_VERIFICATION else 0
        sha256 = None
        if flags & _WITH_METADATA:
            sha256 = _hex(shard[at : at + 32])
            at += _ENTRY_BYTES
        yield file, sha256, terms


def _hex(raw: bytes) -> str:
    """A hash is written as four little-endian numbers of 64 bits."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))


def _chunk_edges(xorb: bytes) -> list[int]:
    """Where each chunk begins, and where the last one ends."""
    edges = [0]
    while edges[-1] + _CHUNK_HEADER_BYTES <= len(xorb) and not xorb.startswith(_XORB_FOOTER, edges[-1]):
        packed = int.from_bytes(xorb[edges[-1] + 1 : edges[-1] + 4], "little")
        edges.append(edges[-1] + _CHUNK_HEADER_BYTES + packed)
    return edges


def _wanted(header: str | None, size: int) -> tuple[int, int]:
    if not header:
        return 0, size
    first, _, last = header.removeprefix("bytes=").partition("-")
    return int(first), min(size, int(last) + 1) if last else size


def _range(start: int, end: int) -> dict[str, int]:
    return {"start": start, "end": end}


def _json(body: Mapping[str, Any]) -> HTTPResponse:
    return HTTPResponse(json.dumps(body), headers={"Content-Type": "application/json"})
