"""Many image files -> one array of pixels, on all cores.

The processes that decode import this module and no more: neither torch nor Lightning. Each writes its images straight
into the array's file, by position and not through a map, where a full disk would kill it.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_all_start_methods, get_context, parent_process
from pathlib import Path

import numpy as np

from lightsweep.core.errors import RunFailed
from lightsweep.data.decode import BadImage, decode

FEW = 500  # files that are decoded before other processes would have started
_CHUNK, _CHUNK_BYTES = 64, 2**24  # images, and bytes of pixels, that a process decodes at a time


@dataclass(frozen=True)
class Form:
    """What every image becomes; see `decode`."""

    image_size: int
    resize: str
    grayscale: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)"""
        return 1 if self.grayscale else 3, self.image_size, self.image_size

    @property
    def bytes_each(self) -> int:
        return int(np.prod(self.shape))

    def __str__(self) -> str:
        return f"{self.image_size}-{self.resize}-{'gray' if self.grayscale else 'rgb'}"


@dataclass(frozen=True)
class Target:
    """A file that takes the pixels, from the byte `offset` on."""

    file: Path
    offset: int


@dataclass(frozen=True)
class Chunk:
    """Consecutive images, from the one with this number on."""

    first: int
    files: Sequence[str]
    form: Form
    target: Target | None


@dataclass(frozen=True)
class Decoded:
    """What became of a chunk: reasons why images are bad, by number, and the pixels where no target took them."""

    first: int
    count: int
    bad: dict[int, str]
    pixels: np.ndarray | None


def decode_chunk(chunk: Chunk) -> Decoded:
    """Decode the images ``uint8 [n, C, H, W]`` of a chunk; what is bad stays black."""
    form, bad = chunk.form, {}
    pixels = np.zeros((len(chunk.files), *form.shape), np.uint8)
    for place, file in enumerate(chunk.files):
        try:
            pixels[place] = decode(Path(file), image_size=form.image_size, resize=form.resize, grayscale=form.grayscale)
        except BadImage as error:
            bad[chunk.first + place] = str(error)
    if chunk.target is None:
        return Decoded(chunk.first, len(pixels), bad, pixels)
    _write_at(chunk.target.file, chunk.target.offset + chunk.first * form.bytes_each, pixels)
    return Decoded(chunk.first, len(pixels), bad, None)


def decode_all(files: Sequence[str], form: Form, target: Target | None, tell: Callable[[int], None]) -> list[Decoded]:
    """Decode all files, in this process where they are few, else in as many as there are cores.

    Args:
        tell: told how many more images are done.

    Raises:
        OSError: the target cannot be written.
        RunFailed: a process was killed.
    """
    size = max(1, min(_CHUNK, _CHUNK_BYTES // form.bytes_each))
    chunks = [Chunk(first, files[first : first + size], form, target) for first in range(0, len(files), size)]
    results = []
    with _mapping(1 if len(files) <= FEW else min(cores(), len(chunks))) as apply:
        for result in apply(decode_chunk, chunks):
            results.append(result)
            tell(result.count)
    return results


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


Apply = Callable[[Callable[[Chunk], Decoded], Iterable[Chunk]], Iterator[Decoded]]


@contextmanager
def _mapping(processes: int) -> Iterator[Apply]:
    """`map`, here or in this many processes, which end with the block however it ends."""
    if processes == 1:
        yield map
        return
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    pool = ProcessPoolExecutor(processes, context, _start_worker)
    try:
        yield pool.map
    except BrokenProcessPool as error:
        raise RunFailed("a process that decoded images was killed; is there memory enough for them?") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the process that is served, and end with it, also when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _write_at(path: Path, position: int, pixels: np.ndarray) -> None:
    left = memoryview(pixels.reshape(-1))  # type: ignore[arg-type]
    handle = os.open(path, os.O_WRONLY)
    try:
        while left:
            written = os.pwrite(handle, left, position)
            left, position = left[written:], position + written
    finally:
        os.close(handle)
