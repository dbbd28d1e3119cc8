"""Tiny CIFAR-10 files in the official format: pickles of protocol 2 whose texts are Python 2's `str`."""

import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2's `str`, the way the official batch files hold them."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def save_bytes(self, content: bytes) -> None:
        short = len(content) < 256
        self.write(pickle.SHORT_BINSTRING if short else pickle.BINSTRING)
        self.write(len(content).to_bytes(1 if short else 4, "little") + content)

    def save_text(self, content: str) -> None:
        self.save_bytes(content.encode("latin1"))

    dispatch[bytes], dispatch[str] = save_bytes, save_text


def write_python2(path: Path, content: object) -> None:
    with path.open("wb") as file:
        Python2Pickler(file, protocol=2).dump(content)
    path.write_bytes(path.read_bytes().replace(b"cnumpy._core.", b"cnumpy.core."))


def cifar10_batch(number: int, size: int = 20) -> dict[str, Any]:
    """`size` noise images. The first pixel of image i is (number, i, 0) in red, green, blue; its class is i % 10."""
    pixels = np.random.default_rng(number).integers(0, 256, (size, 3, 32, 32), dtype=np.uint8)
    pixels[:, :, 0, 0] = [[number, image, 0] for image in range(size)]
    return {
        "batch_label": f"batch {number}",
        "labels": [image % 10 for image in range(size)],
        "data": pixels.reshape(size, -1),
        "filenames": [f"image_{image}.png" for image in range(size)],
    }


def write_cifar10(data_dir: Path) -> Path:
    """The folder cifar-10-batches-py with 5 x 20 training and 20 test images (the test batch has number 6)."""
    folder = data_dir / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for number in range(1, 6):
        write_python2(folder / f"data_batch_{number}", cifar10_batch(number))
    write_python2(folder / "test_batch", cifar10_batch(6))
    write_python2(folder / "batches.meta", {"label_names": list(CLASSES), "num_cases_per_batch": 20, "num_vis": 3072})
    return folder


def write_cifar100(data_dir: Path) -> Path:
    """The folder cifar-100-python with 200 training and 100 test images; fine label i % 100, coarse i % 20."""
    folder = data_dir / "cifar-100-python"
    folder.mkdir(parents=True)
    for number, (name, size) in enumerate({"train": 200, "test": 100}.items(), start=1):
        batch = cifar10_batch(number, size)
        del batch["labels"]
        labels = {"fine_labels": [i % 100 for i in range(size)], "coarse_labels": [i % 20 for i in range(size)]}
        write_python2(folder / name, batch | labels)
    names = [f"fine {label}" for label in range(100)]
    write_python2(folder / "meta", {"fine_label_names": names, "coarse_label_names": names[:20]})
    return folder
