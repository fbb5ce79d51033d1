"""Makes a wheel whose engine takes a given share longer for every token, to show that the release gate finds it.

``python benchmarks/slowed.py WHEEL 0.10 FOLDER`` writes a wheel of the same name into FOLDER. Before each token its engine keeps
the processor busy for that share of the time since the token before, or since it began with the answer, which is what a slower
engine looks like from outside.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import zipfile
from pathlib import Path

ENGINE = "mlxk/engines/answering.py"
"""Every token of every answer passes through ``Answering.push``, decoded alone or together with others."""

SLOWER = """

def _slow(push, share):
    import time

    def slowed(self, *arguments):
        now = time.perf_counter()
        until = now + share * (now - (self._last or self._began))
        while time.perf_counter() < until:
            pass
        return push(self, *arguments)

    return slowed


Answering.push = _slow(Answering.push, {share})
"""


def make(wheel: Path, share: float, folder: Path) -> Path:
    """The slowed wheel in ``folder``. Raises ``KeyError`` for a wheel without the engine."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / wheel.name
    with zipfile.ZipFile(wheel) as original, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as slowed:
        content = original.read(ENGINE) + SLOWER.format(share=share).encode()
        record = next(name for name in original.namelist() if name.endswith(".dist-info/RECORD"))
        for name in original.namelist():
            written = {ENGINE: content, record: _recorded(original.read(record), content)}.get(name)
            slowed.writestr(original.getinfo(name), original.read(name) if written is None else written)
    return target


def _recorded(record: bytes, content: bytes) -> bytes:
    """The wheel's list of files with the engine's new hash and size, in the form of the packaging specification."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    lines = record.decode().splitlines()
    kept = [line for line in lines if not line.startswith(f"{ENGINE},")]
    return "\n".join([*kept, f"{ENGINE},sha256={digest},{len(content)}", ""]).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("share", type=float, help="0.10 for a tenth")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    print(make(arguments.wheel, arguments.share, arguments.folder))


if __name__ == "__main__":
    main()
