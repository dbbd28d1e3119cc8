"""Which training images validate."""

import numpy as np
from sklearn.model_selection import train_test_split

METHODS = ("first", "random", "stratified")
LARGEST_SEED = 2**32 - 1  # NumPy's


def validating(count: int, fraction: float) -> int:
    """How many of `count` images validate."""
    return round(count * fraction)


def first_of_each(labels: np.ndarray, most: int) -> np.ndarray:
    """Places, ascending, of the first `most` images of each class; `labels` ``int64 [N]``."""
    found = [np.flatnonzero(labels == label)[:most] for label in np.unique(labels)]
    return np.sort(np.concatenate(found))


def split(method: str, labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training part and of the validation part, both ``int64`` and ascending.

    Args:
        method: first (the first ones validate), random, or stratified (the same share of each class).
        labels: ``int64 [N]``.
        fraction: of the N images that validate, rounded.
        seed: of random and stratified.

    Raises:
        ValueError: a class has too few images to be in both parts (stratified only).
    """
    everything = np.arange(len(labels))
    held_out = validating(len(labels), fraction)
    if method == "first":
        return everything[held_out:], everything[:held_out]
    if method == "stratified":
        _check_share(held_out, len(labels), len(np.unique(labels)))
    train, val = train_test_split(
        everything, test_size=held_out, random_state=seed, stratify=labels if method == "stratified" else None
    )
    return np.sort(train), np.sort(val)


def _check_share(held_out: int, count: int, classes: int) -> None:
    if min(held_out, count - held_out) < classes:
        raise ValueError(f"{held_out} and {count - held_out} images cannot both have one of each of {classes} classes")
