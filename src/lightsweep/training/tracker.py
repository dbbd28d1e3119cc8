"""What every logger can take, and what becomes of the rest: nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from lightsweep.training.hparams import Column

# What a run is compared by, and where its result.json has it.
SCORES = {
    "hp/train_acc": "train/acc",
    "hp/val_acc": "val/acc",
    "hp/val_f1": "val/f1",
    "hp/val_loss": "val/loss",
    "hp/test_acc": "test/acc",
    "hp/test_f1": "test/f1",
}


def final_scores(facts: Mapping[str, Any]) -> dict[str, float]:
    """Those of `SCORES` that a result.json holds."""
    return {name: facts[key] for name, key in SCORES.items() if facts.get(key) is not None}


class Tracker:
    """A logger of settings and numbers, such as a CSV file: it has no place for pictures.

    Args:
        logger: one of Lightning's.
    """

    def __init__(self, logger: Any) -> None:
        self.logger: Any = logger

    def start(self, params: Mapping[str, Any], columns: Mapping[str, Column]) -> None:
        self.logger.log_hyperparams(dict(params))

    def scores(self, facts: Mapping[str, Any]) -> None:
        self.logger.log_metrics(final_scores(facts), step=1)

    def figure(self, name: str, path: Path, epoch: int) -> None:
        """A PNG file."""

    def text(self, name: str, path: Path, epoch: int) -> None:
        """A text file."""

    def histogram(self, name: str, values: Tensor, epoch: int) -> None:
        """The values of a tensor."""

    def graph(self, net: nn.Module, images: Tensor) -> None:
        """The network as it works on images ``float [B, C, H, W]``."""

    def close(self, status: str) -> None:
        """The run has ended: completed, interrupted, pruned, diverged or failed."""
        self.logger.finalize("success" if status == "completed" else "failed")


def finite_values(values: Tensor) -> np.ndarray:
    """The values of a tensor that are numbers, as ``float32 [n]``."""
    flat = values.detach().float().flatten()
    return flat[flat.isfinite()].cpu().numpy()


def outcome(status: str) -> str:
    """How trackers that know three ends only see it: success, stopped (by a person or a pruner) or failure."""
    return {"completed": "success", "interrupted": "stopped", "pruned": "stopped"}.get(status, "failure")
