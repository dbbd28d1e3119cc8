"""A data set as it is read, and what is known of it before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightsweep.data.normalization import Normalization, symmetric_normalization


@dataclass(frozen=True)
class ImageArrays:
    """A data set as read: images ``uint8 [N, C, H, W]``, labels ``int64 [N]``.

    `parts` has indices of a part: those of `train` and `val` into the training arrays, those of `test` into the test
    arrays. A train or test that it lacks consists of all of its arrays; a val, of a share of train.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)

    def of(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """The images and labels that contain those of train, val or test."""
        test = part == "test"
        return (self.test_images, self.test_labels) if test else (self.train_images, self.train_labels)


class Traits(NamedTuple):
    """What a network and its loss follow from, known before the data are read: an image's shape (C, H, W), class names
    of the right number, and `resize`; the rest as of `ImageDataModule`, `batches` at the least."""

    input_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    resize: str
    batches: tuple[int, int] = (1, 1)

    @property
    def normalization(self) -> Normalization:
        return symmetric_normalization()

    @property
    def class_weights(self) -> Tensor:
        return torch.ones(len(self.class_names), device="cpu")
