"""Samples the machine's memory, load and GPU beside a command, five times a second, on macOS and Linux."""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import mean
from typing import IO, Any

import psutil

from qualification.errors import UsageError

_INTERVAL_MS = 200
_WARNING, _CRITICAL = 0.1, 0.02
"""Shares of memory that are available below which Linux, which has no such word, is said to be under pressure."""

Sample = dict[str, Any]

_GPU_NAMES = {"gpu_device_util": "Device", "gpu_renderer_util": "Renderer", "gpu_tiler_util": "Tiler"}


def main(argv: Sequence[str] | None = None) -> int:
    """The command's own exit code; 128 + n where signal n ended it, 2 where it cannot be started, 0 without a command."""
    arguments = _parser().parse_args(argv)
    if not arguments.command and arguments.duration is None:
        _parser().error("give a command after --, or --duration")
    try:
        with arguments.output.open("w", encoding="utf-8") as file:
            return _watch(arguments, file)
    except OSError as error:
        print(f"memmon: {error.filename or arguments.output}: {error.strerror}", file=sys.stderr)
        return UsageError.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="memmon", description="Sample memory, load and GPU while a command runs.")
    parser.add_argument("--interval", type=_positive, default=_INTERVAL_MS, metavar="MS", help="between samples (default: 200)")
    parser.add_argument("--output", type=Path, default=Path("memory.jsonl"), metavar="FILE", help="default: memory.jsonl")
    parser.add_argument("--duration", type=_positive, metavar="S", help="stop after so long; the command is then ended too")
    parser.add_argument("--verbose", action="store_true", help="say on stderr what is measured")
    parser.add_argument("command", nargs="*", metavar="command…", help="after --")
    return parser


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write a number above 0")
    return value


def _watch(arguments: argparse.Namespace, file: IO[str]) -> int:
    child = subprocess.Popen(arguments.command) if arguments.command else None
    samples: list[Sample] = []
    read = reader()
    began = time.monotonic()
    interval_s = arguments.interval / 1000
    ended_s = arguments.duration if arguments.duration is not None else float("inf")
    try:
        while True:
            due = began + len(samples) * interval_s
            over = _sleep_until(min(due, began + ended_s), child) or time.monotonic() - began >= ended_s
            sample = {**read(), "ts": round(time.time(), 3), "elapsed_s": round(time.monotonic() - began, 3)}
            samples.append(sample)
            file.write(json.dumps(sample) + "\n")
            file.flush()
            if arguments.verbose:
                print(f"memmon: {sample['elapsed_s']:.1f} s, {sample['ram_free_gb']:.2f} GB free", file=sys.stderr)
            if over:
                break
    except KeyboardInterrupt:
        pass
    code = _end(child)
    file.write(json.dumps({"summary": summary(samples, arguments.interval, code, arguments.command)}) + "\n")
    return code


def _sleep_until(due: float, child: subprocess.Popen[bytes] | None) -> bool:
    """Whether the command ended meanwhile."""
    wait_s = max(0.0, due - time.monotonic())
    if child is None:
        time.sleep(wait_s)
        return False
    try:
        child.wait(timeout=wait_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(child: subprocess.Popen[bytes] | None) -> int:
    """Ends the command if it still runs, and gives its exit code."""
    if child is None:
        return 0
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
    code = child.wait()
    return 128 - code if code < 0 else code


def reader() -> Callable[[], Sample]:
    """A function that takes one sample. The GPU's figures come from macOS's ``ioreg``, once a second; elsewhere they are null."""
    psutil.cpu_times_percent(interval=None)
    gpu = _MacGpu() if sys.platform == "darwin" else None

    def sample() -> Sample:
        memory, swap, times = psutil.virtual_memory(), psutil.swap_memory(), psutil.cpu_times_percent(interval=None)
        pressure = _pressure(memory.available / memory.total)
        load = [round(value, 2) for value in psutil.getloadavg()]
        return {
            "ram_free_gb": round(memory.available / 1e9, 3),
            "ram_used_gb": round((memory.total - memory.available) / 1e9, 3),
            "ram_percent": memory.percent,
            "swap_used_mb": round(swap.used / 1e6, 1),
            "swap_percent": swap.percent,
            "memory_pressure": pressure,
            "vm_pressure": pressure,
            "load_1": load[0],
            "load_5": load[1],
            "load_15": load[2],
            "cpu_user": times.user,
            "cpu_sys": times.system,
            "cpu_idle": times.idle,
            **(gpu.read() if gpu else dict.fromkeys(_MacGpu.KEYS)),
        }

    return sample


def _pressure(available: float) -> int:
    """1 normal, 2 warning, 4 critical: on macOS as the kernel says, elsewhere by the share that is available."""
    if sys.platform == "darwin":
        level, size = ctypes.c_int(1), ctypes.c_size_t(4)
        ctypes.CDLL(None).sysctlbyname(b"kern.memorystatus_vm_pressure_level", ctypes.byref(level), ctypes.byref(size), None, 0)
        return level.value
    return 4 if available < _CRITICAL else 2 if available < _WARNING else 1


class _MacGpu:
    """Utilisation in per cent, as the accelerator's driver reports it; read once a second, since that takes a process."""

    KEYS = ("gpu_active", *_GPU_NAMES)

    def __init__(self) -> None:
        self._read_at = float("-inf")
        self._last: Sample = dict.fromkeys(self.KEYS)

    def read(self) -> Sample:
        if time.monotonic() - self._read_at >= 1:
            self._read_at = time.monotonic()
            argv = ["ioreg", "-r", "-d", "1", "-c", "IOAccelerator"]
            text = subprocess.run(argv, capture_output=True, text=True, timeout=5, check=False).stdout
            self._last = gpu_figures(text)
        return self._last


def gpu_figures(ioreg: str) -> Sample:
    """The figures in ``ioreg``'s text; None for one that it does not tell."""
    figures: Sample = {}
    for key, name in _GPU_NAMES.items():
        found = re.search(rf'"{name} Utilization %"=(\d+)', ioreg)
        figures[key] = int(found[1]) if found else None
    return {"gpu_active": bool(figures["gpu_device_util"]), **figures}


def summary(samples: Sequence[Sample], interval_ms: float, exit_code: int, command: Sequence[str]) -> Sample:
    """What all samples amount to; None for what none of them tells."""

    def over(key: str, combine: Callable[[list[float]], float]) -> float | None:
        values = [sample[key] for sample in samples if sample.get(key) is not None]
        return round(combine(values), 3) if values else None

    return {
        "duration_s": samples[-1]["elapsed_s"] if samples else 0.0,
        "samples": len(samples),
        "interval_ms": interval_ms,
        "ram_free_min_gb": over("ram_free_gb", min),
        "ram_free_max_gb": over("ram_free_gb", max),
        "ram_free_avg_gb": over("ram_free_gb", mean),
        "swap_max_mb": over("swap_used_mb", max),
        "swap_avg_mb": over("swap_used_mb", mean),
        "load_max": over("load_1", max),
        "load_avg": over("load_1", mean),
        "cpu_user_max": over("cpu_user", max),
        "cpu_sys_max": over("cpu_sys", max),
        "gpu_device_max": over("gpu_device_util", max),
        "gpu_device_avg": over("gpu_device_util", mean),
        "gpu_renderer_max": over("gpu_renderer_util", max),
        "gpu_renderer_avg": over("gpu_renderer_util", mean),
        "exit_code": exit_code,
        "command": list(command),
        "timestamp": datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }
