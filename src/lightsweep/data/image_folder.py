"""Your own images, in class folders: listed, decoded once on all cores, then read through a memory map."""

import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lightsweep import checks, memory
from lightsweep.data import cache, decoding, folders
from lightsweep.data.decode import RESIZES, VERSION
from lightsweep.data.module import ImageArrays, ImageDataModule, Traits
from lightsweep.data.normalize import symmetric
from lightsweep.data.split import split
from lightsweep.errors import ConfigError
from lightsweep.names import printable
from lightsweep.security import links

log = logging.getLogger(__name__)

_CACHE = ".lightsweep-cache"
_ORDER_SEED = _TEST_SEED = 0
_NAMED = 10  # bad files that are named one by one
_PER_PIXEL = 8  # bytes while an image is decoded: Pillow's and ours, before and after it is resized, at the least

Arrays = dict[str, np.ndarray]


class ImageFolderDataModule(ImageDataModule):
    """ROOT/train/CLASS/..., ROOT/val, ROOT/test, or one ROOT/CLASS/... that is split; see `folders` and `decode`.

    Args:
        root: the folder.
        data_dir: where the decoded images are kept if not in the folder itself.
        image_size: pixels a side.
        resize: how an image of any shape becomes a square, a name from `decode.RESIZES`.
        grayscale: one channel.
        test_fraction: of all images of one ROOT/CLASS/..., the same share of each class; 0: no test part.
        on_bad_file: skip or error. Further arguments: see `ImageDataModule`.
    """

    def __init__(
        self,
        *,
        root: str,
        data_dir: str,
        image_size: int,
        resize: str,
        grayscale: bool,
        test_fraction: float,
        on_bad_file: str,
        **shared,
    ) -> None:
        super().__init__(**shared)
        rule = "be a folder with a folder of images for each class"
        checks.require(isinstance(root, str) and root != "", "data.root", rule, root)
        checks.whole("data.image_size", image_size, "[1, inf)")
        checks.choice("data.resize", resize, RESIZES)
        checks.flag("data.grayscale", grayscale)
        checks.number("data.test_fraction", test_fraction, "[0, 1)")
        checks.choice("data.on_bad_file", on_bad_file, ("skip", "error"))
        self.root = Path(os.path.abspath(Path(root).expanduser()))  # noqa: PTH100  # resolve() would leave symlinks
        self.data_dir = Path(data_dir).expanduser()
        self.form = decoding.Form(image_size, resize, grayscale)
        memory.require("data.image_size", image_size**2 * _PER_PIXEL, f"an image {list(self.form.shape)} needs")
        self.resize, self.test_fraction, self.on_bad_file = resize, test_fraction, on_bad_file
        self.listed: folders.Listing | None = None

    @property
    def title(self) -> str:
        return printable(self.root)

    def foreseen(self) -> Traits | None:
        names = self._listing().class_names
        if self._stored(self._listing()) is not None:
            return None
        return Traits(self.form.shape, names, symmetric(), self.resize, torch.ones(len(names)))

    def setup(self, stage: str | None = None) -> None:
        """As of `ImageDataModule`, and every class must be in train and in val."""
        super().setup(stage)
        for part in ("train", "val"):
            counts = np.bincount(self.labels(part), minlength=self.num_classes)
            if not counts.all():
                name = self.class_names[int(counts.argmin())]
                raise ConfigError(
                    f"data.root: the class {name!r} has no image in {part}; it has too few, or data.limit,"
                    " data.val_fraction and data.split leave it none"
                )

    def read(self) -> ImageArrays:
        listing = self._listing()
        arrays = self._stored(listing) or self._decoded(listing)
        self._tell_bad(arrays["bad_files"].tolist(), len(listing.files))
        return self._divided(listing, arrays["images"], arrays["bad"])

    def _listing(self) -> folders.Listing:
        self.listed = self.listed or folders.scan(self.root)
        return self.listed

    def _divided(self, listing: folders.Listing, images: np.ndarray, bad: np.ndarray) -> ImageArrays:
        """The parts, each in an order that is drawn once and for all: its first images are of any class."""
        order = np.random.default_rng(_ORDER_SEED).permutation(len(images))
        order = order[~bad[order]]
        parts = {name: order[listing.parts[order] == place] for place, name in enumerate(folders.PARTS)}
        self._check_classes(listing, parts)
        if not listing.has(folders.VAL):
            del parts[folders.VAL]
        if not listing.divided:
            parts |= self._test_split_off(listing, parts[folders.TRAIN])
        return ImageArrays(images, listing.labels, images, listing.labels, listing.class_names, parts)

    def _test_split_off(self, listing: folders.Listing, pool: np.ndarray) -> dict[str, np.ndarray]:
        if round(len(pool) * self.test_fraction) == 0:
            return {}
        try:
            train, test = split("stratified", listing.labels[pool], self.test_fraction, _TEST_SEED)
        except ValueError as error:
            raise ConfigError(f"data.test_fraction={self.test_fraction}: {error}") from error
        return {folders.TRAIN: pool[train], folders.TEST: pool[test]}

    def _check_classes(self, listing: folders.Listing, parts: dict[str, np.ndarray]) -> None:
        """Every class folder must have an image that is one."""
        for place, (part, good) in enumerate(parts.items()):
            left = np.setdiff1d(listing.labels[listing.parts == place], listing.labels[good])
            if len(left):
                name = listing.class_names[left[0]]
                raise ConfigError(f"data.root: the class {name!r} has files in {part}, but none is an image")

    def _tell_bad(self, said: list[str], files: int) -> None:
        if not said:
            return
        if self.on_bad_file == "error":
            raise ConfigError(f"data.on_bad_file=error: {printable(said[0])} ({len(said)} of {files:,} files)")
        further = [f"and {len(said) - _NAMED:,} more"] if len(said) > _NAMED else []
        lines = "\n  ".join([*map(printable, said[:_NAMED]), *further])
        log.warning("%s of %s files are left out:\n  %s", f"{len(said):,}", f"{files:,}", lines)

    # Where decoded images are kept: beside the images if that can be written, else in data_dir, else nowhere.

    def _places(self) -> list[Path]:
        name = hashlib.blake2b(os.fsencode(self.root), digest_size=8).hexdigest()
        return [place / str(self.form) for place in (self.root / _CACHE, self.data_dir / _CACHE / name)]

    def _source(self, listing: folders.Listing) -> list:
        return [VERSION, listing.fingerprint, len(listing.files), str(self.form)]

    def _stored(self, listing: folders.Listing) -> Arrays | None:
        for place in self._places():
            arrays = cache.load(place, self._source(listing))
            if arrays is not None:
                return arrays
        return None

    def _decoded(self, listing: folders.Listing) -> Arrays:
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
