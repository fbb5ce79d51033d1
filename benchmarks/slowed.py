"""Makes a wheel whose engine computes a given share more for every token, to show that the release gate finds it.

``python benchmarks/slowed.py WHEEL 0.10 FOLDER`` writes a wheel of the same name into FOLDER. Its models compute one token in ten
twice, which is what a slower engine is: the same work for MLX, a tenth more of it. (A loop that keeps the processor busy for a
tenth of the time makes an answer a quarter slower on two cores, because it runs while MLX computes.)
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import zipfile
from pathlib import Path

ENGINE = "mlxk/engines/text.py"
"""Every text model comes from its ``load``."""

SLOWER = """

def _slow(load, share):
    import mlx.core as mx

    def loaded(*arguments, **options):
        found = load(*arguments, **options)
        kind = type(found[0])
        forward, owed = kind.__call__, 0.0
        if forward.__name__ == "slower":
            return found

        def slower(self, inputs, *arguments, **options):
            nonlocal owed
            owed += share
            if owed >= 1:
                owed -= 1
                mx.async_eval(forward(self, inputs[:, -1:]))
            return forward(self, inputs, *arguments, **options)

        kind.__call__ = slower
        return found

    return loaded


load = _slow(load, {share})
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
