"""Arrays kept on disk and read back through a memory map: a data set's parsed files, a folder's decoded images.

Each array is a .npy file. meta.json is written last; it holds the state of the source files and, for each array, the
size, time of change and checksum of its file. A cache that is incomplete, damaged or out of date counts as missing. The
checksum covers small arrays fully and large ones by samples, so that a start does not read them all. Each file is on
the disk before meta.json names it, and a later change shows in its time.
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
from functools import lru_cache
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lightsweep.core import memory
from lightsweep.core.files import find_escape, remove_leftovers, replace_atomically, write_atomic
from lightsweep.core.text import printable
from lightsweep.data import decode
from lightsweep.data.folders import Listing

log = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]

_VERSION = 2
_BLOCK = 2**20  # bytes
_SAMPLED = 32  # blocks of an array that the checksum covers; 32 MB take about 5 ms
_DECODED = ".lightsweep-cache"


def file_states(files: list[Path]) -> list[list]:
    """Name, size and time of change of each file: other states, another cache."""
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def load(folder: Path, source: list) -> Arrays | None:
    """The arrays stored for this source, memory-mapped, or None where there are none that can be trusted.

    A process that asks again gets the same map while the files are the same: a sweep's worker reads them once.
    """
    try:
        states = file_states(sorted(folder.iterdir()))
    except OSError:
        return None
    return load_once(folder, json.dumps(source), json.dumps(states))


@lru_cache(maxsize=1)
def load_once(folder: Path, source: str, _states: str) -> Arrays | None:
    """As `load`, once for each text of the source and of the states of the cache's files."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        if meta["version"] != _VERSION or meta["source"] != json.loads(source):
            return None
        arrays = {name: _mapped(folder, name) for name in meta["arrays"]}
        damaged = any(_mark(folder, name, array) != meta["arrays"][name] for name, array in arrays.items())
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return None if damaged else arrays


def save(folder: Path, source: list, arrays: Mapping[str, np.ndarray]) -> bool:
    """Store the arrays; False where the folder cannot be written or its disk is full."""
    if find_escape(folder, within=folder.parent) is not None:  # the folder may be somebody else's
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
    """Write one array; it counts once the folder is sealed."""
    with replace_atomically(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
        array = np.ascontiguousarray(array)
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)  # np.save does not notice that the disk is full
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def filling(folder: Path, name: str, shape: tuple[int, ...]) -> Iterator[decode.Target]:
    """A file for a ``uint8`` array, whose pixels the block writes. It counts once the folder is sealed."""
    with replace_atomically(folder / f"{name}.npy") as temporary:
        array = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
        yield decode.Target(temporary, array.offset)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())


def seal(folder: Path, source: list, names: Iterable[str]) -> None:
    """Declare that the folder's arrays of these names are those of the source."""
    marks = {name: _mark(folder, name, _mapped(folder, name)) for name in names}
    write_atomic(folder / "meta.json", json.dumps({"version": _VERSION, "source": source, "arrays": marks}))


def _mapped(folder: Path, name: str) -> np.ndarray:
    # Copy on write: torch wants writable memory, the file stays as it is.
    return np.load(folder / f"{name}.npy", mmap_mode="c")


def _mark(folder: Path, name: str, array: np.ndarray) -> list[int]:
    stat = (folder / f"{name}.npy").stat()
    return [stat.st_size, stat.st_mtime_ns, _checksum(array)]


def _checksum(array: np.ndarray) -> int:
    """The sum of the array's bytes as 64-bit words, modulo 2**64; of a large array, of blocks all over it."""
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    blocks = -(-len(data) // _BLOCK)
    chosen = range(blocks) if blocks <= _SAMPLED else np.linspace(0, blocks - 1, _SAMPLED).astype(int)
    return sum(_sum(data[block * _BLOCK : (block + 1) * _BLOCK]) for block in chosen) % 2**64


def _sum(data: np.ndarray) -> int:
    words = len(data) // 8 * 8
    return int(data[:words].view(np.uint64).sum(dtype=np.uint64)) + int(data[words:].sum(dtype=np.uint64))


@dataclass(frozen=True)
class DecodedCache:
    """The decoded files of a listing: `images` ``uint8 [N, C, H, W]``, which of them are `bad`, bool ``[N]``, and
    `bad_files`, a line for each of these. Kept in the folder of the images, else in `data_dir`, else in memory.

    Args:
        root: the folder of the images.
        form: what each image becomes.
    """

    root: Path
    data_dir: Path
    form: decode.Form

    def get(self, listing: Listing) -> Arrays:
        """As stored, or decoded now."""
        return self.read(listing) or self.build(listing)

    def read(self, listing: Listing) -> Arrays | None:
        """As stored, memory-mapped; None where there is nothing."""
        found = (load(folder, self._source(listing)) for folder in self._folders())
        return next((arrays for arrays in found if arrays is not None), None)

    def build(self, listing: Listing) -> Arrays:
        """Decode all files and store the result.

        Raises:
            ConfigError: it can neither be stored nor held in memory.
        """
        problems = []
        for folder in self._folders():
            try:
                return self._build_in(folder, listing)
            except OSError as error:
                problems.append(f"{printable(folder.parent)}: {error.strerror}")
        rule = f"{len(listing.files):,} images {list(self.form.shape)} cannot be kept ({'; '.join(problems)}), and need"
        memory.require("data.image_size", self._bytes(listing), rule)
        log.warning("decoded images cannot be kept, so every start decodes them (%s)", "; ".join(problems))
        return self._decode(listing, None)

    def _folders(self) -> list[Path]:
        name = hashlib.blake2b(os.fsencode(self.root), digest_size=8).hexdigest()
        return [base / str(self.form) for base in (self.root / _DECODED, self.data_dir / _DECODED / name)]

    def _source(self, listing: Listing) -> list:
        return [decode.VERSION, listing.fingerprint, len(listing.files), str(self.form)]

    def _bytes(self, listing: Listing) -> int:
        return len(listing.files) * self.form.bytes_each

    def _build_in(self, folder: Path, listing: Listing) -> Arrays:
        base = self.root if folder.is_relative_to(self.root) else self.data_dir
        if (link := find_escape(folder, within=base)) is not None:  # it may be somebody else's folder
            raise OSError(errno.ELOOP, f"{printable(link.name)} is or lies behind a symbolic link that leads elsewhere")
        folder.mkdir(parents=True, exist_ok=True)
        free, need = shutil.disk_usage(folder).free, self._bytes(listing)
        if need > free:
            raise OSError(errno.ENOSPC, f"{memory.format_bytes(free)} of {memory.format_bytes(need)} are free")
        source = self._source(listing)
        with one_at_a_time(folder / "lock", "is decoding these images"):
            stored = load(folder, source)  # by a process that was faster
            if stored is not None:
                return stored
            remove_leftovers(folder)
            with filling(folder, "images", (len(listing.files), *self.form.shape)) as target:
                others = self._decode(listing, target)
            for name, array in others.items():
                put(folder, name, array)
            seal(folder, source, ("images", *others))
            stored = load(folder, source)
        if stored is None:
            raise OSError(0, "what was written there cannot be read back")
        return stored

    def _decode(self, listing: Listing, target: decode.Target | None) -> Arrays:
        """All arrays, less the images where they went to the target."""
        with _progress(len(listing.files), self.root) as report:
            chunks = decode.decode_all(listing.files, self.form, target, report)
        reasons = {number: reason for chunk in chunks for number, reason in chunk.bad.items()}
        bad = np.isin(np.arange(len(listing.files)), list(reasons))
        lines = [f"{printable(listing.files[number])}: {reason}" for number, reason in reasons.items()]
        arrays = {"bad": bad, "bad_files": np.array(lines, dtype=str)}
        if target is None:
            arrays["images"] = np.concatenate([chunk.pixels for chunk in chunks if chunk.pixels is not None])
        return arrays


@contextmanager
def one_at_a_time(lock: Path, waiting_for: str) -> Iterator[None]:
    """Hold a file lock; other processes wait, and then find what the first one did.

    The lock's file stays: if it were removed while a second process waits for it, a third could lock a new one.
    """
    file_lock = FileLock(lock)
    try:
        held = file_lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process that %s", waiting_for)
        held = file_lock.acquire()
    with held:
        yield


@contextmanager
def _progress(count: int, root: Path) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, elsewhere a line."""
    console = Console(stderr=True)
    if not console.is_terminal:
        log.info("decoding %s files of %s, once", f"{count:,}", printable(root))
    columns = TextColumn("decoding images"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn(compact=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=count)
        yield lambda done: bar.advance(task, done)
