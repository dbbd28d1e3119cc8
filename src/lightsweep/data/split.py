"""Which training images validate."""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

SPLITS = ("first", "random", "stratified")
LARGEST_SEED = 2**32 - 1  # NumPy's


def validation_count(count: int, fraction: float) -> int:
    """How many of `count` images validate."""
    return round(count * fraction)


def first_of_each_class(labels: np.ndarray, most: int) -> np.ndarray:
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
    from sklearn.model_selection import train_test_split  # takes a second

    everything = np.arange(len(labels))
    held_out = validation_count(len(labels), fraction)
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


BY_FILE = "by_file"
_TRIED = 200  # seeds, to find one that leaves no class out


def draw_by_file(names: Sequence[str], seed: int, *, test: float, val: float) -> tuple[np.ndarray, np.ndarray]:
    """Each file's part, as a place in `layout.PARTS`, ``int64 [N]``, and an order of the files, ``int64 [N]``.

    Args:
        names: paths within the classes' folders. Letters may be composed or not: systems differ in that.
        test: the expected share of all.
        val: the expected share of those that are not in test.
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
    """The first seed with which each part that is drawn has each class; None where none of the first ones is it."""
    wanted = [0, *([1] if val else []), *([2] if test else [])]
    for seed in range(_TRIED):
        parts, _ = draw_by_file(names, seed, test=test, val=val)
        if all(len(np.unique(labels[parts == part])) == classes for part in wanted):
            return seed
    return None


_MOST = 10  # classes that are all named
_FEWEST = 5  # of more, those that have the fewest training images


def describe_counts(class_names: Sequence[str], counts: Mapping[str, np.ndarray]) -> str:
    """Args:
    counts: of each part, ``int64 [K]``; the first is that of training.
    """
    parts = [part for part in counts if counts[part].any()]
    table = np.stack([counts[part] for part in parts], 1)
    order = range(len(class_names)) if len(class_names) <= _MOST else table[:, 0].argsort(kind="stable")[:_FEWEST]
    rows = "; ".join(f"{class_names[row]} {', '.join(f'{count:,}' for count in table[row])}" for row in order)
    if len(class_names) <= _MOST:
        return f"images of each class in {', '.join(parts)}: {rows}"
    ranges = ", ".join(
        f"{low:,} to {high:,} in {part}" for part, low, high in zip(parts, table.min(0), table.max(0), strict=True)
    )
    return f"images of each of {len(class_names):,} classes: {ranges}; fewest {rows}"
