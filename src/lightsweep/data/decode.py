"""Image files -> pixels: one file of any size and kind as a network sees it, or many files on all cores.

Training and prediction decode the same way. Worker processes import this module, so it imports neither torch nor
Lightning. Each worker writes its images into the array's file by position: a full disk would kill a process that writes
through a memory map.
"""

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from math import prod
from multiprocessing import get_all_start_methods, get_context, parent_process
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from lightsweep.core.errors import RunFailed
from lightsweep.core.memory import available_cores

VERSION = 1  # increase it where the same file gives other pixels: caches of another version are decoded again
RESIZES = ("squash", "crop", "pad")
NO_PIXELS = "unknown"  # instead of a resize: it is unknown how a file's pixels become the network's input
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # Pillow opens others too, some with other programs
MAX_PIXELS = 100_000_000  # 10,000 x 10,000; a larger image is refused, not decoded
BACKGROUND = "white"  # behind transparent pixels, as in a browser
PADDING = "black"  # as the padding of augmentation

_FILTER = Image.Resampling.BILINEAR  # averages over all pixels when it makes an image smaller
# By EXIF orientation. Pillow's own function writes the EXIF data anew, which fails on some damaged data.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DRAFT_FACTOR = 2  # a JPEG may be decoded at 1/2, 1/4 or 1/8 while this many times the wanted size remains

FEW = 500  # files that this process decodes itself: others would not have started by then
_CHUNK, _CHUNK_BYTES = 64, 2**24  # images, and bytes of pixels, that a process decodes at a time

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # such an image is refused


class BadImage(Exception):
    """A file that is not a usable image. The message is the reason, in one line, without the file's name."""


def decode_image(
    source: Path | bytes, *, image_size: int | tuple[int, int], resize: str, grayscale: bool
) -> np.ndarray:
    """Read an image -> ``uint8 [C, H, W]``, three channels (RGB) or, in grayscale, one.

    The EXIF orientation is applied, transparent pixels become white, 16-bit pixels keep their upper eight bits, and an
    animation gives its first picture. An image that already has the wanted size keeps every pixel.

    Args:
        source: a file or its content.
        image_size: H = W, or (H, W).
        resize: squash (each side is scaled by its own factor), crop (the largest part of the right shape in the
            middle), or pad (the full image, black around it).
        grayscale: ITU-R 601 luma of a colour image. Otherwise a gray image gets three equal channels.

    Raises:
        BadImage: it is no image in one of `FORMATS`, is damaged or cut off, or has more than `MAX_PIXELS`.
    """
    try:
        image = _load(source, _DRAFT_FACTOR * max(_sides(image_size)))
        return fit_image(image, image_size=image_size, resize=resize, grayscale=grayscale)
    except (BadImage, MemoryError):
        raise
    except Exception as error:  # a damaged file can make Pillow raise anything
        raise BadImage(_reason(error)) from error


def fit_image(image: Image.Image, *, image_size: int | tuple[int, int], resize: str, grayscale: bool) -> np.ndarray:
    """A decoded image -> ``uint8 [C, H, W]``, as `decode_image` does it."""
    height, width = _sides(image_size)
    image, size = _to_mode(image, "L" if grayscale else "RGB"), (width, height)
    if image.size != size:
        image = _resize(image, size, resize)
    pixels = np.asarray(image).reshape(height, width, -1)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))  # [H, W, C] -> [C, H, W]


def _sides(image_size: int | tuple[int, int]) -> tuple[int, int]:
    return (image_size, image_size) if isinstance(image_size, int) else image_size


def _load(source: Path | bytes, enough: int) -> Image.Image:
    """The image, decoded and upright; of a large JPEG a smaller version whose sides are at least `enough`."""
    if isinstance(source, Path) and not source.is_file():  # reading a pipe would never end
        raise BadImage("it is no regular file" if source.exists() else "there is no such file")
    with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise BadImage(_too_large(f"{image.width} x {image.height}"))
        if image.format == "JPEG":
            image.draft(None, (enough, enough))
        image.load()
        try:
            orientation = image.getexif().get(0x0112, 1)
        except Exception:  # damaged EXIF data do not concern the pixels
            return image
        return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    """An image of any mode in mode L or RGB."""
    if image.mode == "F":
        raise BadImage("it has floating-point pixels, whose range is not known")
    if image.mode.startswith("I"):  # 16-bit gray, also where Pillow gives it as 32-bit integers
        pixels = np.asarray(image)
        if pixels.size and (pixels.min() < 0 or pixels.max() > 0xFFFF):
            raise BadImage("it has 32-bit pixels, whose range is not known")
        image = Image.fromarray((pixels >> 8).astype(np.uint8))  # as Pillow does it for 16-bit colours
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image)
    return image.convert(mode)


def _resize(image: Image.Image, size: tuple[int, int], resize: str) -> Image.Image:
    if resize == "crop":
        return ImageOps.fit(image, size, _FILTER)
    if resize == "pad":
        return ImageOps.pad(image, size, _FILTER, color=PADDING)
    return image.resize(size, _FILTER)


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return _too_large("very many")
    if isinstance(error, Image.UnidentifiedImageError):
        return f"it is no image in one of the formats {', '.join(FORMATS)}"
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be read: {error.strerror}"
    return f"it is damaged or cut off: {' '.join(str(error).split()) or type(error).__name__}"


def _too_large(pixels: str) -> str:
    return f"it has {pixels} pixels, more than {MAX_PIXELS:,}"


@dataclass(frozen=True)
class Form:
    """What every image becomes: the arguments of `decode_image`."""

    image_size: int
    resize: str
    grayscale: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)"""
        return 1 if self.grayscale else 3, self.image_size, self.image_size

    @property
    def bytes_each(self) -> int:
        return prod(self.shape)

    def __str__(self) -> str:
        return f"{self.image_size}-{self.resize}-{'gray' if self.grayscale else 'rgb'}"


class Target(NamedTuple):
    """A file that takes the pixels, from the byte `offset` on."""

    file: Path
    offset: int


class Decoded(NamedTuple):
    """A decoded chunk: how many files, the reasons why images are bad by number, the pixels if no target took them."""

    files: int
    bad: dict[int, str]
    pixels: np.ndarray | None


def decode_chunk(first: int, files: Sequence[str], form: Form, target: Target | None) -> Decoded:
    """Decode consecutive files, numbered from `first` on, to ``uint8 [n, C, H, W]``. A bad image stays black."""
    bad: dict[int, str] = {}
    pixels = np.zeros((len(files), *form.shape), np.uint8)
    for number, file in enumerate(files):
        try:
            pixels[number] = decode_image(Path(file), **vars(form))
        except BadImage as error:
            bad[first + number] = str(error)
    if target is None:
        return Decoded(len(files), bad, pixels)
    with target.file.open("r+b") as opened:
        opened.seek(target.offset + first * form.bytes_each)
        opened.write(pixels.data)
    return Decoded(len(files), bad, None)


def decode_all(files: Sequence[str], form: Form, target: Target | None, report: Callable[[int], None]) -> list[Decoded]:
    """Decode all files: in this process if they are few, else in as many processes as there are cores.

    Args:
        report: called with how many more images are done.

    Raises:
        OSError: the target cannot be written.
        RunFailed: a process was killed.
    """
    size = max(1, min(_CHUNK, _CHUNK_BYTES // form.bytes_each))
    firsts = range(0, len(files), size)
    chunks = [files[first : first + size] for first in firsts]
    results = []
    with _start_map(1 if len(files) <= FEW else min(available_cores(), len(chunks))) as apply:
        for result in apply(partial(decode_chunk, form=form, target=target), firsts, chunks):
            results.append(result)
            report(result.files)
    return results


@contextmanager
def _start_map(processes: int) -> Iterator[Callable[..., Any]]:
    """A `map` in this process or in several, which end with the block."""
    if processes == 1:
        yield map
        return
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    pool = ProcessPoolExecutor(processes, context, _start_worker)
    try:
        yield pool.map
    except BrokenProcessPool as error:
        raise RunFailed("a process that decoded images was killed; is there enough memory for them?") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent process, and end with it, also when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
