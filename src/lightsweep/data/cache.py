"""Arrays kept beside the files they were parsed from, read back through a memory map.

Each array is a .npy file; meta.json, written last, holds the fingerprint of the sources and, of each array, the file's
size and time of change and a checksum. What does not match, be it half-written, damaged or out of date, is as if it
were not there. The checksum covers small arrays whole and of large ones a sample, so that a start does not read them
all; each file is on the disk before meta.json names it, and a later change shows in its time.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lightsweep.core import links
from lightsweep.core.files import replacing, sweep, write_whole

_VERSION = 2
_BLOCK = 2**20  # bytes
_SAMPLED = 32  # blocks of an array that are summed up; 32 MB take about 5 ms
_kept: dict[Path, tuple[list, list, dict[str, np.ndarray]]] = {}  # by folder: source, files, arrays


def fingerprint(files: list[Path]) -> list[list]:
    """Name, size and time of change of each file: another fingerprint, another cache."""
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def load(folder: Path, source: list) -> dict[str, np.ndarray] | None:
    """The arrays stored for this source, memory-mapped, or None where there are none that can be trusted.

    A process that asks again gets the same map, as long as the files are the same: a sweep's worker reads them once.
    """
    try:
        files = fingerprint(sorted(folder.iterdir()))
    except OSError:
        return None
    if _kept.get(folder, (None, None, None))[:2] != (source, files):
        _kept.clear()
        arrays = _load(folder, source)
        if arrays is None:
            return None
        _kept[folder] = (source, files, arrays)
    return dict(_kept[folder][2])


def _load(folder: Path, source: list) -> dict[str, np.ndarray] | None:
    try:
        meta = json.loads((folder / "meta.json").read_text())
        if meta["version"] != _VERSION or meta["source"] != source:
            return None
        arrays = {name: _mapped(folder, name) for name in meta["arrays"]}
        damaged = any(_mark(folder, name, array) != meta["arrays"][name] for name, array in arrays.items())
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return None if damaged else arrays


def save(folder: Path, source: list, arrays: Mapping[str, np.ndarray]) -> bool:
    """Store the arrays; False where the folder cannot be written or its disk is full."""
    if links.first_escape(folder, within=folder.parent) is not None:  # somebody else's folder would lead us elsewhere
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        for name, array in arrays.items():
            put(folder, name, array)
        seal(folder, source, arrays)
    except OSError:
        return False
    return True


def put(folder: Path, name: str, array: np.ndarray) -> None:
    """Write one array; it counts once the folder is sealed.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def filling(folder: Path, name: str, shape: tuple[int, ...]) -> Iterator[tuple[Path, int]]:
    """A file for an array of ``uint8``, to be written by whoever knows its pixels: its path, and where they begin.

    It takes its place when the block ends well, and counts once the folder is sealed.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(folder / f"{name}.npy") as temporary:
        array = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
        yield temporary, array.offset
        with temporary.open("rb") as file:
            os.fsync(file.fileno())


def seal(folder: Path, source: list, names: Iterable[str]) -> None:
    """Declare that the folder's arrays of these names are those of the source.

    Raises:
        OSError: it cannot be written.
    """
    marks = {name: _mark(folder, name, _mapped(folder, name)) for name in names}
    write_whole(folder / "meta.json", json.dumps({"version": _VERSION, "source": source, "arrays": marks}))


def _mapped(folder: Path, name: str) -> np.ndarray:
    # Copy on write: torch wants writable memory, the file stays as it is.
    return np.load(folder / f"{name}.npy", mmap_mode="c")


def _mark(folder: Path, name: str, array: np.ndarray) -> list[int]:
    stat = (folder / f"{name}.npy").stat()
    return [stat.st_size, stat.st_mtime_ns, _checksum(array)]


def _checksum(array: np.ndarray) -> int:
    """The sum of the array's bytes as 64-bit words, modulo 2**64: of all of them, or of blocks all over a large one."""
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    blocks = -(-len(data) // _BLOCK)
    chosen = range(blocks) if blocks <= _SAMPLED else np.linspace(0, blocks - 1, _SAMPLED).astype(int)
    return sum(_sum(data[block * _BLOCK : (block + 1) * _BLOCK]) for block in chosen) % 2**64


def _sum(data: np.ndarray) -> int:
    words = len(data) // 8 * 8
    return int(data[:words].view(np.uint64).sum(dtype=np.uint64)) + int(data[words:].sum(dtype=np.uint64))
