"""The one set of rules that says whether a model's files are whole, as a list of every problem found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from mlxk.contents import Contents, Unreadable

Code = Literal[
    "no_snapshot",
    "unreadable",
    "config_missing",
    "config_invalid",
    "weights_missing",
    "weights_empty",
    "weights_truncated",
    "weights_invalid",
    "index_invalid",
    "index_missing",
    "shard_missing",
    "shards_inconsistent",
    "lfs_pointer",
    "partial_file",
    "link_broken",
    "tokenizer_missing",
    "tokenizer_invalid",
    "preprocessor_missing",
    "preprocessor_invalid",
    "content_mismatch",
]

_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})(\.safetensors|\.bin)")
_INDEXES = {"model.safetensors.index.json": ".safetensors", "pytorch_model.bin.index.json": ".bin"}
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json", "tiktoken.model")
_PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")
_PARTIAL = (".tmp", ".partial", ".incomplete")


@dataclass(frozen=True, slots=True, eq=False)
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
        return (*_unreadable(contents), Problem("no_snapshot", "There is no downloaded snapshot."))
    found = [*_unreadable(contents), *_config(contents), *_weights(contents), *_strays(contents)]
    found += _tokenizer(contents, needed=reads_text)
    if reads_images:
        found += _preprocessor(contents)
    return tuple(found)


def unfinished(blobs: Iterable[str]) -> tuple[Problem, ...]:
    """Of a model that lacks files: the downloads that could have brought them."""
    return tuple(Problem("partial_file", f"{blob} is a download that did not finish.", blob) for blob in blobs)


def _unreadable(contents: Contents) -> Iterator[Problem]:
    for folder in contents.unreadable:
        yield Problem("unreadable", f"The folder {folder} cannot be listed.", folder)


def _config(contents: Contents) -> Iterator[Problem]:
    config = contents.documents.get("config.json")
    if config is None:
        yield Problem("config_missing", "config.json is missing.", "config.json")
    elif isinstance(config, Unreadable):
        yield Problem("config_invalid", f"config.json {config.why}.", "config.json")
    elif not config:
        yield Problem("config_invalid", "config.json is empty.", "config.json")


def _weights(contents: Contents) -> Iterator[Problem]:
    if not contents.weights:
        yield Problem("weights_missing", "There are no weights (safetensors, bin, gguf or npz).")
    for name in contents.weights:
        size, header = contents.files[name], contents.headers.get(name)
        if size == 0:
            yield Problem("weights_empty", f"{name} is empty.", name)
        elif isinstance(header, Unreadable):
            yield Problem("weights_invalid", f"{name} {header.why}.", name)
        elif header is not None and size is not None and header.declared_bytes not in (None, size):
            declared = header.declared_bytes or 0
            yield Problem(
                "weights_truncated" if size < declared else "weights_invalid",
                f"{name} has {size:,} bytes, and its header declares {declared:,}.",
                name,
            )
    yield from _shards(contents)


def _shards(contents: Contents) -> Iterator[Problem]:
    """What an index names must be there. Numbered shards without an index are missing it, and maybe each other."""
    kinds = {name[name.rfind(".") :] for name in contents.weights}
    indexed = {
        suffix: index for index, suffix in _INDEXES.items() if index in contents.documents and (not kinds or suffix in kinds)
    }
    for index in indexed.values():
        weight_map = contents.document(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            yield Problem("index_invalid", f"{index} has no weight_map that can be read.", index)
        else:
            yield from _missing(contents, set(map(str, weight_map.values())), index)
    if kinds <= indexed.keys():
        return
    numbered = [match for name in contents.weights if (match := _SHARD.fullmatch(name))]
    for stem, suffix in sorted({(match[1], match[4]) for match in numbered if match[4] not in indexed}):
        yield from _unindexed(contents, stem, suffix, {match[3] for match in numbered if match[1] == stem})


def _unindexed(contents: Contents, stem: str, suffix: str, totals: set[str]) -> Iterator[Problem]:
    if len(totals) > 1:
        said = " and ".join(sorted(totals))
        yield Problem(
            "shards_inconsistent", f"The shards {stem}-*{suffix} are numbered of {said}: they are parts of different sets."
        )
    total = max(totals)
    yield from _missing(contents, {f"{stem}-{n:05d}-of-{total}{suffix}" for n in range(1, int(total) + 1)}, "their numbering")
    yield Problem("index_missing", f"The weights are in numbered shards ({stem}-*{suffix}), and their index is missing.")


def _missing(contents: Contents, shards: Iterable[str], source: str) -> Iterator[Problem]:
    for shard in sorted(shards):
        if shard not in contents.files:
            yield Problem("shard_missing", f"{shard} is missing, which {source} names.", shard)


def _strays(contents: Contents) -> Iterator[Problem]:
    for name, size in contents.files.items():
        if size is None:
            yield Problem("link_broken", f"{name} is a link to a file that is not there, or no file at all.", name)
        elif name in contents.lfs_pointers:
            yield Problem("lfs_pointer", f"{name} is a Git LFS pointer, not the file itself.", name)
        elif name.endswith(_PARTIAL) or "partial" in name.rpartition("/")[2].lower():
            yield Problem("partial_file", f"{name} is left of a download that did not finish.", name)


def _tokenizer(contents: Contents, *, needed: bool) -> Iterator[Problem]:
    config = contents.documents.get("tokenizer_config.json")
    if isinstance(config, Unreadable):
        yield Problem("tokenizer_invalid", f"tokenizer_config.json {config.why}.", "tokenizer_config.json")
    if "tokenizer.json" in contents.files:
        if contents.tokenizer_cut and "tokenizer.json" not in contents.lfs_pointers:
            yield Problem(
                "tokenizer_invalid", "tokenizer.json is empty or cut short: it does not end as JSON does.", "tokenizer.json"
            )
    elif config is not None or (needed and not any(name in contents.files for name in _TOKENIZERS)):
        yield Problem("tokenizer_missing", "tokenizer.json is missing.", "tokenizer.json")


def _preprocessor(contents: Contents) -> Iterator[Problem]:
    names = [name for name in _PREPROCESSORS if name in contents.documents]
    if not names:
        yield Problem("preprocessor_missing", "preprocessor_config.json is missing, which reading images needs.")
    for name in names:
        document = contents.documents[name]
        if isinstance(document, Unreadable):
            yield Problem("preprocessor_invalid", f"{name} {document.why}.", name)
