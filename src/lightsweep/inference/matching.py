"""Data brought to what a network was trained on: its classes in its order, its input's shape, its normalisation."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable
from lightsweep.data.decode import fitted
from lightsweep.data.foreign import ForeignData
from lightsweep.data.module import ImageArrays, ImageDataModule
from lightsweep.training.checkpoints import Description

_NAMED = 10  # classes in an error


def match(data: ImageDataModule, description: Description) -> None:
    """Change data that were set up. Nothing is measured on them.

    Raises:
        ConfigError: their classes are others.
    """
    assert data.arrays is not None, "call setup first"
    numbers = class_numbers(data.arrays.class_names, description.class_names)
    data.arrays = _fitted(_renumbered(data.arrays, numbers), description)
    data.class_names = description.class_names
    data.input_shape = description.input_shape
    data.normalization = description.normalization


def check_same(data: ForeignData, description: Description) -> None:
    """See that a data module of the user's own gives what the network was trained on.

    Raises:
        ConfigError: it gives other classes, or another size.
    """
    for name in ("class_names", "input_shape"):
        was, now = getattr(description, name), getattr(data, name)
        if was != now:
            raise ConfigError(f"data: {data.name} must give the {name} of the network, {was}, got {now}")


def class_numbers(names: Sequence[str], trained: Sequence[str]) -> np.ndarray:
    """The network's class number of each class of the data, ``int64 [K]``."""
    missing, unknown = sorted(set(trained) - set(names)), sorted(set(names) - set(trained))
    if missing or unknown:
        parts = [f"the network knows {_listed(missing)}, which the data lack"] if missing else []
        parts += [f"the data have {_listed(unknown)}, which it does not know"] if unknown else []
        raise ConfigError(f"the data must have the classes of the network: {'; '.join(parts)}")
    return np.array([trained.index(name) for name in names])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(printable, names[:_NAMED])) + more


def _renumbered(arrays: ImageArrays, numbers: np.ndarray) -> ImageArrays:
    if np.array_equal(numbers, np.arange(len(numbers))):
        return arrays
    return replace(arrays, train_labels=numbers[arrays.train_labels], test_labels=numbers[arrays.test_labels])


def _fitted(arrays: ImageArrays, description: Description) -> ImageArrays:
    """Images of another size, or with other channels, as an image file of theirs would be read."""
    if arrays.train_images.shape[1:] == arrays.test_images.shape[1:] == description.input_shape:
        return arrays
    return replace(
        arrays,
        train_images=_each_fitted(arrays.train_images, description),
        test_images=_each_fitted(arrays.test_images, description),
    )


def _each_fitted(images: np.ndarray, description: Description) -> np.ndarray:
    out = np.empty((len(images), *description.input_shape), dtype=np.uint8)
    for number, pixels in enumerate(images):
        image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1))  # [C, H, W] -> [H, W, C]
        out[number] = fitted(
            image, image_size=description.image_size, resize=description.resize, grayscale=description.grayscale
        )
    return out
