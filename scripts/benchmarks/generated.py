"""Random images in the files and the format of CIFAR-10."""

import pickle
from pathlib import Path

import numpy as np

from benchmarks.setting import VAL_FRACTION

_TEST_IMAGES = 1000
_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def write(data_dir: Path, images: int) -> Path:
    """Write cifar-10-batches-py with `images` training images besides those that will validate; gives `data_dir`."""
    folder = data_dir / "cifar-10-batches-py"
    folder.mkdir()
    draw = np.random.default_rng(0)
    total = round(images / (1 - VAL_FRACTION))
    for number, part in enumerate(np.array_split(np.arange(total), 5), start=1):
        _dump(folder / f"data_batch_{number}", _batch(draw, len(part)))
    _dump(folder / "test_batch", _batch(draw, _TEST_IMAGES))
    _dump(folder / "batches.meta", {"label_names": list(_CLASSES)})
    return data_dir


def _batch(draw: np.random.Generator, count: int) -> dict:
    pixels = draw.integers(0, 256, (count, 3 * 32 * 32), dtype=np.uint8)
    return {"data": pixels, "labels": draw.integers(0, len(_CLASSES), count).tolist()}


def _dump(path: Path, content: dict) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))
