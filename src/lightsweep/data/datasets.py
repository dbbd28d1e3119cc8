"""The data sets with a name: CIFAR-10 and CIFAR-100, read through a memory map; digits and generated images.

The files of CIFAR are pickles. They are read without being trusted: only arrays and plain containers come out of them.
"""

import logging
import math
import pickle
import tarfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.utils import check_md5, download_and_extract_archive

from lightsweep.core import checks, files, memory
from lightsweep.core.errors import ConfigError
from lightsweep.data import cache
from lightsweep.data.arrays import ImageArrays, Traits
from lightsweep.data.module import ImageDataModule
from lightsweep.data.splits import split

log = logging.getLogger(__name__)

_TEST_FRACTION, _TEST_SEED = 0.2, 0  # of digits
_PART, _PART_BYTES = 4096, 2**28  # images, and bytes, generated at a time
_SIDE = 32  # pixels, of an image of CIFAR
_PICKLED = {  # all that an array in a pickle needs
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class DigitsDataModule(ImageDataModule):
    """1,797 images ``uint8 [1, 8, 8]`` of the UCI set (Alpaydin & Kaynak 1998), a fifth of each class for test."""

    def read(self) -> ImageArrays:
        spec = find_spec("sklearn")  # its file is read without the package, whose import takes a second
        assert spec is not None, "it is installed with this package"
        assert spec.origin is not None, "it is a package with a file"
        rows = np.loadtxt(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")  # [N, 65]
        images = (rows[:, :-1] * (255 / 16)).round().astype(np.uint8).reshape(-1, 1, 8, 8)  # from 0..16
        labels = rows[:, -1].astype(np.int64)
        train, test = split("stratified", labels, _TEST_FRACTION, _TEST_SEED)
        return ImageArrays(images[train], labels[train], images[test], labels[test], tuple("0123456789"))


class FakeDataModule(ImageDataModule):
    """Noise over a faint pattern for each class: a network can learn it, and an untrained one cannot know it.

    Args:
        shape: (C, H, W) of an image.
        classes, train_images, test_images: how many.
        data_seed: draws patterns and noise. Further arguments: see `ImageDataModule`.
    """

    def __init__(
        self, *, shape: list[int], classes: int, train_images: int, test_images: int, data_seed: int, **shared
    ) -> None:
        super().__init__(**shared)
        sizes = isinstance(shape, list) and len(shape) == 3 and all(type(size) is int and size >= 1 for size in shape)
        checks.require(sizes, "data.shape", "be three integers >= 1: channels, height, width", shape)
        checks.integer("data.classes", classes, "[2, inf)")
        checks.integer("data.train_images", train_images, f"[{2 * classes}, inf)")
        checks.integer("data.test_images", test_images, "[0, inf)")
        checks.integer("data.data_seed", data_seed, "[0, inf)")
        self.shape, self.classes, self.data_seed = tuple(shape), classes, data_seed
        self.counts = train_images, test_images
        count = sum(self.counts)
        need = (count + classes) * math.prod(shape) + 8 * count  # the patterns, the images, and 64-bit labels
        rule = f"{count:,} images {shape} in {classes:,} classes need"
        memory.require("data.shape, data.train_images, data.test_images and data.classes", need, rule)

    def read(self) -> ImageArrays:
        draw = np.random.default_rng(self.data_seed)
        patterns = draw.integers(0, 256, (self.classes, *self.shape), dtype=np.uint8)
        train, test = (self._generate(count, patterns, draw) for count in self.counts)
        return ImageArrays(*train, *test, tuple(f"class {number}" for number in range(self.classes)))

    def _generate(self, count: int, patterns: np.ndarray, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Images ``uint8 [N, C, H, W]``, seven eighths noise, and labels ``int64 [N]`` in turn."""
        labels = np.arange(count) % self.classes
        images = np.empty((count, *self.shape), dtype=np.uint8)
        # A multiple of four: the generator makes four pixels from each of its numbers.
        part = max(4, min(_PART, _PART_BYTES // math.prod(self.shape)) // 4 * 4)
        for first in range(0, count, part):
            chosen = slice(first, first + part)
            noise = draw.integers(0, 256, images[chosen].shape, dtype=np.uint8)
            images[chosen] = noise - (noise >> 3) + (patterns[labels[chosen]] >> 3)
        return images, labels


class CIFARDataModule(ImageDataModule):
    """50,000 training and 10,000 test images, ``uint8 [3, 32, 32]``, of the set that a subclass names.

    Args:
        data_dir: holds, or will hold, the set's folder. Further arguments: see `ImageDataModule`.
    """

    name: str
    official: type[CIFAR10]  # torchvision's class: the files with their md5, and where to download them
    classes: int
    label_key: str  # in a batch file

    def __init__(self, *, data_dir: str, **shared) -> None:
        super().__init__(**shared)
        self.data_dir = Path(data_dir).expanduser()
        self.folder = self.data_dir / self.official.base_folder

    def preview(self) -> Traits | None:
        names = tuple(map(str, range(self.classes)))
        return Traits((3, _SIDE, _SIDE), names, self.resize) if self._missing() else None

    def prepare_data(self) -> None:
        """Download what is missing; processes that start together wait for the first.

        Raises:
            ConfigError: files are missing and cannot be downloaded.
        """
        if self._missing():
            self._download()

    def read(self) -> ImageArrays:
        self.prepare_data()
        folder, source = self.folder / "lightsweep-cache", cache.file_states(list(self._files()))
        arrays = cache.load(folder, source)
        if arrays is None:
            arrays = self._parse()
            if cache.save(folder, source, arrays):
                del arrays  # before the map comes, so that the set is not in memory twice
                arrays = cache.load(folder, source) or self._parse()
        meta, key = self.folder / str(self.official.meta["filename"]), self.official.meta["key"]
        names = read_pickle(meta).get(key)
        if not (isinstance(names, list) and len(names) == self.classes):
            raise _damaged(meta, f"'{key}' must list {self.classes} classes")
        return ImageArrays(class_names=tuple(map(str, names)), **arrays)  # type: ignore[arg-type]

    def _files(self) -> dict[Path, str]:
        """The training batches, the test batch and the meta file, with the official md5 of each."""
        meta = self.official.meta["filename"], self.official.meta["md5"]
        return {self.folder / name: md5 for name, md5 in (*self.official.train_list, *self.official.test_list, meta)}

    def _missing(self) -> list[str]:
        try:
            return [file.name for file in self._files() if not file.is_file()]
        except OSError as error:  # the folder may not be entered
            raise _unreadable(error) from error

    def _parse(self) -> dict[str, np.ndarray]:
        try:
            unofficial = [file.name for file, md5 in self._files().items() if not check_md5(file, md5)]
        except OSError as error:
            raise _unreadable(error) from error
        if unofficial:
            log.warning("%s: not the official md5 of %s; used as they are", self.folder, ", ".join(unofficial))
        *batches, (test_images, test_labels) = [
            read_batch(file, self.label_key, self.classes, _SIDE) for file in list(self._files())[:-1]
        ]
        return {
            "train_images": np.concatenate([images for images, _ in batches]),
            "train_labels": np.concatenate([labels for _, labels in batches]),
            "test_images": test_images,
            "test_labels": test_labels,
        }

    def _download(self) -> None:
        """Download and unpack the official archive; processes that start together wait for the first."""
        official = self.official
        missing = f"{', '.join(self._missing())} of {official.base_folder}/"
        lock = self.data_dir / f".{official.base_folder}.lock"
        made = files.find_missing(self.data_dir)
        for path in (self.data_dir / official.filename, self.folder, lock):
            files.check_links(path, within=self.data_dir)  # the folder may be somebody else's
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            with cache.one_at_a_time(lock, f"downloads {self.name}"):
                if self._missing():
                    log.info("%s is not in %s: downloading it (170 MB)", self.name, self.data_dir)
                    download_and_extract_archive(
                        official.url, str(self.data_dir), filename=official.filename, md5=official.tgz_md5
                    )
        except (OSError, RuntimeError, EOFError, tarfile.TarError) as error:
            reason = " ".join(str(error).split())
            with suppress(OSError):  # leave nothing where the folder was mistyped
                lock.unlink()
            files.remove_empty(made)
            raise ConfigError(
                f"data_dir={self.data_dir} lacks {self.name} ({missing}) and it cannot be downloaded ({reason}): put"
                " the files there, set LIGHTSWEEP_DATA to the folder that has them, or train on data=digits"
            ) from error


class CIFAR10DataModule(CIFARDataModule):
    """CIFAR-10 (Krizhevsky 2009): 10 classes, five training batches."""

    name, official, classes, label_key = "CIFAR-10", CIFAR10, 10, "labels"


class CIFAR100DataModule(CIFARDataModule):
    """CIFAR-100 (Krizhevsky 2009) with its fine labels: 100 classes, one training batch."""

    name, official, classes, label_key = "CIFAR-100", CIFAR100, 100, "fine_labels"


class _ArraysOnly(pickle.Unpickler):
    """Arrays and plain containers; nothing else is looked up, so nothing else can be called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PICKLED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_pickle(path: Path) -> dict:
    """A batch or meta file as a dict with `str` keys.

    Raises:
        ConfigError: the file is cut off, damaged, or holds more than arrays and plain containers.
    """
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="latin1").load()
    except Exception as error:  # a damaged pickle can raise anything
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if not isinstance(content, dict):
        raise _damaged(path, f"a {type(content).__name__} where a dict should be")
    return content


def read_batch(path: Path, label_key: str, classes: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Images ``uint8 [N, 3, side, side]`` and labels ``int64 [N]`` of one batch file.

    Raises:
        ConfigError: the file is not such a batch.
    """
    batch = read_pickle(path)
    pixels, labels = batch.get("data"), batch.get(label_key)
    if not (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape[1:] == (3 * side * side,)):
        raise _damaged(path, f"'data' must be uint8 [N, {3 * side * side}]")
    if not (isinstance(labels, list) and all(type(label) is int and 0 <= label < classes for label in labels)):
        raise _damaged(path, f"'{label_key}' must be a list of integers below {classes}")
    if len(labels) != len(pixels):
        raise _damaged(path, f"{len(pixels)} images but {len(labels)} labels")
    return pixels.reshape(-1, 3, side, side), np.array(labels, dtype=np.int64)


def _unreadable(error: OSError) -> ConfigError:
    return ConfigError(f"data_dir: {error.filename} cannot be read ({error.strerror})")


def _damaged(path: Path, reason: str) -> ConfigError:
    reason = " ".join(reason.split())
    return ConfigError(f"{path} is damaged or no batch file ({reason}); remove it and it will be downloaded again")
