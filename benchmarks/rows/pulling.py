"""``mlxk pull`` from a hub on loopback beside the client's own command, for a tiny model and for one of 256 MB."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from figures import Row, at_most
from measuring import paired, wall_of
from session import Session

from qualification.hub.server import running

_SHARD_BYTES, _SHARDS = 64 << 20, 4


def measure(session: Session) -> Iterator[Row]:
    tiny, large = session.scratch / "tiny", session.scratch / "large"
    for folder in (tiny, large):
        folder.mkdir()
        (folder / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    (tiny / "model.safetensors").write_bytes(os.urandom(100_000))
    for number in range(_SHARDS):
        (large / f"model-{number}.safetensors").write_bytes(os.urandom(_SHARD_BYTES))
    with running(session.scratch / "hub") as hub:
        for folder, rounds in ((tiny, session.rounds), (large, max(5, session.rounds // 3))):
            hub.store.import_folder(f"bench/{folder.name}", folder)
            ours = _fetching(session, hub.url, [session.tool, "pull", f"bench/{folder.name}"])
            theirs = _fetching(session, hub.url, [session.tool.with_name("hf"), "download", f"bench/{folder.name}"])
            mine, clients = paired(rounds, ours, theirs)
            yield Row(f"pull of a {folder.name} model", "s", mine, "hf download", clients, at_most(1.05))


def _fetching(session: Session, url: str, command: list[str | Path]) -> Callable[[], float]:
    """Seconds of one download into a new cache, which is gone before the next."""
    number = count()

    def once() -> float:
        home = session.scratch / f"home-{command[1]}-{next(number)}"
        quiet = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
        try:
            return wall_of(command, HF_HOME=str(home), HF_ENDPOINT=url, HF_HUB_DISABLE_PROGRESS_BARS="1", **quiet)
        finally:
            shutil.rmtree(home, ignore_errors=True)

    return once
