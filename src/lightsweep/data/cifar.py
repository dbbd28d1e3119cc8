"""CIFAR-10 and CIFAR-100: downloaded and checked by torchvision, parsed once, then read through a memory map."""

import hashlib
import logging
import os
import pickle
import tarfile
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from lightsweep.core import paths
from lightsweep.core.errors import ConfigError
from lightsweep.data import cache
from lightsweep.data.module import ImageArrays, ImageDataModule, Traits
from lightsweep.data.transforms import symmetric_normalization

log = logging.getLogger(__name__)

_SIDE = 32


class CIFARDataModule(ImageDataModule):
    """50,000 training and 10,000 test images, ``uint8 [3, 32, 32]``; a subclass says of which set.

    Args:
        data_dir: holds, or will hold, the set's folder. Further arguments: see `ImageDataModule`.
    """

    name: str
    folder_name: str
    classes: int
    label_key: str  # in a batch file
    names_key: str  # in the meta file
    training: tuple[str, ...]
    test: str
    meta: str

    def __init__(self, *, data_dir: str, **shared) -> None:
        super().__init__(**shared)
        self.data_dir = Path(data_dir).expanduser()
        self.folder = self.data_dir / self.folder_name

    def official(self) -> Any:
        """torchvision's class, which knows the address and the checksums."""
        raise NotImplementedError

    def foreseen(self) -> Traits | None:
        names = tuple(map(str, range(self.classes)))
        return (
            Traits((3, _SIDE, _SIDE), names, symmetric_normalization(), self.resize, torch.ones(self.classes))
            if self._missing()
            else None
        )

    def prepare_data(self) -> None:
        """Download what is missing.

        Raises:
            ConfigError: files are missing and cannot be fetched.
        """
        if self._missing():
            self._download()

    def read(self) -> ImageArrays:
        self.prepare_data()
        source = cache.file_states(self._files())
        arrays = cache.load(self._cache_folder, source)
        if arrays is None:
            arrays = self._parse()
            if cache.save(self._cache_folder, source, arrays):
                del arrays  # before the map comes, so that the set is not in memory twice
                arrays = cache.load(self._cache_folder, source) or self._parse()
        names = read_pickle(self.folder / self.meta).get(self.names_key)
        if not (isinstance(names, list) and len(names) == self.classes):
            raise _damaged(self.folder / self.meta, f"'{self.names_key}' must list {self.classes} classes")
        return ImageArrays(class_names=tuple(map(str, names)), **arrays)  # type: ignore[arg-type]

    @property
    def _cache_folder(self) -> Path:
        return self.folder / "lightsweep-cache"

    def _files(self) -> list[Path]:
        return [self.folder / name for name in (*self.training, self.test, self.meta)]

    def _missing(self) -> list[str]:
        try:
            return [file.name for file in self._files() if not file.is_file()]
        except OSError as error:  # the folder may not be entered
            raise _unreadable(self.folder, error) from error

    def _parse(self) -> dict[str, np.ndarray]:
        self._warn_of_other_checksums()
        *training, test, _ = self._files()
        train_images, train_labels = _join([self._read_batch(file) for file in training])
        test_images, test_labels = self._read_batch(test)
        return {
            "train_images": train_images,
            "train_labels": train_labels,
            "test_images": test_images,
            "test_labels": test_labels,
        }

    def _read_batch(self, file: Path) -> tuple[np.ndarray, np.ndarray]:
        return read_batch(file, self.label_key, self.classes, _SIDE)

    def _warn_of_other_checksums(self) -> None:
        official = self.official()
        sums = dict([*official.train_list, *official.test_list])
        sums[official.meta["filename"]] = official.meta["md5"]
        other = [file.name for file in self._files() if md5(file) != sums[file.name]]
        if other:
            log.warning("%s: not the official md5 of %s; used as they are", self.folder, ", ".join(other))

    def _alone(self, lock: Path) -> AbstractContextManager[Any]:
        """The lock, taken. Its file stays: a process that waits for a removed one would not see a third's new one."""
        alone = FileLock(lock)
        try:
            return alone.acquire(timeout=0)
        except Timeout:
            log.info("waiting for another process that fetches %s, as long as that takes", self.name)
            return alone.acquire()

    def _download(self) -> None:
        """Fetch and unpack the official archive; processes that start together wait for the first."""
        from torchvision.datasets.utils import download_and_extract_archive

        official = self.official()
        missing = f"{', '.join(self._missing())} of {self.folder_name}/"
        lock = self.data_dir / f".{self.folder_name}.lock"
        existed = self.data_dir.exists()
        for place in (self.data_dir / official.filename, self.folder, lock):
            paths.check_links(place, within=self.data_dir)  # the folder may be somebody else's
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            with self._alone(lock):
                if self._missing():
                    log.info("%s is not in %s; fetching it (170 MB)", self.name, self.data_dir)
                    download_and_extract_archive(
                        official.url, str(self.data_dir), filename=official.filename, md5=official.tgz_md5
                    )
        except (OSError, RuntimeError, EOFError, tarfile.TarError) as error:
            reason = " ".join(str(error).split())
            with suppress(OSError):  # leave nothing where the folder was mistyped
                lock.unlink()
                if not existed:
                    self.data_dir.rmdir()
            raise ConfigError(
                f"data_dir={os.fspath(self.data_dir)} lacks {self.name} ({missing}) and it cannot be"
                f" fetched ({reason}): put the files there, set LIGHTSWEEP_DATA to the folder that has them, or train"
                " on data=digits"
            ) from error


def _join(batches: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """All batches as one. The list is used up, so that the images are not in memory twice."""
    labels = np.concatenate([labels for _, labels in batches])
    images = np.empty((len(labels), *batches[0][0].shape[1:]), dtype=np.uint8)
    end = len(images)
    while batches:
        part, _ = batches.pop()
        images[end - len(part) : end] = part
        end -= len(part)
    return images, labels


class CIFAR10DataModule(CIFARDataModule):
    """CIFAR-10 (Krizhevsky 2009): 10 classes, five training batches."""

    name = "CIFAR-10"
    folder_name = "cifar-10-batches-py"
    classes = 10
    label_key, names_key = "labels", "label_names"
    training = tuple(f"data_batch_{number}" for number in range(1, 6))
    test, meta = "test_batch", "batches.meta"

    def official(self) -> Any:
        from torchvision.datasets import CIFAR10

        return CIFAR10


class CIFAR100DataModule(CIFARDataModule):
    """CIFAR-100 (Krizhevsky 2009) with its fine labels: 100 classes, one training batch."""

    name = "CIFAR-100"
    folder_name = "cifar-100-python"
    classes = 100
    label_key, names_key = "fine_labels", "fine_label_names"
    training, test, meta = ("train",), "test", "meta"

    def official(self) -> Any:
        from torchvision.datasets import CIFAR100

        return CIFAR100


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _ArraysOnly(pickle.Unpickler):
    """Arrays and plain containers; nothing else is looked up, so nothing else can be called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
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


def md5(path: Path) -> str:
    """Raises:
    ConfigError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"data_dir: {path} cannot be read ({error.strerror})")


def _damaged(path: Path, reason: str) -> ConfigError:
    reason = " ".join(reason.split())
    return ConfigError(f"{path} is damaged or no batch file ({reason}); remove it and it will be fetched again")
