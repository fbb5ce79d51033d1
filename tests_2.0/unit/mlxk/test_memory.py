"""What a machine has for a model, from the files in which kernels say so, and the refusal that names both numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlxk import memory
from mlxk.errors import InsufficientMemory

GIB = 1 << 30
MEMINFO = {"/proc/meminfo": "MemTotal:       32000000 kB\nMemFree: 1 kB\nMemAvailable:   16777216 kB\n"}
CONTAINER = {
    "/proc/self/cgroup": "0::/\n",
    "/sys/fs/cgroup/memory.max": f"{4 * GIB}\n",
    "/sys/fs/cgroup/memory.current": f"{3 * GIB}\n",
    "/sys/fs/cgroup/memory.stat": f"anon {1 * GIB}\nfile {2 * GIB}\n",
}
SERVICE = {
    "/proc/self/cgroup": "0::/user.slice/mlxk.service\n",
    "/sys/fs/cgroup/user.slice/memory.max": f"{2 * GIB}\n",
    "/sys/fs/cgroup/user.slice/memory.current": f"{GIB}\n",
    "/sys/fs/cgroup/user.slice/memory.stat": "file 0\n",
    "/sys/fs/cgroup/user.slice/mlxk.service/memory.max": "max\n",
    "/sys/fs/cgroup/user.slice/mlxk.service/memory.current": f"{GIB}\n",
    "/sys/fs/cgroup/user.slice/mlxk.service/memory.stat": "file 0\n",
}
VERSION_1 = {
    "/proc/self/cgroup": "4:hugetlb,memory:/docker/abc\n1:cpu:/\n0::/\n",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "/sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB}\n",
    "/sys/fs/cgroup/memory/memory.stat": "total_cache 0\n",
    "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": f"{5 * GIB}\n",
    "/sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes": f"{3 * GIB}\n",
    "/sys/fs/cgroup/memory/docker/abc/memory.stat": f"cache 7\ntotal_cache {GIB}\n",
}
FULL = {**CONTAINER, "/sys/fs/cgroup/memory.current": f"{9 * GIB}\n"}
ODD = {**CONTAINER, "/sys/fs/cgroup/memory.current": "many\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        (MEMINFO, 16 * GIB),
        (MEMINFO | CONTAINER, 3 * GIB),
        (CONTAINER, 3 * GIB),
        (MEMINFO | SERVICE, GIB),
        (MEMINFO | VERSION_1, 3 * GIB),
        (MEMINFO | FULL, 0),
        (MEMINFO | ODD, 16 * GIB),
    ],
    ids=["nothing known", "no cgroup", "container", "no meminfo", "service of a slice", "version 1", "over its limit", "odd"],
)
def test_linux_offers_what_the_kernel_calls_available_within_every_limit(files, expected):
    def read(path: Path) -> str:
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    assert memory.linux_available_bytes(read) == expected


@pytest.mark.parametrize(
    ("unified_gib", "wired_limit_mb", "expected_bytes"),
    [
        # what Metal reports as recommendedMaxWorkingSetSize on such machines
        (8, 0, 5_726_623_061),
        (16, 0, 11_453_246_122),
        (24, 0, 17_179_869_184),
        (36, 0, 28_991_029_248),
        (64, 0, 51_539_607_552),
        (64, 57_344, 60_129_542_144),
        (16, 57_344, 17_179_869_184),
    ],
)
def test_macos_offers_metal_s_recommended_working_set(unified_gib, wired_limit_mb, expected_bytes):
    assert memory.recommended_working_set(unified_gib * GIB, wired_limit_mb) == expected_bytes


@pytest.mark.parametrize(
    ("weights_bytes", "available", "numbers"),
    [
        (10_000_000_000, 8_000_000_000, ("12.0 GB", "8.0 GB")),
        (1_000_000_000, 1_199_999_999, ("1.2 GB", "1.2 GB")),
        (1_000_000, 500_000, ("1.2 MB", "0.5 MB")),
    ],
)
def test_a_model_that_cannot_fit_is_refused_with_both_numbers(weights_bytes, available, numbers):
    with pytest.raises(InsufficientMemory) as caught:
        memory.check_fits("org/big", weights_bytes, available)

    assert all(number in caught.value.message for number in ("org/big", *numbers))
    assert caught.value.details == {"needed_bytes": weights_bytes * 12 // 10, "available_bytes": available}


@pytest.mark.parametrize("available", [12_000_000_000, None], ids=["just enough", "unknown"])
def test_a_model_that_may_fit_is_not_refused(available):
    memory.check_fits("org/big", 10_000_000_000, available)
