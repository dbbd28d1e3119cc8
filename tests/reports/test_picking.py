"""Which images are shown."""

import numpy as np

from lightsweep.reports.pictures import choose_across_classes, find_mistakes

LABELS = np.array([2, 2, 0, 1, 1, 1, 0])


def test_the_most_confident_mistakes_come_first() -> None:
    probabilities = np.array([[0.1, 0.9], [0.6, 0.4], [0.2, 0.8], [0.99, 0.01]])
    labels = np.array([0, 0, 0, 1])
    assert find_mistakes(labels, probabilities, 5).tolist() == [3, 0, 2]
    assert find_mistakes(labels, probabilities, 1).tolist() == [3]
    assert find_mistakes(probabilities.argmax(1), probabilities, 5).tolist() == []


def test_images_are_chosen_evenly_from_all_classes() -> None:
    assert sorted(choose_across_classes(LABELS, 99)) == list(range(7))
    assert LABELS[choose_across_classes(LABELS, 3)].tolist() == [0, 1, 2]
    assert LABELS[choose_across_classes(LABELS, 7)].tolist() == [0, 0, 1, 1, 1, 2, 2]
