"""Callbacks that let one look into the network: histograms of its weights and gradients, and its graph."""

from typing import cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from lightsweep.core import checks
from lightsweep.training.classifier import Classifier
from lightsweep.training.trackers import Trackers


class Histograms(Callback):
    """Each parameter's values, and its last gradient (after clipping), in the loggers that show histograms.

    Args:
        every: epochs from one to the next; the first epoch has one.
        in_trials: in the trials of a sweep too.
    """

    def __init__(self, *, every: int, in_trials: bool) -> None:
        checks.whole("callbacks.histograms.every", every, "[1, inf)")
        checks.flag("callbacks.histograms.in_trials", in_trials)
        self.every, self.in_trials = every, in_trials

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs, batch, index) -> None:
        # The epoch's last step: when the epoch ends, Lightning has cleared the gradients for the validation.
        if (
            index + 1 != trainer.num_training_batches
            or trainer.current_epoch % self.every
            or not trainer.is_global_zero
        ):
            return
        trackers = Trackers(trainer.loggers)
        epoch = trainer.current_epoch + 1
        for name, parameter in cast(Classifier, pl_module).net.named_parameters():
            trackers.histogram(f"weights/{name}", parameter, epoch)
            if parameter.grad is not None:
                trackers.histogram(f"gradients/{name}", parameter.grad, epoch)


class Graph(Callback):
    """The network's graph, in the loggers that show one.

    Args:
        in_trials: in the trials of a sweep too.
    """

    def __init__(self, *, in_trials: bool) -> None:
        checks.flag("callbacks.graph.in_trials", in_trials)
        self.in_trials = in_trials

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        classifier = cast(Classifier, pl_module)
        images = torch.zeros((1, *classifier.description.input_shape), device=classifier.device)
        Trackers(trainer.loggers).graph(classifier.net, images)
