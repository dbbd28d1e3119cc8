"""The pickled batch format of CIFAR (python version), read without trusting it."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from lightsweep.core.errors import ConfigError

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
        raise damaged(path, f"{type(error).__name__}: {error}") from error
    if not isinstance(content, dict):
        raise damaged(path, f"a {type(content).__name__} where a dict should be")
    return content


def read_batch(path: Path, label_key: str, classes: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Images ``uint8 [N, 3, side, side]`` and labels ``int64 [N]`` of one batch file.

    Raises:
        ConfigError: the file is not such a batch.
    """
    batch = read_pickle(path)
    pixels, labels = batch.get("data"), batch.get(label_key)
    if not (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape[1:] == (3 * side * side,)):
        raise damaged(path, f"'data' must be uint8 [N, {3 * side * side}]")
    if not (isinstance(labels, list) and all(type(label) is int and 0 <= label < classes for label in labels)):
        raise damaged(path, f"'{label_key}' must be a list of whole numbers below {classes}")
    if len(labels) != len(pixels):
        raise damaged(path, f"{len(pixels)} images but {len(labels)} labels")
    return pixels.reshape(-1, 3, side, side), np.array(labels, dtype=np.int64)


def md5(path: Path) -> str:
    """Raises:
    ConfigError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"data_dir: {path} cannot be read ({error.strerror})")


def damaged(path: Path, reason: str) -> ConfigError:
    reason = " ".join(reason.split())
    return ConfigError(f"{path} is damaged or no batch file ({reason}); remove it and it will be fetched again")
