"""How good is a network on a part of the data: loss, accuracy, macro F1, and which class it takes for which."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_confusion_matrix


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy, accuracy in [0, 1], and counts ``int64 [K, K]``: true class by row, predicted by column.

    `probabilities` ``float32 [N, K]`` has an image's softmax by row, in the loader's order; it is empty, ``[0, K]``,
    where nobody asked to keep it.
    """

    loss: float
    acc: float
    confusion: np.ndarray
    probabilities: np.ndarray

    @property
    def f1(self) -> float:
        return macro_f1(self.confusion)

    @property
    def balanced_acc(self) -> float:
        return balanced_accuracy(self.confusion)


def macro_f1(confusion: np.ndarray) -> float:
    """The mean of the classes' F1 scores, from counts ``[K, K]``, true class by row.

    As in scikit-learn and torchmetrics, a class that is neither there nor predicted does not count, and one that is
    predicted but not there counts 0.
    """
    right, there, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    counted = there + predicted > 0
    return float(np.mean(2 * right[counted] / (there + predicted)[counted]))


def balanced_accuracy(confusion: np.ndarray) -> float:
    """The mean of the classes' recalls, from counts ``[K, K]``, true class by row; classes not there do not count."""
    there = confusion.sum(1)
    return float(np.mean(confusion.diagonal()[there > 0] / there[there > 0]))


@torch.inference_mode()
def score(
    net: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    *,
    num_classes: int,
    precision: AbstractContextManager,
    keep_probabilities: bool,
) -> Score:
    """Score a network over batches of normalised images ``float [B, C, H, W]`` and classes ``int64 [B]``.

    Args:
        net: on the device of the batches; left in eval mode.
        precision: under which its forward pass runs, as in training.
        keep_probabilities: of each image; a large set's would take memory for nothing.
    """
    net.eval()
    # Sums and one buffer, not lists: a small tensor kept of each batch would keep the memory of its images from being
    # used again.
    loss: Tensor | float = 0.0
    confusion: Tensor | int = 0
    kept = BytesIO()
    with precision:
        for images, labels in loader:
            logits = net(images).float()  # [B, K]
            loss += F.cross_entropy(logits, labels, reduction="sum")
            confusion += multiclass_confusion_matrix(logits, labels, num_classes)
            if keep_probabilities:
                kept.write(logits.softmax(1).cpu().numpy().tobytes())
    counts = torch.as_tensor(confusion).cpu().numpy()
    probabilities = np.frombuffer(kept.getbuffer(), dtype=np.float32).reshape(-1, num_classes)
    total = int(counts.sum())
    return Score(float(loss) / total, int(counts.trace()) / total, counts, probabilities)
