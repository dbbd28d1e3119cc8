"""How much memory is available, and what is refused because it does not fit."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from lightsweep.core import memory
from lightsweep.core.errors import ConfigError

GIB = 2**30


@pytest.fixture
def system(tmp_path: Path):
    """A root of a file system with its files about memory."""

    def made(meminfo: str = "", group: str = "", **files: str) -> Path:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/meminfo").write_text(meminfo)
        (tmp_path / "proc/self/cgroup").write_text(group)
        for name, text in files.items():
            path = tmp_path / "sys/fs/cgroup" / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return made


MEMINFO = (
    "MemTotal:       16777216 kB\nMemAvailable:    8388608 kB\nSwapFree:        1048576 kB\nHugePages_Total:       0\n"
)


def test_available_memory_includes_swap(system) -> None:
    assert memory.available(system(MEMINFO)) == 9 * GIB


def test_without_proc_it_is_the_installed_memory(tmp_path: Path) -> None:
    """As on macOS."""
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory.available(tmp_path) == installed


@pytest.mark.parametrize("folder", ["job__inner__", "job__", ""])
def test_a_control_group_of_version_2_or_its_parent_limits_it(system, folder: str) -> None:
    """Cached files do not count as used."""
    files = {
        f"{folder}memory.max": f"{4 * GIB}\n",
        f"{folder}memory.current": f"{2 * GIB}\n",
        f"{folder}memory.stat": f"anon 5\ninactive_file {GIB}\n",
    }
    assert memory.available(system(MEMINFO, "0::/job/inner\n", **files)) == 3 * GIB


def test_a_control_group_of_version_1_limits_it(system) -> None:
    files = {
        "memory__job__memory.limit_in_bytes": f"{4 * GIB}\n",
        "memory__job__memory.usage_in_bytes": f"{2 * GIB}\n",
        "memory__job__memory.stat": f"cache 7\ntotal_inactive_file {GIB}\n",
        "memory__memory.limit_in_bytes": "9223372036854771712\n",
        "memory__memory.usage_in_bytes": "1\n",
        "memory__memory.stat": "cache 7\n",
    }
    assert memory.available(system(MEMINFO, "9:cpu:/x\n4:memory:/job\n0::/\n", **files)) == 3 * GIB


def test_a_group_without_a_limit_changes_nothing(system) -> None:
    files = {"memory.max": "max\n", "memory.current": "5\n", "memory.stat": ""}
    assert memory.available(system(MEMINFO, "0::/\n", **files)) == 9 * GIB


def test_the_memory_of_this_machine_is_a_number() -> None:
    assert 0 < memory.available() < 2**60


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (1.5e9, "1.5 GB"),
        (3.6e13, "36.0 TB"),
        (1e24, "1,000,000.0 EB"),
    ],
)
def test_bytes_are_formatted_with_a_unit(size: float, text: str) -> None:
    assert memory.format_bytes(size) == text


def test_a_larger_need_is_refused_with_both_numbers() -> None:
    memory.require("model", 5, "it needs", free=5)
    with pytest.raises(ConfigError) as refusal:
        memory.require("model", 6e9, "1,000 weights need", free=5e9)
    assert str(refusal.value) == "model must fit into memory: 1,000 weights need 6.0 GB, 5.0 GB are available"


def test_processes_are_limited_by_memory(memory_left) -> None:
    memory_left(2.2e9)
    memory.check_processes("hydra.sweeper.n_jobs", 4)
    with pytest.raises(ConfigError) as refusal:
        memory.check_processes("hydra.sweeper.n_jobs", 5)
    assert str(refusal.value) == (
        "hydra.sweeper.n_jobs must be at most 4 here, got 5: a process takes 500.0 MB before it has data or a network,"
        " and 2.2 GB are available"
    )


def test_one_process_is_always_allowed(memory_left) -> None:
    memory_left(1.0)
    memory.check_processes("hydra.sweeper.n_jobs", 1)


@pytest.mark.parametrize(
    "allocate", [lambda: torch.empty(2**55), lambda: np.empty(2**55), lambda: torch.empty(2**62, 9)]
)
def test_exhausted_memory_is_recognised_by_its_error(allocate) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as end:
        allocate()
    assert memory.is_exhausted(end.value)
    assert not memory.is_exhausted(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_cores_are_known_without_affinity(monkeypatch, tmp_path: Path) -> None:
    assert memory.available_cores(tmp_path) == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert memory.available_cores(tmp_path) == os.cpu_count()


@pytest.mark.parametrize(
    ("folder", "limit", "cores"),
    [
        *[("job__inner__", "150000 100000\n", 2), ("job__", "400000 100000\n", 4), ("", "5000 100000\n", 1)],
        *[("job__inner__", "max 100000\n", 64), ("job__inner__", "6400001 100000\n", 64)],
    ],
)
def test_the_quota_of_a_control_group_limits_the_cores(
    system, monkeypatch, folder: str, limit: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64))
    assert memory.available_cores(system("", "0::/job/inner\n", **{f"{folder}cpu.max": limit})) == cores
