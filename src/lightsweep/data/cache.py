"""Arrays kept beside the files they were parsed from, read back through a memory map.

Each array is a .npy file; meta.json, written last, holds the fingerprint of the sources and, of each array, the file's
size and time of change and a checksum. What does not match, be it half-written, damaged or out of date, is as if it
were not there. The checksum covers small arrays whole and of large ones a sample, so that a start does not read them
all; each file is on the disk before meta.json names it, and a later change shows in its time.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lightsweep.core import memory, paths
from lightsweep.core.files import remove_leftovers, replace_atomically, write_atomic
from lightsweep.core.text import printable
from lightsweep.data import decode, folders
from lightsweep.data.decode import VERSION

_VERSION = 2
_BLOCK = 2**20  # bytes
_SAMPLED = 32  # blocks of an array that are summed up; 32 MB take about 5 ms
_kept: dict[Path, tuple[list, list, dict[str, np.ndarray]]] = {}  # by folder: source, files, arrays


def file_states(files: list[Path]) -> list[list]:
    """Name, size and time of change of each file: another fingerprint, another cache."""
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def load(folder: Path, source: list) -> dict[str, np.ndarray] | None:
    """The arrays stored for this source, memory-mapped, or None where there are none that can be trusted.

    A process that asks again gets the same map, as long as the files are the same: a sweep's worker reads them once.
    """
    try:
        files = file_states(sorted(folder.iterdir()))
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
    if paths.find_escape(folder, within=folder.parent) is not None:  # somebody else's folder would lead us elsewhere
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
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
    with replace_atomically(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
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
    with replace_atomically(folder / f"{name}.npy") as temporary:
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
    write_atomic(folder / "meta.json", json.dumps({"version": _VERSION, "source": source, "arrays": marks}))


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


log = logging.getLogger(__name__)

_CACHE = ".lightsweep-cache"

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class DecodedCache:
    """The pixels of a listing's files in one form, `images` ``uint8 [N, C, H, W]``, which of them are `bad`, bool
    ``[N]``, and `bad_files`, a line for each of these.

    Args:
        root: the folder.
        data_dir: where they are kept if not in the folder itself.
    """

    root: Path
    data_dir: Path
    form: decode.Form

    def get(self, listing: folders.Listing) -> Arrays:
        """As they are kept, or decoded now."""
        return self.stored(listing) or self.decoded(listing)

    def _places(self) -> list[Path]:
        name = hashlib.blake2b(os.fsencode(self.root), digest_size=8).hexdigest()
        return [place / str(self.form) for place in (self.root / _CACHE, self.data_dir / _CACHE / name)]

    def _source(self, listing: folders.Listing) -> list:
        return [VERSION, listing.fingerprint, len(listing.files), str(self.form)]

    def stored(self, listing: folders.Listing) -> Arrays | None:
        for place in self._places():
            arrays = load(place, self._source(listing))
            if arrays is not None:
                return arrays
        return None

    def decoded(self, listing: folders.Listing) -> Arrays:
        problems = []
        for place in self._places():
            try:
                return self._decoded_into(place, listing)
            except OSError as error:
                problems.append(f"{printable(place.parent)}: {error.strerror}")
        rule = f"{len(listing.files):,} images {list(self.form.shape)} cannot be kept ({'; '.join(problems)}), and need"
        memory.require("data.image_size", self._bytes(listing), rule)
        log.warning("decoded images cannot be kept, so every start decodes them (%s)", "; ".join(problems))
        return self._in_memory(listing)

    def _bytes(self, listing: folders.Listing) -> int:
        return len(listing.files) * self.form.bytes_each

    def _decoded_into(self, place: Path, listing: folders.Listing) -> Arrays:
        source = self._source(listing)
        base = self.root if place.is_relative_to(self.root) else self.data_dir
        if (link := paths.find_escape(place, within=base)) is not None:  # it may be somebody else's folder
            raise OSError(errno.ELOOP, f"{printable(link.name)} is or lies behind a symbolic link that leads elsewhere")
        place.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(place).free
        if self._bytes(listing) > free:  # it would be filled to the brim first
            raise OSError(
                errno.ENOSPC, f"{memory.format_bytes(free)} of {memory.format_bytes(self._bytes(listing))} are free"
            )
        with _alone(place):
            stored = load(place, source)  # by a process that was faster
            if stored is not None:
                return stored
            for litter in place.glob(".*.npy.*"):  # of a process that was killed
                litter.unlink()
            shape = (len(listing.files), *self.form.shape)
            with filling(place, "images", shape) as (file, offset):
                results = self._all(listing, decode.Target(file, offset))
            for name, array in self._bad(listing, results).items():
                put(place, name, array)
            seal(place, source, ("images", "bad", "bad_files"))
            stored = load(place, source)
        if stored is None:
            raise OSError(0, "what was written there cannot be read back")
        return stored

    def _in_memory(self, listing: folders.Listing) -> Arrays:
        results = self._all(listing, None)
        images = np.concatenate([result.pixels for result in results if result.pixels is not None])
        return {"images": images, **self._bad(listing, results)}

    def _bad(self, listing: folders.Listing, results: list[decode.Decoded]) -> Arrays:
        """`bad`, bool ``[N]``, and `bad_files`, a line for each."""
        reasons = {number: reason for result in results for number, reason in result.bad.items()}
        bad = np.zeros(len(listing.files), dtype=bool)
        bad[list(reasons)] = True
        return {"bad": bad, "bad_files": np.array([_line(listing, *each) for each in reasons.items()], dtype=str)}

    def _all(self, listing: folders.Listing, target: decode.Target | None) -> list[decode.Decoded]:
        with _progress(len(listing.files), self.root) as tell:
            return decode.decode_all(listing.files, self.form, target, tell)


def _line(listing: folders.Listing, number: int, reason: str) -> str:
    return f"{printable(listing.files[number])}: {reason}"


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One process at a time; the others wait and then find what the first has done.

    The lock's file stays: a process that waits for a removed one would not see a third that makes it anew.
    """
    lock = FileLock(place / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process that is decoding these images")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _progress(count: int, root: Path) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, elsewhere a line."""
    console = Console(stderr=True)
    if not console.is_terminal:
        log.info("decoding %s files of %s, once", f"{count:,}", printable(root))
        yield lambda done: None
        return
    columns = TextColumn("decoding images"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn(compact=True)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=count)
        yield lambda done: bar.advance(task, done)
