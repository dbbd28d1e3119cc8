"""Which images are shown."""

import numpy as np

from lightsweep.reports.pictures.picking import across_classes, most_wrong

LABELS = np.array([2, 2, 0, 1, 1, 1, 0])


def test_the_most_confident_mistakes_come_first() -> None:
    probabilities = np.array([[0.1, 0.9], [0.6, 0.4], [0.2, 0.8], [0.99, 0.01]])
    labels = np.array([0, 0, 0, 1])
    assert most_wrong(labels, probabilities, 5).tolist() == [3, 0, 2]
    assert most_wrong(labels, probabilities, 1).tolist() == [3]
    assert most_wrong(probabilities.argmax(1), probabilities, 5).tolist() == []


def test_images_are_of_all_classes_as_evenly_as_can_be() -> None:
    assert sorted(across_classes(LABELS, 99)) == list(range(7))
    assert LABELS[across_classes(LABELS, 3)].tolist() == [0, 1, 2]
    assert LABELS[across_classes(LABELS, 7)].tolist() == [0, 0, 1, 1, 1, 2, 2]
