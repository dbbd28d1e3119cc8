"""CIFAR-10 written out as a folder of photographs."""

from pathlib import Path

import numpy as np
from PIL import Image

import write_photos


def test_classes_are_unbalanced_and_images_large_and_of_unequal_sizes(cifar10: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    written = write_photos.write(folder, cifar10, {"train": 10, "test": 2})
    files = list(folder.rglob("*.jpg"))
    counts = [len(list((folder / "train" / name).iterdir())) for name in ("airplane", "automobile", "truck")]
    assert counts == [10, 8, 1]
    assert len(files) == written == sum(write_photos.sizes(10, 10)) + sum(write_photos.sizes(2, 10))
    sides = {side for file in files for side in Image.open(file).size}
    assert len(sides) > 10
    assert sides <= set(range(48, 97))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_image_is_the_one_of_its_class(cifar10: Path, tmp_path: Path) -> None:
    write_photos.write(tmp_path / "photos", cifar10, {"train": 3, "test": 2})
    data = write_photos._read(cifar10)
    first = data.train_images[data.train_labels == 1][0].transpose(1, 2, 0)
    photo = np.asarray(Image.open(tmp_path / "photos" / "train" / "automobile" / "0000.jpg").resize((32, 32)))
    assert np.abs(photo.astype(int) - first).mean() < 40  # noise, enlarged and compressed; another image is at 85


def test_all_of_it_is_a_few_thousand_images() -> None:
    counts = {part: write_photos.sizes(largest, 10) for part, largest in write_photos.LARGEST.items()}
    assert (counts["train"][0], counts["train"][-1]) == (1000, 100)
    assert sum(map(sum, counts.values())) == 5721
