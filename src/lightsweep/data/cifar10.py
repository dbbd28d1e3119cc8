"""CIFAR-10: downloaded and checked by torchvision, parsed once, then read through a memory map."""

import logging
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from filelock import FileLock

from lightsweep.data import cache
from lightsweep.data.batch_files import damaged, md5, read_batch, read_pickle
from lightsweep.data.module import ImageArrays, ImageDataModule, Traits
from lightsweep.data.normalize import symmetric
from lightsweep.errors import ConfigError

log = logging.getLogger(__name__)

_FOLDER = "cifar-10-batches-py"
_CLASSES, _SIDE = 10, 32


class CIFAR10DataModule(ImageDataModule):
    """CIFAR-10 (Krizhevsky 2009): 50,000 training and 10,000 test images, ``uint8 [3, 32, 32]``, 10 classes.

    Args:
        data_dir: holds, or will hold, the folder cifar-10-batches-py. Further arguments: see `ImageDataModule`.
    """

    def __init__(self, *, data_dir: str, **shared) -> None:
        super().__init__(**shared)
        self.data_dir = Path(data_dir).expanduser()
        self.folder = self.data_dir / _FOLDER

    def foreseen(self) -> Traits | None:
        names = tuple(map(str, range(_CLASSES)))
        return Traits((3, _SIDE, _SIDE), names, symmetric(), self.resize) if self._missing() else None

    def prepare_data(self) -> None:
        """Download what is missing.

        Raises:
            ConfigError: files are missing and cannot be fetched.
        """
        if self._missing():
            self._download()

    def read(self) -> ImageArrays:
        self.prepare_data()
        source = cache.fingerprint(self._files())
        arrays = cache.load(self._cache_folder, source)
        if arrays is None:
            arrays = self._parse()
            if cache.save(self._cache_folder, source, arrays):
                del arrays  # before the map comes, so that the set is not in memory twice
                arrays = cache.load(self._cache_folder, source) or self._parse()
        names = read_pickle(self.folder / "batches.meta").get("label_names")
        if not (isinstance(names, list) and len(names) == _CLASSES):
            raise damaged(self.folder / "batches.meta", f"'label_names' must list {_CLASSES} classes")
        return ImageArrays(**arrays, class_names=tuple(map(str, names)))

    @property
    def _cache_folder(self) -> Path:
        return self.folder / "lightsweep-cache"

    def _files(self) -> list[Path]:
        training = [self.folder / f"data_batch_{number}" for number in range(1, 6)]
        return [*training, self.folder / "test_batch", self.folder / "batches.meta"]

    def _missing(self) -> list[str]:
        return [file.name for file in self._files() if not file.is_file()]

    def _parse(self) -> dict[str, np.ndarray]:
        self._warn_of_other_checksums()
        *training, test, _ = self._files()
        train_images, train_labels = _join([read_batch(file, "labels", _CLASSES, _SIDE) for file in training])
        test_images, test_labels = read_batch(test, "labels", _CLASSES, _SIDE)
        return {
            "train_images": train_images,
            "train_labels": train_labels,
            "test_images": test_images,
            "test_labels": test_labels,
        }

    def _warn_of_other_checksums(self) -> None:
        from torchvision.datasets import CIFAR10

        official = dict([*CIFAR10.train_list, *CIFAR10.test_list])
        official[CIFAR10.meta["filename"]] = CIFAR10.meta["md5"]
        other = [file.name for file in self._files() if md5(file) != official[file.name]]
        if other:
            log.warning("%s: not the official md5 of %s; used as they are", self.folder, ", ".join(other))

    def _download(self) -> None:
        """Fetch and unpack the official archive; processes that start together wait for the first."""
        from torchvision.datasets import CIFAR10
        from torchvision.datasets.utils import download_and_extract_archive

        missing = self._missing()
        lock = self.data_dir / f".{_FOLDER}.lock"
        existed = self.data_dir.exists()
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            with FileLock(lock):
                if self._missing():
                    log.info("CIFAR-10 is not in %s; fetching it (170 MB)", self.data_dir)
                    download_and_extract_archive(
                        CIFAR10.url, str(self.data_dir), filename=CIFAR10.filename, md5=CIFAR10.tgz_md5
                    )
        except (OSError, RuntimeError, EOFError) as error:
            reason = " ".join(str(error).split())
            with suppress(OSError):  # leave nothing where the folder was mistyped
                lock.unlink()
                if not existed:
                    self.data_dir.rmdir()
            raise ConfigError(
                f"data_dir={os.fspath(self.data_dir)} lacks CIFAR-10 ({', '.join(missing)} of {_FOLDER}/) and it cannot"
                f" be fetched ({reason}): put the files there, set LIGHTSWEEP_DATA to the folder that has them,"
                " or train on data=digits"
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
