"""The one set of rules that says whether a snapshot's files are whole, as a list of every problem found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from mlxk.contents import Contents, Unreadable

Code = Literal[
    "no_snapshot",
    "config_missing",
    "config_invalid",
    "weights_missing",
    "weights_empty",
    "weights_truncated",
    "weights_invalid",
    "index_invalid",
    "index_missing",
    "shard_missing",
    "lfs_pointer",
    "partial_file",
    "link_broken",
    "tokenizer_missing",
    "tokenizer_invalid",
    "preprocessor_missing",
    "preprocessor_invalid",
]

_WEIGHTS = (".safetensors", ".bin", ".gguf", ".npz")
_SHARD = re.compile(r"^(.*)-(\d{5})-of-(\d{5})\.safetensors$")
_INDEXES = {"model.safetensors.index.json": ".safetensors", "pytorch_model.bin.index.json": ".bin"}
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json", "tiktoken.model")


@dataclass(frozen=True, slots=True)
class Problem:
    """``message`` is a sentence; ``path`` is the file to blame, if there is one."""

    code: Code
    message: str
    path: str | None = None


def problems(contents: Contents, *, reads_text: bool, reads_images: bool) -> tuple[Problem, ...]:
    """All that is wrong with the files, worst first; nothing means healthy.

    A model that reads text needs a tokenizer, one that reads images a preprocessor's configuration.
    """
    if not contents.files:
        return (Problem("no_snapshot", "There is no downloaded snapshot."),)
    found = [*_config(contents), *_weights(contents), *_strays(contents)]
    if reads_text:
        found += _tokenizer(contents)
    if reads_images:
        found += _preprocessor(contents)
    return tuple(found)


def _config(contents: Contents) -> Iterator[Problem]:
    config = contents.documents.get("config.json")
    if config is None:
        yield Problem("config_missing", "config.json is missing.", "config.json")
    elif isinstance(config, Unreadable):
        yield Problem("config_invalid", f"config.json {config.why}.", "config.json")
    elif not config:
        yield Problem("config_invalid", "config.json is empty.", "config.json")


def _weights(contents: Contents) -> Iterator[Problem]:
    weights = [name for name in contents.files if name.endswith(_WEIGHTS)]
    if not weights:
        yield Problem("weights_missing", "There are no weights (safetensors, bin, gguf or npz).")
    for name in weights:
        size, header = contents.files[name], contents.headers.get(name)
        if size == 0:
            yield Problem("weights_empty", f"{name} is empty.", name)
        elif isinstance(header, Unreadable):
            yield Problem("weights_invalid", f"{name} {header.why}.", name)
        elif header is not None and size is not None and size != header.declared_bytes:
            yield Problem(
                "weights_truncated" if size < header.declared_bytes else "weights_invalid",
                f"{name} has {size:,} bytes, and its header declares {header.declared_bytes:,}.",
                name,
            )
    yield from _shards(contents, weights)


def _shards(contents: Contents, weights: list[str]) -> Iterator[Problem]:
    present = [
        name
        for name, suffix in _INDEXES.items()
        if name in contents.documents and (not weights or any(weight.endswith(suffix) for weight in weights))
    ]
    for name in present:
        weight_map = contents.document(name).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            yield Problem("index_invalid", f"{name} has no weight_map that can be read.", name)
        else:
            yield from _missing(contents, sorted({str(shard) for shard in weight_map.values()}), name)
    numbered = [match for match in map(_SHARD.match, weights) if match]
    if numbered and not present:
        total = max(int(match[3]) for match in numbered)
        wanted = [f"{numbered[0][1]}-{number:05d}-of-{total:05d}.safetensors" for number in range(1, total + 1)]
        yield from _missing(contents, wanted, "their numbering")
        yield Problem("index_missing", "The weights are in numbered shards, and their index is missing.")


def _missing(contents: Contents, shards: Iterable[str], source: str) -> Iterator[Problem]:
    for shard in shards:
        if shard not in contents.files:
            yield Problem("shard_missing", f"{shard} is missing, which {source} names.", shard)


def _strays(contents: Contents) -> Iterator[Problem]:
    for name, size in contents.files.items():
        base = name.rpartition("/")[2].lower()
        if size is None:
            yield Problem("link_broken", f"{name} is a link to a file that is not there.", name)
        elif name in contents.lfs_pointers:
            yield Problem("lfs_pointer", f"{name} is a Git LFS pointer, not the file itself.", name)
        elif base.endswith((".tmp", ".incomplete")) or "partial" in base:
            yield Problem("partial_file", f"{name} is left of a download that did not finish.", name)


def _tokenizer(contents: Contents) -> Iterator[Problem]:
    config = contents.documents.get("tokenizer_config.json")
    if isinstance(config, Unreadable):
        yield Problem("tokenizer_invalid", f"tokenizer_config.json {config.why}.", "tokenizer_config.json")
    if "tokenizer.json" in contents.files:
        if contents.tokenizer_cut and "tokenizer.json" not in contents.lfs_pointers:
            yield Problem("tokenizer_invalid", "tokenizer.json is empty, cut short or not JSON.", "tokenizer.json")
    elif config is not None or not any(name in contents.files for name in _TOKENIZERS):
        yield Problem("tokenizer_missing", "tokenizer.json is missing.", "tokenizer.json")


def _preprocessor(contents: Contents) -> Iterator[Problem]:
    names = [name for name in ("preprocessor_config.json", "processor_config.json") if name in contents.documents]
    if not names:
        yield Problem("preprocessor_missing", "preprocessor_config.json is missing, which reading images needs.")
    for name in names:
        document = contents.documents[name]
        if isinstance(document, Unreadable):
            yield Problem("preprocessor_invalid", f"{name} {document.why}.", name)
