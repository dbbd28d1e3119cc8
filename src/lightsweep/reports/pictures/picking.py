"""Which images of a part are worth showing."""

import numpy as np


def most_wrong(labels: np.ndarray, probabilities: np.ndarray, count: int) -> np.ndarray:
    """Places of the images, at most `count`, that got the wrong class with the most confidence, worst first.

    Args:
        labels: ``int64 [N]``.
        probabilities: ``float [N, K]``.
    """
    predicted = probabilities.argmax(1)
    wrong = np.flatnonzero(predicted != labels)
    confidence = probabilities[wrong, predicted[wrong]]
    return wrong[np.argsort(-confidence, kind="stable")][:count]


def across_classes(labels: np.ndarray, count: int) -> np.ndarray:
    """Places of at most `count` images, as many of each class as there is room for, in the order of the classes."""
    order = np.argsort(labels, kind="stable")
    grouped = labels[order]
    nth_of_class = np.arange(len(labels)) - np.searchsorted(grouped, grouped)
    taken = np.argsort(nth_of_class, kind="stable")[:count]
    return order[np.sort(taken)]
