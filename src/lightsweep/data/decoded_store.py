"""Where the decoded images of a folder are kept: beside the images if that can be written, else in data_dir, else
nowhere."""

import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lightsweep.core import links, memory
from lightsweep.core.text import printable
from lightsweep.data import cache, decoding, folders
from lightsweep.data.decode import VERSION

log = logging.getLogger(__name__)

_CACHE = ".lightsweep-cache"

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Store:
    """The pixels of a listing's files in one form, `images` ``uint8 [N, C, H, W]``, which of them are `bad`, bool
    ``[N]``, and `bad_files`, a line for each of these.

    Args:
        root: the folder.
        data_dir: where they are kept if not in the folder itself.
    """

    root: Path
    data_dir: Path
    form: decoding.Form

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
            arrays = cache.load(place, self._source(listing))
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
        if (link := links.first_escape(place, within=base)) is not None:  # it may be somebody else's folder
            raise OSError(errno.ELOOP, f"{printable(link.name)} is or lies behind a symbolic link that leads elsewhere")
        place.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(place).free
        if self._bytes(listing) > free:  # it would be filled to the brim first
            raise OSError(errno.ENOSPC, f"{memory.text(free)} of {memory.text(self._bytes(listing))} are free")
        with _alone(place):
            stored = cache.load(place, source)  # by a process that was faster
            if stored is not None:
                return stored
            for litter in place.glob(".*.npy.*"):  # of a process that was killed
                litter.unlink()
            shape = (len(listing.files), *self.form.shape)
            with cache.filling(place, "images", shape) as (file, offset):
                results = self._all(listing, decoding.Target(file, offset))
            for name, array in self._bad(listing, results).items():
                cache.put(place, name, array)
            cache.seal(place, source, ("images", "bad", "bad_files"))
            stored = cache.load(place, source)
        if stored is None:
            raise OSError(0, "what was written there cannot be read back")
        return stored

    def _in_memory(self, listing: folders.Listing) -> Arrays:
        results = self._all(listing, None)
        images = np.concatenate([result.pixels for result in results if result.pixels is not None])
        return {"images": images, **self._bad(listing, results)}

    def _bad(self, listing: folders.Listing, results: list[decoding.Decoded]) -> Arrays:
        """`bad`, bool ``[N]``, and `bad_files`, a line for each."""
        reasons = {number: reason for result in results for number, reason in result.bad.items()}
        bad = np.zeros(len(listing.files), dtype=bool)
        bad[list(reasons)] = True
        return {"bad": bad, "bad_files": np.array([_line(listing, *each) for each in reasons.items()], dtype=str)}

    def _all(self, listing: folders.Listing, target: decoding.Target | None) -> list[decoding.Decoded]:
        with _progress(len(listing.files), self.root) as tell:
            return decoding.decode_all(listing.files, self.form, target, tell)


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
