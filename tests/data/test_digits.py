"""The bundled digits: all of them, real, in three stratified parts."""

import numpy as np
from sklearn.datasets import load_digits

from lightsweep.config.build import build


def test_holds_every_digit_once_in_stratified_parts(compose) -> None:
    data = build(compose().data, "data")
    data.setup()
    images = np.concatenate([data.arrays.train_images, data.arrays.test_images])
    assert (images.shape, images.dtype) == ((1797, 1, 8, 8), np.uint8)
    assert data.input_shape == (1, 8, 8)
    assert data.class_names == tuple("0123456789")
    assert [len(data.indices[part]) for part in ("train", "val", "test")] == [1294, 144, 359]
    assert data.indices["val"][:5].tolist() == [5, 35, 38, 46, 48]
    assert data.labels("test")[:8].tolist() == [1, 4, 8, 6, 5, 9, 9, 1]
    for part in ("train", "val", "test"):
        shares = np.bincount(data.labels(part), minlength=10) / len(data.labels(part))
        assert abs(shares - np.bincount(load_digits().target) / 1797).max() < 0.01


def test_pixels_and_labels_are_scikit_learns(compose) -> None:
    data = build(compose().data, "data")
    data.setup()
    original = load_digits()
    known = {image.tobytes(): label for image, label in zip(original.images.astype(int), original.target, strict=True)}
    back = (data.arrays.test_images[:, 0] / 255 * 16).round().astype(int)
    assert [known[image.tobytes()] for image in back] == data.labels("test").tolist()
