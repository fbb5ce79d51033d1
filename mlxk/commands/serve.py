"""Serve the models of the cache over HTTP, in the manner of OpenAI's API. SIGTERM ends it with 0, Ctrl-C with 130."""

from __future__ import annotations

import argparse
import dataclasses
import ipaddress
import math
import os
import signal
import sys
from pathlib import Path

from mlxk import engines, heap, settings
from mlxk.commands.options import add_chunk, images_per_chunk, number, whole
from mlxk.compatibility import MlxLm
from mlxk.errors import UsageError
from mlxk.library import Library, Model
from mlxk.output import Result, exit_code, notice, show_result
from mlxk.server import logs
from mlxk.server.app import Policy, make_app
from mlxk.server.lifecycle import Server, bind
from mlxk.server.worker import Limits, Worker

_LIMITS = Limits()
_LEVELS = ("debug", "info", "warning", "error")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", help="load it before the first request; others are still served on demand")
    add("--host", default="127.0.0.1", help="any but loopback needs --api-key; default %(default)s")
    add("--port", type=whole(0, 65535), default=8000, help="0 takes a free one; default %(default)s")
    add("--api-key", metavar="KEY", help="what clients must send as a bearer token; better in MLXK2_API_KEY")
    add("--allow-origin", action="append", default=[], metavar="URL", help="a web page that may read answers; repeatable")
    add("--max-tokens", type=whole(1), metavar="N", help="for requests that set no bound of their own")
    add_chunk(parser, "all of a message")
    together, waiting = _LIMITS.together, _LIMITS.waiting
    add("--concurrency", type=whole(1, 64), default=together, metavar="N", help="answers made together; default %(default)s")
    add("--queue", type=whole(1, 512), default=waiting, metavar="N", help="requests that may wait; default %(default)s")
    add("--prompt-cache", type=whole(0), metavar="MB", help="memory for what was read before; default: an eighth of what is free")
    add("--request-timeout", type=number(0.001, 1e6), metavar="S", help="fail what takes longer; default: never")
    add("--idle-unload", type=number(0.001, 1e6), metavar="S", help="unload a model that nobody asks for; default: never")
    add("--log-level", type=_level, default="info", metavar="LEVEL", help=f"{', '.join(_LEVELS)}; default %(default)s")
    add("--log-json", action="store_true", help="one JSON object on each line of the log, which is on stderr")
    parser.set_defaults(**settings.server_defaults())


def execute(arguments: argparse.Namespace) -> int:
    at_once = images_per_chunk(arguments.chunk)
    loopback = _is_loopback(arguments.host)
    if not loopback and not arguments.api_key:
        raise UsageError(f"{arguments.host} can be reached by others. Add --api-key, or stay on 127.0.0.1.")
    library = Library(settings.hub_cache(), MlxLm.installed())
    model = _preloaded(library, arguments.model) if arguments.model else None
    logs.configure(arguments.log_level, as_json=arguments.log_json, secret=arguments.api_key)
    limits = _limits(arguments)
    heap.share()
    worker = Worker(engines.load, engines.leave_thread, limits)
    policy = Policy(
        loopback,
        arguments.api_key,
        arguments.max_tokens,
        allowed_origins=tuple(arguments.allow_origin),
        images_at_once=at_once,
    )
    app = make_app(library, worker, policy, model.snapshot if model is not None and not model.snapshot.cached else None)
    server = Server(app, bind(arguments.host, arguments.port), limits.waiting + limits.together, authorized=policy.authorized)
    server.start()
    server.take_signals()
    show_result("serve", _announcement(server, model.name if model else None), as_json=arguments.json)
    worker.start(model, on_death=server.end)
    server.run()
    worker.close()
    server.drain(worker.cancel_all)
    return _end(worker, server.signals)


def _preloaded(library: Library, spec: str) -> Model:
    """A workspace has the name of its folder for clients, who need not know where it is."""
    snapshot = dataclasses.replace(library, workspace_home=settings.workspace_home()).locate(spec)
    if not snapshot.cached:
        snapshot = dataclasses.replace(snapshot, name=Path(snapshot.folder).name)
    return library.admit(snapshot, modality=None)


def _limits(arguments: argparse.Namespace) -> Limits:
    return Limits(
        waiting=arguments.queue,
        together=arguments.concurrency,
        prompt_cache_bytes=None if arguments.prompt_cache is None else arguments.prompt_cache << 20,
        request_s=arguments.request_timeout or math.inf,
        idle_s=arguments.idle_unload,
    )


def _level(text: str) -> str:
    if text.lower() not in _LEVELS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(_LEVELS)}")
    return text.lower()


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _announcement(server: Server, model: str | None) -> Result:
    host, port = server.bound.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    data = {"host": host, "port": port, "url": url, "pid": os.getpid(), "model": model}
    return Result(data, f"mlxk serves {model or 'the models of the cache'} on {url}/v1 (Ctrl-C ends it)")


def _end(worker: Worker, signals: list[int]) -> int:
    if worker.failure is not None:
        notice(f"mlxk serve: {worker.failure.message}")
        code = exit_code(worker.failure)
    else:
        code = 130 if signals[:1] == [signal.SIGINT] else 0
    if not worker.join(timeout_s=2.0):
        sys.stdout.flush()
        os._exit(code)  # it is inside MLX, which aborts the process if the interpreter is taken down under it
    return code
