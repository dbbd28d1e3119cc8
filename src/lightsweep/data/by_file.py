"""Parts of an image folder that follow from each file's own name: a file more, less or damaged moves no other.

A hash of the name within the class's folder and of the seed decides, so that a fraction is an expected share, not an
exact one. The class does not count: an image whose label is mended stays in its part.
"""

import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np

NAME = "by_file"
_TRIED = 200  # seeds, to find one that leaves no class out


def draw(names: Sequence[str], seed: int, *, test: float, val: float) -> tuple[np.ndarray, np.ndarray]:
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


def seed_with_all(names: Sequence[str], labels: np.ndarray, classes: int, *, test: float, val: float) -> int | None:
    """The first seed with which each part that is drawn has each class; None where none of the first ones is it."""
    wanted = [0, *([1] if val else []), *([2] if test else [])]
    for seed in range(_TRIED):
        parts, _ = draw(names, seed, test=test, val=val)
        if all(len(np.unique(labels[parts == part])) == classes for part in wanted):
            return seed
    return None
