"""Which images are for training, and which for validation."""

import numpy as np

SPLITS = ("first", "random", "stratified")
LARGEST_SEED = 2**32 - 1  # NumPy's


def first_of_each_class(labels: np.ndarray, most: int) -> np.ndarray:
    """Indices, ascending, of the first `most` images of each class; `labels` ``int64 [N]``."""
    found = [np.flatnonzero(labels == label)[:most] for label in np.unique(labels)]
    return np.sort(np.concatenate(found))


def split(method: str, labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training part and of the validation part, both ``int64`` and ascending.

    Args:
        method: first (the first images are for validation), random, or stratified (the same share of each class).
        labels: ``int64 [N]``.
        fraction: of the N images that are for validation, rounded.
        seed: of random and stratified.

    Raises:
        ValueError: a class has too few images to be in both parts (stratified only).
    """
    from sklearn.model_selection import train_test_split  # takes a second

    indices = np.arange(len(labels))
    held_out = round(len(labels) * fraction)
    if method == "first":
        return indices[held_out:], indices[:held_out]
    left, classes = len(labels) - held_out, len(np.unique(labels))
    if method == "stratified" and min(held_out, left) < classes:
        raise ValueError(f"{held_out} and {left} images cannot both have one of each of {classes} classes")
    by = labels if method == "stratified" else None
    train, val = train_test_split(indices, test_size=held_out, random_state=seed, stratify=by)
    return np.sort(train), np.sort(val)
