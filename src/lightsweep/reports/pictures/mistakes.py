"""The images that a network is most sure of and wrong about."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from lightsweep.reports.pictures import picking, samples


def most_wrong(
    part: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[str],
    images: Callable[[np.ndarray], np.ndarray],
    count: int,
) -> Figure:
    """A grid of them, each with its true class, the class that was seen, and how sure of it the network was.

    Args:
        part: train, val or test.
        labels: ``int64 [N]``.
        probabilities: ``float [N, K]``.
        names: of the K classes.
        images: from places among the N to ``uint8 [n, C, H, W]``.
        count: how many at most.
    """
    chosen = picking.most_wrong(labels, probabilities, count)
    captions = [
        f"true: {names[labels[place]]}\nseen: {names[seen]}\n{100 * probabilities[place, seen]:.1f}% sure"
        for place, seen in zip(chosen, probabilities[chosen].argmax(1), strict=True)
    ]
    wrong = int((probabilities.argmax(1) != labels).sum())
    return samples.grid(images(chosen), captions, f"{part}: the {len(chosen)} most confident of {wrong:,} mistakes")
