"""Arrays kept beside the files they were parsed from, read back through a memory map.

Each array is a .npy file; meta.json, written last, holds the fingerprint of the sources and a checksum of each array.
What does not match, be it half-written, damaged or out of date, is as if it were not there.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lightsweep.files import replacing, write_whole

_VERSION = 1
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
        # Copy on write: torch wants writable memory, the file stays as it is.
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in meta["checksums"]}
        damaged = any(_checksum(array) != meta["checksums"][name] for name, array in arrays.items())
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return None if damaged else arrays


def save(folder: Path, source: list, arrays: Mapping[str, np.ndarray]) -> bool:
    """Store the arrays; False where the folder cannot be written or its disk is full."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in arrays.items():
            with replacing(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
                np.save(file, array)
        checksums = {name: _checksum(array) for name, array in arrays.items()}
        meta = {"version": _VERSION, "source": source, "checksums": checksums}
        write_whole(folder / "meta.json", json.dumps(meta))
    except OSError:
        return False
    return True


def _checksum(array: np.ndarray) -> int:
    """The sum of the array's bytes as 64-bit words, modulo 2**64: 184 MB in about 30 ms."""
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    words = len(data) // 8 * 8
    total = int(data[:words].view(np.uint64).sum(dtype=np.uint64)) + int(data[words:].sum(dtype=np.uint64))
    return total % 2**64
