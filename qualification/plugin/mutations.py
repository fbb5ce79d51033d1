"""Ways in which a model's files go wrong, to be done to the snapshot of a copy. Each returns what it touched."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 16777216\n"
"""As https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md describes it."""

Mutation = Callable[[Path], list[str]]


def remove_config(snapshot: Path) -> list[str]:
    return _without(snapshot, "config.json")


def inject_invalid_config(snapshot: Path) -> list[str]:
    return _instead(snapshot, "config.json", b'{"model_type": "llama",')


def truncate_weight(snapshot: Path) -> list[str]:
    name = _weights(snapshot)[0]
    return _instead(snapshot, name, (snapshot / name).read_bytes()[:-100])


def remove_snapshot(snapshot: Path) -> list[str]:
    shutil.rmtree(snapshot)
    return [snapshot.name]


def drop_random_files(snapshot: Path) -> list[str]:
    """Half of them, the same ones every time."""
    names = sorted(path.name for path in snapshot.iterdir())
    dropped = random.Random(0).sample(names, len(names) // 2)
    return [name for each in sorted(dropped) for name in _without(snapshot, each)]


def add_partial_tmp(snapshot: Path) -> list[str]:
    return _instead(snapshot, "model.safetensors.tmp", b"the first bytes")


def delete_indexed_shard(snapshot: Path) -> list[str]:
    return _without(snapshot, _indexed(snapshot)[-1])


def truncate_indexed_shard(snapshot: Path) -> list[str]:
    name = _indexed(snapshot)[-1]
    return _instead(snapshot, name, (snapshot / name).read_bytes()[:-1])


def lfsify_indexed_shard(snapshot: Path) -> list[str]:
    return _instead(snapshot, _indexed(snapshot)[0], LFS_POINTER)


def remove_index(snapshot: Path) -> list[str]:
    return _without(snapshot, "model.safetensors.index.json")


def remove_preprocessor(snapshot: Path) -> list[str]:
    return _without(snapshot, "preprocessor_config.json")


def inject_invalid_preprocessor(snapshot: Path) -> list[str]:
    return _instead(snapshot, "preprocessor_config.json", b"{not json")


def remove_tokenizer_json(snapshot: Path) -> list[str]:
    return _without(snapshot, "tokenizer.json")


def inject_invalid_tokenizer_config(snapshot: Path) -> list[str]:
    return _instead(snapshot, "tokenizer_config.json", b"[]")


def _weights(snapshot: Path) -> list[str]:
    return sorted(path.name for path in snapshot.glob("*.safetensors"))


def _indexed(snapshot: Path) -> list[str]:
    """The shards that the index names, as far as they are there: a copy may have a part of them only."""
    index = json.loads((snapshot / "model.safetensors.index.json").read_bytes())
    return sorted(name for name in set(index["weight_map"].values()) if (snapshot / name).exists())


def _without(snapshot: Path, name: str) -> list[str]:
    (snapshot / name).unlink()
    return [name]


def _instead(snapshot: Path, name: str, content: bytes) -> list[str]:
    """A file of its own: writing through the link would change the blob, which other snapshots may share."""
    (snapshot / name).unlink(missing_ok=True)
    (snapshot / name).write_bytes(content)
    return [name]
