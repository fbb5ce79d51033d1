"""``python -m qualification hub``: a hub started by hand, until it is told to stop."""

from __future__ import annotations

import argparse
import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from qualification import waiting
from qualification.errors import UsageError

if TYPE_CHECKING:
    from qualification.hub.server import LocalHub

DESCRIPTION = """\
Serve a model hub on 127.0.0.1, for HF_ENDPOINT to name. What it holds stays in --root.
It knows three tokens: hf_local_write, hf_local_read, and hf_local_stranger, whom no private or gated repository lets in.
While it runs, POST /-/faults takes a fault as JSON, DELETE /-/faults forgets all, and GET /-/requests tells what was asked.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--root", type=Path, required=True, help="the folder that keeps its repositories")
    parser.add_argument("--port", type=int, default=8090, help="0 takes a free one (default: 8090)")
    parser.add_argument(
        "--import", dest="imports", action="append", default=[], metavar="NAME=FOLDER", help="publish the files of FOLDER as NAME"
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="JSON",
        help='such as {"kind": "cut", "path": "*.safetensors", "at_byte": 1000}',
    )
    for state in ("private", "gated", "disabled"):
        parser.add_argument(f"--{state}", action="append", default=[], metavar="NAME", help=f"make a repository {state}")


def run(arguments: argparse.Namespace) -> int:
    from qualification.hub.server import LocalHub  # noqa: PLC0415 - bottle and waitress are no part of the runner's environment

    try:
        hub = LocalHub(arguments.root.absolute(), arguments.port)
    except (OSError, OverflowError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"127.0.0.1:{arguments.port} or {arguments.root} cannot be used: {said}") from error
    try:
        _prepare(hub, arguments)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        hub.start()
        print(f"{hub.url} serves {len(hub.store.names())} repositories of {arguments.root}; Ctrl-C stops it", flush=True)
        while True:
            time.sleep(waiting.DEAF_S)
    except KeyboardInterrupt:
        pass
    finally:
        hub.stop()
    return 0


def _prepare(hub: LocalHub, arguments: argparse.Namespace) -> None:
    """Publish, restrict, and make it fail, as told. Raises UsageError."""
    from qualification.hub.faults import Fault  # noqa: PLC0415 - see above
    from qualification.hub.store import Missing  # noqa: PLC0415

    for wanted in arguments.imports:
        name, _, folder = wanted.partition("=")
        if not hub.store.can_be_called(name) or not Path(folder).is_dir():
            raise UsageError(f"--import {wanted}: write org/name=FOLDER, with a folder that is there")
        hub.store.import_folder(name, Path(folder))
    for state, value in (("private", True), ("gated", "manual"), ("disabled", True)):
        for name in getattr(arguments, state):
            try:
                hub.store.change(name, **{state: value})
            except Missing as error:
                raise UsageError(f"--{state} {name}: {error}; import it first") from error
    for text in arguments.fault:
        try:
            hub.fail(Fault.parse(json.loads(text)))
        except ValueError as error:
            raise UsageError(f"--fault {text}: {error}") from error
