"""What tests of the data share."""

import logging
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from image_files import write_folder
from lightsweep.config.build import build
from lightsweep.data.image_folder import ImageFolderDataModule


@pytest.fixture
def file_limit() -> Callable[[int], AbstractContextManager[None]]:
    """Within the block no file of this process can become larger than this many bytes, as on a full disk."""

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture
def open_folder(compose, tmp_path: Path) -> Callable[..., ImageFolderDataModule]:
    """Open the class folders of a root, small and with a cache of their own."""

    def opened(root: Path, *overrides: str, setup: bool = True) -> ImageFolderDataModule:
        small = [
            "data.image_size=8",
            "data.batch_size=4",
            "data.val_fraction=0.25",
            f"data_dir={tmp_path}/data_dir",
            f"data.root='{root}'",
        ]
        data = build(compose("data=image_folder", *small, *overrides).data, "data")
        if setup:
            data.setup()
        return data

    return opened


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three class folders of ten images each."""
    return write_folder(tmp_path / "images")


@pytest.fixture
def count_decodings(caplog) -> Callable[[], int]:
    """How often all files of a folder were decoded."""
    caplog.set_level(logging.INFO, "lightsweep.data.cache")
    return lambda: sum(message.startswith("decoding ") for message in caplog.messages)
