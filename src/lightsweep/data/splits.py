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
    indices = np.arange(len(labels))
    held_out = round(len(labels) * fraction)
    if method == "first":
        return indices[held_out:], indices[:held_out]
    draw = np.random.RandomState(seed)  # and in scikit-learn's order: the splits of earlier versions stay as they are
    val = _draw_stratified(labels, held_out, draw) if method == "stratified" else draw.permutation(indices)[:held_out]
    return np.setdiff1d(indices, val), np.sort(val)


def _draw_stratified(labels: np.ndarray, held_out: int, draw: np.random.RandomState) -> np.ndarray:
    """Indices of images, the same share of each class, as scikit-learn's ``train_test_split``."""
    left = len(labels) - held_out
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if min(held_out, left) < len(counts):
        raise ValueError(f"{held_out} and {left} images cannot both have one of each of {len(counts)} classes")
    if counts.min() < 2:
        raise ValueError("the least populated class has a single image, which cannot be in both parts")
    kept = _round_shares(counts, left, draw)
    taken = _round_shares(counts - kept, held_out, draw)
    parts = []
    for label, (first, more) in enumerate(zip(kept, taken, strict=True)):
        own = draw.permutation(np.flatnonzero(classes == label))
        parts.append(own[first : first + more])
    return np.concatenate(parts)


def _round_shares(counts: np.ndarray, total: int, draw: np.random.RandomState) -> np.ndarray:
    """How many of each class make `total`: its share, rounded down, and one more of those with the largest remainders,
    which are drawn among equal ones."""
    exact = counts / counts.sum() * total
    shares = np.floor(exact)
    missing = int(total - shares.sum())
    remainders = exact - shares
    for remainder in np.unique(remainders)[::-1]:
        if missing == 0:
            break
        found = np.flatnonzero(remainders == remainder)
        more = min(len(found), missing)
        shares[draw.choice(found, size=more, replace=False)] += 1
        missing -= more
    return shares.astype(np.int64)
