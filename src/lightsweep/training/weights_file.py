"""A checkpoint of trained weights without Lightning's Trainer: as best.ckpt of a run, for `checkpoints.load`."""

from pathlib import Path

import pytorch_lightning as pl

from lightsweep.training.checkpoints import write_checkpoint
from lightsweep.training.classifier import Classifier


def write_weights(path: Path, classifier: Classifier, *, epoch: int, steps: int, precision: str) -> None:
    """Write the weights of a classifier's network, which is on the CPU, with what rebuilds it.

    Args:
        epoch: the number of epochs that they were trained for; `steps`: of the optimizer.
        precision: of the training, as the Trainer names it.

    Raises:
        OSError: it cannot be written.
    """
    counted = dict.fromkeys(("ready", "started", "processed"), epoch) | {"completed": epoch - 1}  # as at its end
    content = {
        "epoch": epoch - 1,
        "global_step": steps,
        "pytorch-lightning_version": pl.__version__,
        "state_dict": {f"net.{name}": weight for name, weight in classifier.net.state_dict().items()},
        "loops": {"fit_loop": {"epoch_progress": {"total": counted, "current": dict(counted)}}},
        "lightsweep": classifier.describe(precision),
    }
    write_checkpoint(content, path)
