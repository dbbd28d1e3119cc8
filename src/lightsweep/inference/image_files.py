"""Image files below folders or named one by one, decoded by threads a batch ahead of the network."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from lightsweep.data.decode import FORMATS, BadImage
from lightsweep.data.folders import class_name, walk

_MOST_THREADS = 8
Decode = Callable[[Path], np.ndarray]


@dataclass(frozen=True)
class ImageFile:
    """A file to classify. `named` says that the user named it, not a folder; `label` is the class that the first
    folder below that one would be, "" where there is none."""

    path: Path
    named: bool
    label: str = ""

    @property
    def is_called_image(self) -> bool:
        """Does its name end as that of an image? Others are tried, as in training, and passed over if they are none."""
        return self.named or self.path.suffix.lower() in _suffixes()


@dataclass(frozen=True)
class Decoded:
    """Pixels ``uint8 [C, H, W]``, or why there are none."""

    file: ImageFile
    pixels: np.ndarray | None
    problem: str = ""


def listed(places: Iterable[Path]) -> Iterator[ImageFile]:
    """Each file that is named, and below each folder the files that training would take, in the order of names."""
    for place in places:
        if place.is_dir():
            yield from _below(place)
        else:
            yield ImageFile(place, named=True)


def decoded(files: Iterable[ImageFile], decode: Decode, *, batch_size: int) -> Iterator[list[Decoded]]:
    """Batches in the order of the files, of which no more than two are in memory."""

    def attempt(file: ImageFile) -> Decoded:
        try:
            return Decoded(file, decode(file.path))
        except BadImage as error:
            return Decoded(file, None, str(error))
        except MemoryError:
            return Decoded(file, None, "it is too large for the memory")

    files = iter(files)
    under_way: deque[Iterator[Decoded]] = deque()
    pool = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1))
    try:
        while batch := list(islice(files, batch_size)):
            under_way.append(pool.map(attempt, batch))
            if len(under_way) == 2:
                yield list(under_way.popleft())
        for rest in under_way:
            yield list(rest)
    finally:
        pool.shutdown(cancel_futures=True)


def _below(folder: Path) -> Iterator[ImageFile]:
    for name, _, _ in walk(folder):
        inside = Path(name).relative_to(folder).parts[:-1]
        yield ImageFile(Path(name), named=False, label=class_name(Path(inside[0])) if inside else "")


@cache
def _suffixes() -> frozenset[str]:
    """How names of images that can be decoded end, in small letters."""
    from PIL import Image

    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS)


def stacked(batch: Sequence[Decoded]) -> np.ndarray:
    """The pixels of those that have any: ``uint8 [B, C, H, W]``."""
    return np.stack([each.pixels for each in batch if each.pixels is not None])
