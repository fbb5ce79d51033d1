"""One workspace from another: with a new index of its shards, or with fewer bits in its weights. The source is only read."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from mlxk import __version__, clone, content_hash, copying
from mlxk.errors import ConversionFailed, InvalidTarget, MlxkError, NotConvertible
from mlxk.files import read_part, write_whole
from mlxk.library import Model
from mlxk.workspace import SENTINEL, sentinel

Mode = Literal["repair-index", "quantize"]

BITS = (2, 3, 4, 6, 8)
_INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")
_HEADER_MAX_BYTES = 100 << 20
_LISTED = 5


@contextmanager
def staged(source: Path, target: Path, mode: Mode) -> Iterator[Path]:
    """A folder beside the target to work in, which becomes the target if nothing is raised meanwhile. Raises InvalidTarget."""
    if target.is_relative_to(source):
        raise InvalidTarget(f"{target} is inside {source}, which is only read. Name a folder outside it.")
    name = hashlib.sha256(f"{mode}:{source}:{target}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
    place = target.parent / f"{clone.TEMPORARY}{name}"
    with clone.begun(place):
        folder = place / "workspace"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            yield folder
            folder.rename(target)
        except OSError as error:
            raise ConversionFailed(f"{error.filename or target}: {error.strerror}. {target} was not made.") from error
        finally:
            clone.drop(place)


def repair_index(source: Model, folder: Path) -> str:
    """Copy a model, and write the index anew from what its shards hold; a sentence about it.

    Raises ConversionFailed, and says which, where tensors or shards are missing, or are there twice.
    """
    origin = source.snapshot.path
    shards = sorted(name for name in source.contents.files if name.endswith(".safetensors") and "/" not in name)
    if not shards:
        raise NotConvertible(f"{origin} has no safetensors at its top, and only for those there is an index.")
    tensors = {shard: _tensors(origin / shard) for shard in shards}
    weight_map = _weight_map(tensors)
    _check_complete(source, shards, weight_map)
    for name in source.contents.files:
        if name not in (_INDEX, SENTINEL):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            copying.copy(origin / name, folder / name)
    if len(shards) == 1:
        return f"{len(weight_map)} tensors in one file, which needs no index"
    total = sum(tensors[shard][name] for name, shard in weight_map.items())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_whole(str(folder / _INDEX), json.dumps(index, indent=2).encode())
    return f"{len(weight_map)} tensors in {len(shards)} shards"


def write_sentinel(source: Model, folder: Path, mode: Mode, **details: Any) -> None:
    """What it is and what it was made from. Raises OSError."""
    before = sentinel(source.snapshot.folder)
    document = {
        "mlxk_version": __version__,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "source_repo": before.origin if before is not None else None,
        "source_revision": before.document.get("source_revision") if before is not None else None,
        "managed": True,
        "operation": "convert",
        "mode": mode,
        **details,
    }
    write_whole(str(folder / SENTINEL), json.dumps(document, indent=1).encode("utf-8"))
    content_hash.pin(str(folder))


def _tensors(shard: Path) -> dict[str, int]:
    """The tensors of a file, and how many bytes each has. Raises ConversionFailed where the file holds something else."""
    length = int.from_bytes(read_part(str(shard), 8), "little")
    try:
        header = json.loads(read_part(str(shard), min(length, _HEADER_MAX_BYTES), 8))
        places = {name: entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"}
        sizes = {name: int(end) - int(start) for name, (start, end) in places.items()}
        whole = 8 + length + max((int(end) for _, end in places.values()), default=0)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ConversionFailed(f"{shard.name} cannot be read as safetensors, so nobody knows what it should hold.") from error
    if shard.stat().st_size != whole:
        raise ConversionFailed(
            f"{shard.name} has {shard.stat().st_size:,} bytes, and its header declares {whole:,}. Fetch it again."
        )
    return sizes


def _weight_map(tensors: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for shard, names in tensors.items():
        for name in names:
            if name in found:
                raise ConversionFailed(f"The tensor {name} is in {found[name]} and in {shard}: they are parts of different sets.")
            found[name] = shard
    return found


def _check_complete(source: Model, shards: list[str], weight_map: Mapping[str, str]) -> None:
    """Against the numbers in the names, and against the index that is there, as far as it can be read."""
    listed = source.contents.document(_INDEX).get("weight_map")
    missing = sorted(listed.keys() - weight_map.keys()) if isinstance(listed, dict) else []
    if missing:
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        raise ConversionFailed(
            f"{len(missing)} tensors are in no file: {', '.join(missing[:_LISTED])}{more}. A new index would only hide that."
        )
    numbered = [match for shard in shards if (match := _SHARD.fullmatch(shard))]
    for stem, total in sorted({(match[1], match[3]) for match in numbered}):
        wanted = {f"{stem}-{number:05d}-of-{total}.safetensors" for number in range(1, int(total) + 1)}
        if absent := sorted(wanted - set(shards)):
            raise ConversionFailed(
                f"{', '.join(absent[:_LISTED])} is missing, by the numbers of the others, with every tensor in it."
            )


def check_quantizable(model: Model) -> Literal["text", "vision"]:
    """What it is quantized as. Raises NotConvertible."""
    if not model.healthy:
        raise NotConvertible(f"{model.name} is not whole: {model.reason}")
    if model.description.quantization is not None:
        raise NotConvertible(f"{model.name} is quantized already. Quantize what it was made from: its own bits are gone.")
    for modality in ("vision", "text"):
        if modality in model.runtime:
            if (obstacle := model.runtime[modality]) is not None:
                raise NotConvertible(f"{model.name} cannot be loaded to be quantized. {obstacle}")
            return modality
    raise NotConvertible(
        f"{model.name} is a model for {' and '.join(model.runtime) or 'nothing'}; only text and vision are quantized."
    )


def check_smaller(source: Model, folder: Path, group_size: int) -> int:
    """How many bytes the weights have now. The libraries leave out, without a word, every layer that cannot be divided into
    groups, and vision's own layers. Raises ConversionFailed where nothing was left to do.
    """
    made = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if made >= source.weights_bytes:
        raise ConversionFailed(
            f"Nothing became smaller: the layers of {source.name} cannot be divided into groups of {group_size}."
        )
    return made


def failed(error: Exception, target: Path) -> MlxkError:
    """What an ML library raised, as a sentence."""
    return ConversionFailed(f"{target} was not made: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
