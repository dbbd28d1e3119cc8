"""How much memory and how many cores there are, so that what cannot fit is refused before it is allocated; when
garbage is collected, and whether freed memory is kept.

This module is imported before torch is.
"""

import ctypes
import gc
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lightsweep.core.errors import ConfigError

# Bytes of its own that a process needs once torch and Lightning are imported (README, Limits); mapped files are shared.
PROCESS = 500_000_000
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_… of glibc's malloc.h
_EXHAUSTED = (
    *("can't allocate memory", "out of memory", "cannot allocate memory", "Storage size calculation overflowed"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"),
)


def require(key: str, need: float, rule: str, free: float | None = None) -> None:
    """Refuse what needs more memory than there is.

    Args:
        key: as it is typed.
        need: bytes.
        rule: what needs them: "the images need".
        free: bytes that are available; None: those of this machine.

    Raises:
        ConfigError: names what is needed and what is available.
    """
    free = available() if free is None else free
    if need > free:
        raise ConfigError(
            f"{key} must fit into memory: {rule} {format_bytes(need)}, {format_bytes(free)} are available"
        )


def check_processes(key: str, count: int) -> None:
    """Refuse more processes than fit into memory, even without data and a network.

    Raises:
        ConfigError: names the key and the number that fits.
    """
    most = max(1, int(min(available() / PROCESS, count)))
    if count > most:
        raise ConfigError(
            f"{key} must be at most {most} here, got {count}: a process takes {format_bytes(PROCESS)} before it has"
            f" data or a network, and {format_bytes(available())} are available"
        )


def available(system: Path = Path("/")) -> float:
    """Bytes that this process can still allocate: of the machine, with its swap, and of its control groups. Where there
    is no ``/proc`` (macOS), the memory that the machine has.

    Args:
        system: the root of the file system, where ``/proc`` and ``/sys`` are.
    """
    return min([_of_machine(system / "proc" / "meminfo"), *_of_groups(system)])


def available_cores(system: Path = Path("/")) -> int:
    """How many cores this process may use, at least 1: those of its affinity, and as many as the quota of its control
    group is worth (``docker run --cpus=2``), rounded up. Where that is unknown (macOS), how many the machine has.

    Args:
        system: the root of the file system, where ``/proc`` and ``/sys`` are.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([count, *_quotas(system)]))


def format_bytes(size: float) -> str:
    """A number of bytes for a person: 1.5 GB."""
    power = max(0, min(int(math.log10(max(size, 1)) // 3), len(_UNITS) - 1)) if math.isfinite(size) else 0
    return f"{size / 1000**power:,.{1 if power else 0}f} {_UNITS[power]}"


def is_exhausted(error: BaseException) -> bool:
    """Whether an error means that memory is exhausted; torch has no class for that on the CPU."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _EXHAUSTED)
    )


def _of_machine(meminfo: Path) -> float:
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return sum(int(lines[name].split()[0]) * 1024 for name in ("MemAvailable", "SwapFree"))
    except (OSError, ValueError, KeyError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_groups(system: Path) -> Iterator[float]:
    """What is left of the memory limit of each control group."""
    for group, version in _groups(system, "memory"):
        if version == 2:
            yield _left(group, "memory.max", "memory.current", "inactive_file")
        else:
            yield _left(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _quotas(system: Path) -> Iterator[int]:
    """The cores of each control group of version 2 that limits them."""
    for group, version in _groups(system, "cpu"):
        if version != 2:
            continue
        with suppress(OSError, ValueError):  # not mounted here, or no limit: max
            quota, period = map(int, (group / "cpu.max").read_text().split())
            yield math.ceil(quota / period)


def _groups(system: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """The control groups of a controller and their versions, 1 or 2: that of this process, and all around it."""
    try:
        lines = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, version = system / "sys/fs/cgroup", 2
        elif controller in controllers.split(","):
            top, version = system / "sys/fs/cgroup" / controller, 1
        else:
            continue
        own = top / path.lstrip("/")
        for group in (own, *own.parents):
            if group.is_relative_to(top):
                yield group, version


def _left(group: Path, limit: str, usage: str, cached: str) -> float:
    """Cached files do not count as used: their memory can be taken back."""
    try:
        most, used = (group / limit).read_text().strip(), int((group / usage).read_text())
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return math.inf if most == "max" else max(0, int(most) - used + int(statistics.get(cached, 0)))
    except (OSError, ValueError):  # not mounted here, or the outermost group, which has no limit
        return math.inf


def release() -> None:
    """Release what the last trial used: the workers of a GPU share its memory, and each trial measures its own peak."""
    gc.collect()  # objects that refer to each other would stay: a trial's network and data
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _keep_freed_memory() -> None:
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch's, read at its first tensor
    with suppress(OSError, AttributeError, TypeError):  # a C library that is not glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_MMAP_THRESHOLD, 2**25)  # the most that glibc takes; larger memory goes back to the system


@contextmanager
def importing_libraries() -> Iterator[None]:
    """Collect no garbage in the block, which imports torch and Lightning: to search what they create, again and again,
    takes a fifth of their time. Later collections leave it out. Where torch is there already, nothing changes.

    The process also keeps small memory that it frees, and asks for large pages: else each training step would get its
    tensors from the system anew, page by page.
    """
    if "torch" in sys.modules:
        yield
        return
    gc.disable()
    _keep_freed_memory()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
