"""Scores against scikit-learn's."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score, log_loss
from torch import nn

from lightsweep.training.classifier import balanced_accuracy, macro_f1, score_part

CPU = torch.device("cpu")
INPUTS = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(0, 3, (50,), generator=torch.Generator().manual_seed(1))
NET = nn.Linear(4, 4)  # a fourth class that no image has


def scored(batch_size: int, net: nn.Module = NET):
    batches = list(zip(INPUTS.split(batch_size), LABELS.split(batch_size), strict=True))
    return score_part(net, batches, device=CPU, num_classes=4, precision=nullcontext(), keep_probabilities=True)


@pytest.mark.parametrize("batch_size", [50, 7])
def test_agrees_with_scikit_learn_whatever_the_batches(batch_size: int) -> None:
    got = scored(batch_size)
    probabilities = torch.softmax(NET(INPUTS).double(), 1).detach().numpy()
    predicted = probabilities.argmax(1)
    assert got.metrics["loss"] == pytest.approx(log_loss(LABELS, probabilities, labels=range(4)), rel=1e-5)
    assert got.metrics["acc"] == accuracy_score(LABELS, predicted)
    assert got.metrics["f1"] == pytest.approx(f1_score(LABELS, predicted, average="macro", zero_division=0))
    np.testing.assert_array_equal(got.confusion, confusion_matrix(LABELS, predicted, labels=range(4)))


@pytest.mark.parametrize(
    ("true", "predicted"),
    [
        ([0, 1, 2, 2, 1], [0, 1, 2, 1, 1]),
        ([0, 0, 0, 2], [0, 2, 0, 2]),  # class 1 is neither true nor predicted
        ([0, 0, 2], [1, 0, 2]),  # class 1 is predicted and never true
        ([0, 1, 1], [0, 0, 0]),  # class 1 is true and never predicted
        ([1, 1], [0, 0]),
    ],
)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_f1_and_balanced_accuracy_are_scikit_learns(true: list[int], predicted: list[int]) -> None:
    counts = confusion_matrix(true, predicted, labels=range(4))
    assert macro_f1(counts) == pytest.approx(f1_score(true, predicted, average="macro", zero_division=0))
    assert balanced_accuracy(counts) == pytest.approx(balanced_accuracy_score(true, predicted))


def test_scores_without_dropout_and_leaves_batch_statistics_alone() -> None:
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 4)).train()
    running = net[0].running_mean.clone()
    assert scored(50, net).metrics == scored(50, net).metrics
    assert torch.equal(net[0].running_mean, running)


def test_keeps_probabilities_in_the_order_of_the_images_only_where_asked() -> None:
    expected = torch.softmax(NET(INPUTS), 1).detach().numpy()
    assert scored(7).probabilities.dtype == np.float32
    np.testing.assert_allclose(scored(7).probabilities, expected, rtol=1e-5)
    batches = [(INPUTS, LABELS)]
    without = score_part(NET, batches, device=CPU, num_classes=4, precision=nullcontext(), keep_probabilities=False)
    assert without.probabilities.shape == (0, 4)
