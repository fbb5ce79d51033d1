"""Fewer bits for the weights of a model: the libraries' own conversion, into a folder that is not there yet."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Literal

from mlxk.engines import libraries

libraries.prepare()


def quantize(source: Path, target: Path, modality: Literal["text", "vision"], bits: int, group_size: int) -> None:
    """What the libraries say goes to stderr. Raises whatever they raise."""
    with contextlib.redirect_stdout(sys.stderr):
        if modality == "vision":
            from mlx_vlm import convert  # noqa: PLC0415 - only one of the two is wanted, and each takes a second
        else:
            from mlx_lm import convert  # noqa: PLC0415
        wanted = {"quantize": True, "q_bits": bits, "q_group_size": group_size}
        convert(str(source), mlx_path=str(target), trust_remote_code=False, **wanted)
