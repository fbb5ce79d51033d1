"""Serve the models of the cache over HTTP, in the manner of OpenAI's API. SIGTERM ends it with 0, Ctrl-C with 130."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import signal
import sys
from typing import Any

from mlxk import engines, run, settings
from mlxk.commands.options import whole
from mlxk.compatibility import MlxLm
from mlxk.errors import UsageError
from mlxk.library import Library
from mlxk.output import Result, exit_code, notice, show_result
from mlxk.server.app import Policy, make_app
from mlxk.server.lifecycle import Server, bind
from mlxk.server.worker import Limits, Worker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="load it before the first request; others are still served on demand")
    parser.add_argument("--host", default="127.0.0.1", help="any but loopback needs --api-key; default %(default)s")
    parser.add_argument("--port", type=whole(0, 65535), default=8000, help="0 takes a free one; default %(default)s")
    parser.add_argument("--max-tokens", type=whole(1), metavar="N", help="for requests that set no bound of their own")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    parser.add_argument("--api-key", metavar="KEY", help="what clients must send as a bearer token")


def execute(arguments: argparse.Namespace) -> int:
    loopback = _is_loopback(arguments.host)
    if not loopback and not arguments.api_key:
        raise UsageError(f"{arguments.host} can be reached by others. Add --api-key, or stay on 127.0.0.1.")
    library = Library(settings.hub_cache(), MlxLm.installed())
    model = run.admit(library, arguments.model) if arguments.model else None
    _configure_logging(arguments.log_level)
    limits = Limits()
    worker = Worker(engines.load, engines.leave_thread, limits)
    policy = Policy(loopback, arguments.api_key, arguments.max_tokens)
    server = Server(make_app(library, worker, policy), bind(arguments.host, arguments.port), limits.waiting + limits.together)
    server.start()
    server.take_signals()
    show_result("serve", _announcement(server, model.name if model else None), as_json=arguments.json)
    worker.start(model, on_death=server.end)
    server.run()
    worker.close()
    server.drain(worker.cancel_all)
    return _end(worker, server.signals)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _configure_logging(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter("[%(levelname)s] %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("mlxk").setLevel(level.upper())
    logging.getLogger("waitress.queue").setLevel("ERROR")


_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}


class LogFormatter(logging.Formatter):
    """One line for each message, whatever a client put into it. Tracebacks only where asked for; the exception itself always."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        return super().formatMessage(record).translate(_CONTROLS)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name is logging's
        return super().formatException(ei) if settings.debug() else f"{ei[0].__name__}: {ei[1]}"


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
