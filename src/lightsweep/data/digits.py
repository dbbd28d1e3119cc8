"""scikit-learn's bundled digits: 1,797 real 8 x 8 images, no network."""

import numpy as np
from sklearn.datasets import load_digits

from lightsweep.data.module import ImageArrays, ImageDataModule
from lightsweep.data.split import split

_TEST_FRACTION = 0.2
_TEST_SEED = 0


class DigitsDataModule(ImageDataModule):
    """Digits of the UCI set (Alpaydin & Kaynak 1998). A fifth, the same share of each class, is the test set."""

    def read(self) -> ImageArrays:
        digits = load_digits()
        images = (digits.images * (255 / 16)).round().astype(np.uint8)[:, None]  # [N, 1, 8, 8], from 0..16
        labels = digits.target.astype(np.int64)
        train, test = split("stratified", labels, _TEST_FRACTION, _TEST_SEED)
        return ImageArrays(images[train], labels[train], images[test], labels[test], tuple("0123456789"))
