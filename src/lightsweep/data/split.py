"""Which images are for training, validation and test, and how many of each class each part has."""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

SPLITS = ("first", "random", "stratified")
BY_FILE = "by_file"  # of image folders
LARGEST_SEED = 2**32 - 1  # NumPy's

_SEEDS_TRIED = 200  # to find one that leaves no class out
_CLASSES_NAMED = 10  # in a line of counts
_FEWEST_NAMED = 5  # of more classes than that, those with the fewest training images


def validation_count(count: int, fraction: float) -> int:
    """How many of `count` images validate."""
    return round(count * fraction)


def first_of_each_class(labels: np.ndarray, most: int) -> np.ndarray:
    """Indices, ascending, of the first `most` images of each class; `labels` ``int64 [N]``."""
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
    from sklearn.model_selection import train_test_split  # takes a second

    indices = np.arange(len(labels))
    held_out = validation_count(len(labels), fraction)
    if method == "first":
        return indices[held_out:], indices[:held_out]
    left, classes = len(labels) - held_out, len(np.unique(labels))
    if method == "stratified" and min(held_out, left) < classes:
        raise ValueError(f"{held_out} and {left} images cannot both have one of each of {classes} classes")
    by = labels if method == "stratified" else None
    train, val = train_test_split(indices, test_size=held_out, random_state=seed, stratify=by)
    return np.sort(train), np.sort(val)


def draw_by_file(names: Sequence[str], seed: int, *, test: float, val: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw the part of each file from its own name: a file more, less or damaged moves no other to another part.

    A hash of the name and the seed decides, so that a fraction is an expected share, not an exact one. The class does
    not count: an image whose label is corrected stays in its part.

    Args:
        names: paths within the folders of the classes. Unicode letters may be composed or not, as systems differ.
        test: the expected share of all.
        val: the expected share of those that are not in test.

    Returns:
        Each file's part, 0 train, 1 val, 2 test, ``int64 [N]``, and a random order of the files, ``int64 [N]``.
    """
    start = hashlib.blake2b(f"{seed}\n".encode(), digest_size=24)
    digests = []
    for name in names:
        each = start.copy()
        each.update(unicodedata.normalize("NFC", name).encode("utf-8", "surrogateescape"))
        digests.append(each.digest())
    numbers = np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 3) / 2**64
    in_test, in_val = numbers[:, 0] < test, numbers[:, 1] < val
    return np.where(in_test, 2, np.where(in_val, 1, 0)), np.argsort(numbers[:, 2], kind="stable")


def find_seed(names: Sequence[str], labels: np.ndarray, classes: int, *, test: float, val: float) -> int | None:
    """The first seed with which each part that is drawn has each class; None if none of the first ones does."""
    wanted = [0, *([1] if val else []), *([2] if test else [])]
    for seed in range(_SEEDS_TRIED):
        parts, _ = draw_by_file(names, seed, test=test, val=val)
        if all(len(np.unique(labels[parts == part])) == classes for part in wanted):
            return seed
    return None


def describe_counts(class_names: Sequence[str], counts: Mapping[str, np.ndarray]) -> str:
    """How many images of each class are in each part, in a line.

    Args:
        counts: of each part, ``int64 [K]``; the first is that of training.
    """
    parts = [part for part in counts if counts[part].any()]
    table = np.stack([counts[part] for part in parts], 1)
    few = len(class_names) <= _CLASSES_NAMED
    named = range(len(class_names)) if few else table[:, 0].argsort(kind="stable")[:_FEWEST_NAMED]
    rows = "; ".join(f"{class_names[row]} {', '.join(f'{count:,}' for count in table[row])}" for row in named)
    if few:
        return f"images of each class in {', '.join(parts)}: {rows}"
    ranges = ", ".join(
        f"{low:,} to {high:,} in {part}" for part, low, high in zip(parts, table.min(0), table.max(0), strict=True)
    )
    return f"images of each of {len(class_names):,} classes: {ranges}; fewest {rows}"
