"""Make one workspace from another: with the index of its shards repaired, or with its weights quantized."""

from __future__ import annotations

import argparse
import contextlib
import io
from pathlib import Path
from typing import Any

from mlxk import clone, convert, views
from mlxk.errors import HealthCheckFailed, InvalidArgument, WorkspaceModel
from mlxk.library import Library, Model
from mlxk.output import Result, plain, unheard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="a workspace: a path, or a name in MLXK_WORKSPACE_HOME; it is only read")
    parser.add_argument("target", help="a folder that is not there yet")
    parser.add_argument("--repair-index", action="store_true", help="copy it, and write the index of its shards anew")
    parser.add_argument("--quantize", type=int, choices=convert.BITS, metavar="BITS", help="2, 3, 4, 6 or 8 bits for each weight")
    parser.add_argument(
        "--q-group-size",
        type=int,
        choices=(32, 64, 128),
        default=64,
        metavar="N",
        help="weights that share a scale: 32, 64 or 128",
    )
    parser.add_argument("--skip-health", action="store_true", help="keep what was made even if it is not whole")


def execute(arguments: argparse.Namespace) -> Result:
    if arguments.repair_index == (arguments.quantize is not None):
        raise InvalidArgument("Say what to do: either --repair-index or --quantize BITS.")
    library = Library.of_user()
    source = library.find(arguments.source)
    if source.snapshot.cached:
        raise WorkspaceModel(f"{source.name} is in the cache. `mlxk clone {source.name}` makes a workspace of it first.")
    target = clone.target_of(source.name, arguments.target, library.workspace_home)
    clone.check_target(target, library.hub)
    mode: convert.Mode = "repair-index" if arguments.repair_index else "quantize"
    with convert.staged(source.snapshot.path, target, mode) as folder:
        did = convert.repair_index(source, folder) if arguments.repair_index else _quantize(source, folder, arguments)
        convert.write_sentinel(source, folder, mode, **_bits(arguments))
        made = library.find(str(folder))
        if not made.healthy and not arguments.skip_health:
            raise HealthCheckFailed(
                f"{target} was not made, for it would not be whole: {made.reason} --skip-health makes it all the same."
            )
    return _result(source, target, mode, did, made, arguments)


def _quantize(source: Model, folder: Path, arguments: argparse.Namespace) -> str:
    modality = convert.check_quantizable(source)
    quiet = contextlib.redirect_stderr(io.StringIO()) if arguments.json else contextlib.nullcontext()
    with quiet, unheard():
        from mlxk.engines.quantize import quantize  # noqa: PLC0415 - imports the ML libraries

        try:
            quantize(source.snapshot.path, folder, modality, arguments.quantize, arguments.q_group_size)
        except Exception as error:  # what the libraries raise has no common class; each is told as what failed
            raise convert.failed(error, folder) from error
    made = convert.check_smaller(source, folder, arguments.q_group_size)
    sizes = f"{views.size(made)} of weights instead of {views.size(source.weights_bytes)}"
    return f"{arguments.quantize} bits in groups of {arguments.q_group_size}, {sizes}"


def _bits(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.quantize is None:
        return {}
    return {"quantization": {"bits": arguments.quantize, "group_size": arguments.q_group_size}}


def _result(source: Model, target: Path, mode: str, did: str, made: Model, arguments: argparse.Namespace) -> Result:
    state = "healthy" if made.healthy else "unhealthy"
    message = f"{source.snapshot.folder} → {target} ({mode}: {did}), {state}"
    data: dict[str, Any] = {
        "source": source.snapshot.folder,
        "target": str(target),
        "mode": mode,
        "message": message,
        "bits": arguments.quantize,
        "group_size": None if arguments.quantize is None else arguments.q_group_size,
        "health_check": not arguments.skip_health,
        "health_status": state,
        "health_reason": None if made.healthy else made.reason,
    }
    return Result(data, plain(message))
