"""The LightningModule: a batch -> its loss, with optimizer and schedule; and the metrics of a part of the data."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightsweep.config.build import config_error
from lightsweep.core import checks
from lightsweep.core.metrics import FINAL, METRICS
from lightsweep.training import checkpoints, optimization
from lightsweep.training.checkpoints import Description
from lightsweep.training.optimization import Schedule

Batch = tuple[Tensor, Tensor]


class Loss(NamedTuple):
    """Of one batch, both scalars: what is minimised, and the cross-entropy alone, comparable between settings."""

    objective: Tensor
    cross_entropy: Tensor


class Sums:
    """Running sums over batches, kept on the device: nothing waits for them until `means` is asked for."""

    def __init__(self, device: torch.device, num_classes: int) -> None:
        self.losses = torch.zeros(2, device=device)  # of all images: objective, cross-entropy
        # int64 [K, K]: images by true class (row) and predicted class (column)
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def add(self, loss: Loss, logits: Tensor, targets: Tensor) -> None:
        """Add a batch with its mean losses: logits ``[B, K]``, targets ``int64 [B]`` or ``float [B, K]``."""
        self.losses.add_(torch.stack([loss.objective.detach(), loss.cross_entropy]), alpha=len(targets))
        self.count(logits, targets)

    def count(self, logits: Tensor, targets: Tensor) -> None:
        """Add a batch's predictions alone."""
        labels = targets if targets.ndim == 1 else targets.argmax(1)
        cells = labels * len(self.confusion) + logits.detach().argmax(1)
        # As a bincount, which would make a GPU wait.
        self.confusion.view(-1).scatter_add_(0, cells, torch.ones_like(cells))

    def means(self, reduce: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> dict[str, float]:
        """The value of each metric by its name, after `reduce`, which adds up the sums of several processes."""
        objective, loss = reduce(self.losses).tolist()
        confusion = reduce(self.confusion).cpu().numpy()
        count = int(confusion.sum())
        return {
            "objective": objective / count,
            "loss": loss / count,
            "acc": int(confusion.trace()) / count,
            "f1": macro_f1(confusion),
            "balanced_acc": balanced_accuracy(confusion),
        }


class Objective:
    """Cross-entropy (smoothed, weighed) plus l2 * sum(w^2) over the weights of hidden linear and convolutional layers.

    Args:
        net: whose weights are meant. Its head is its attribute `head`, else its last linear layer.
        label_smoothing: Szegedy et al. 2016, in [0, 1).
        l2: as Keras's ``l2(lambda)``: no half, no biases, no norm layers.
        l2_head: the head's weights too.
        class_weights: ``float [K]``, by which an image's loss is multiplied. The mean is over images, not over
            weights, so that it does not depend on how a set is cut into batches.
    """

    def __init__(
        self, net: nn.Module, *, label_smoothing: float, l2: float, l2_head: bool, class_weights: Tensor
    ) -> None:
        checks.number("loss.label_smoothing", label_smoothing, "[0, 1)")
        checks.number("loss.l2", l2, "[0, inf)")
        checks.flag("loss.l2_head", l2_head)
        self.label_smoothing, self.l2 = label_smoothing, l2
        self.class_weights = class_weights
        self.weighed = bool((class_weights != 1).any())
        self.penalised = _penalised_weights(net, with_head=l2_head) if l2 else []

    def __call__(self, logits: Tensor, targets: Tensor) -> Loss:
        """Logits ``[B, K]`` and targets, classes ``int64 [B]`` or probabilities ``float [B, K]`` -> means over B."""
        cross_entropy = F.cross_entropy(logits, targets)
        objective = cross_entropy
        if self.weighed:
            objective = self._weighed(logits.float(), targets)
        elif self.label_smoothing:
            objective = F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        if self.penalised:
            objective = objective + self.penalty()
        return Loss(objective, cross_entropy.detach())

    def _weighed(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.class_weights = self.class_weights.to(logits.device)
        how = {"weight": self.class_weights, "label_smoothing": self.label_smoothing}
        return F.cross_entropy(logits, targets, **how, reduction="sum") / len(targets)  # type: ignore[arg-type]

    def penalty(self) -> Tensor:
        """The L2 term, a scalar."""
        return self.l2 * torch.stack([weight.square().sum() for weight in self.penalised]).sum()


def _penalised_weights(net: nn.Module, *, with_head: bool) -> list[Tensor]:
    layers = [module for module in net.modules() if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)]
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    head = getattr(net, "head", linear[-1] if linear else None)
    heads = set(head.modules()) if isinstance(head, nn.Module) else set()
    return [layer.weight for layer in layers if with_head or layer not in heads]


@dataclass(frozen=True)
class Score:
    """The metrics of a part by name, and counts ``int64 [K, K]``: true class by row, predicted class by column.

    `probabilities` ``float32 [N, K]`` has an image's softmax by row, in the loader's order; it is empty, ``[0, K]``,
    where nobody asked to keep it.
    """

    metrics: dict[str, float]
    confusion: np.ndarray
    probabilities: np.ndarray


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
def score_part(
    net: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    *,
    device: torch.device,
    num_classes: int,
    precision: AbstractContextManager,
    keep_probabilities: bool,
) -> Score:
    """Score a network over batches of normalised images ``float [B, C, H, W]`` and classes ``int64 [B]``.

    Args:
        net: left in eval mode.
        device: of the network and the batches.
        precision: under which its forward pass runs, as in training.
        keep_probabilities: of each image; a large set's would take memory for nothing.
    """
    net.eval()
    # Sums and one buffer, not lists: a small tensor kept of each batch would keep the memory of its images from being
    # used again.
    sums = Sums(device, num_classes)
    kept = BytesIO()
    with precision:
        for images, labels in loader:
            logits = net(images).float()  # [B, K]
            sums.losses += F.cross_entropy(logits, labels, reduction="sum")
            sums.count(logits, labels)
            if keep_probabilities:
                kept.write(logits.softmax(1).cpu().numpy().tobytes())
    means = sums.means()
    probabilities = np.frombuffer(kept.getbuffer(), dtype=np.float32).reshape(-1, num_classes)
    return Score({metric.name: means[metric.name] for metric in FINAL}, sums.confusion.cpu().numpy(), probabilities)


class Classifier(pl.LightningModule):
    """Trains any network that maps ``float [B, C, H, W]`` to logits ``[B, K]``.

    A batch is images and targets: class numbers ``int64 [B]`` or probabilities ``float [B, K]``. It logs the metrics of
    the validation.

    Args:
        net: the network.
        objective: what is minimised.
        optimizer: a torch optimizer that lacks its parameters.
        schedule: one of `schedules` that lacks (optimizer, epochs, steps per epoch).
        decay_all: weight decay on biases and norm layers too.
        max_epochs: how long it will train; -1 for no end.
        description: what a checkpoint says of itself.

    Raises:
        ConfigError: an optimizer or a schedule with impossible values.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        objective: Objective,
        optimizer: partial,
        schedule: partial,
        decay_all: bool,
        max_epochs: int,
        description: Description,
    ) -> None:
        super().__init__()
        self.net = net
        self.objective = objective
        self.optimizer, self.schedule, self.decay_all = optimizer, schedule, decay_all
        self.max_epochs = max_epochs
        self.description = description
        checks.flag("decay_all", decay_all)
        optimization.check_optimizer(optimizer)
        # A rehearsal: what cannot work is refused here, not after Lightning has set everything up.
        made = optimization.build_optimizer(optimizer, net, decay_all=decay_all)
        try:
            self.schedule(made, max_epochs, 1)
        except TypeError as error:  # an argument that it does not know
            raise config_error(error, "scheduler") from error
        self.plateau: Schedule | None = None
        self._plateau_state: dict | None = None

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def on_train_start(self) -> None:
        for config in self.trainer.lr_scheduler_configs:
            ticks = self._steps_per_epoch() if config.interval == "step" else 1
            optimization.move_schedule(config.scheduler, self.trainer.current_epoch * ticks)

    def on_train_epoch_start(self) -> None:
        self.train_sums = Sums(self.device, len(self.description.class_names))
        self.validated = False

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, targets = batch
        logits = self.net(images)
        loss = self.objective(logits, targets)
        self.train_sums.add(loss, logits, targets)
        return loss.objective

    def on_validation_epoch_start(self) -> None:
        self.val_sums = Sums(self.device, len(self.description.class_names))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images, targets = batch
        if len(targets) == 0:  # a process's share can be one batch shorter than the others'
            return
        logits = self.net(images)
        self.val_sums.add(self.objective(logits, targets), logits, targets)

    def on_validation_epoch_end(self) -> None:
        self.validated = True
        self.val_means = self._means_of("val", self.val_sums)
        self.log_dict({f"val/{name}": value for name, value in self.val_means.items()})
        self.log("step", self.trainer.current_epoch + 1.0)  # the loggers' x axis: the epoch

    def train_means(self) -> dict[str, float]:
        """The metrics of the epoch that just ended by name, with dropout and augmentation."""
        return self._means_of("train", self.train_sums)

    def has_measured(self, metric: str) -> bool:
        """Is this metric of the epoch that just ended? Lightning goes on showing those of an earlier validation."""
        return self.validated or metric.startswith("train/")

    def mean_of(self, metric: str) -> float:
        """A metric of the epoch that just ended, to the digit as metrics.csv has it: Lightning keeps it in float32."""
        part, _, name = metric.partition("/")
        return (self.val_means if part == "val" else self.train_means())[name]

    def on_train_epoch_end(self) -> None:
        # Lightning steps a plateau schedule after the checkpoint is written, and a resumed run would miss that step.
        # This hook comes before: the checkpoint holds the schedule as the next epoch will see it.
        if self.plateau is None:
            return
        metric = self.plateau["monitor"]
        if self.has_measured(metric):
            self.plateau["scheduler"].step(self.trainer.callback_metrics[metric].item())

    def configure_optimizers(self) -> Any:
        # Lightning refuses to clip the gradients of a fused optimizer under mixed precision.
        clips_mixed = bool(self.trainer.gradient_clip_val) and str(self.trainer.precision).endswith("mixed")
        optimizer = optimization.build_optimizer(
            self.optimizer, self.net, decay_all=self.decay_all, may_fuse=not clips_mixed
        )
        schedule = self.schedule(optimizer, self.max_epochs, self._steps_per_epoch())
        if "monitor" not in schedule:
            return {"optimizer": optimizer, "lr_scheduler": schedule}
        self.plateau = schedule
        if self._plateau_state is not None:
            schedule["scheduler"].load_state_dict(optimization.plateau_progress(self._plateau_state))
        return optimizer

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoints.put_averaged_weights(checkpoint, self.trainer)
        checkpoint["lightsweep"] = self.description.as_dict() | {
            "optimizer": optimization.describe_optimizer(self.optimizer)
        }
        if self.plateau:
            checkpoint[optimization.PLATEAU] = self.plateau["scheduler"].state_dict()
        checkpoint["lightsweep"]["precision"] = str(self.trainer.precision)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        optimization.adapt_checkpoint(
            checkpoint,
            weights=self.state_dict(),
            optimizer=optimization.describe_optimizer(self.optimizer),
            groups=len(optimization.parameter_groups(self.net, decay_all=self.decay_all)),
            plateau=self.schedule.func is optimization.plateau,
            trainer=self.trainer,
        )
        self._plateau_state = checkpoint.get(optimization.PLATEAU)  # the schedule does not exist yet

    def _steps_per_epoch(self) -> int:
        batches = self.trainer.num_training_batches  # known after the loader was set up
        if not isinstance(batches, int):
            self.trainer.fit_loop.setup_data()
            batches = int(self.trainer.num_training_batches)
        return -(-batches // self.trainer.accumulate_grad_batches)

    def _means_of(self, part: str, sums: Sums) -> dict[str, float]:
        means = sums.means(self._over_processes)
        return {metric.name: means[metric.name] for metric in METRICS if part in metric.by_epoch}

    def _over_processes(self, values: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(values, reduce_op="sum")
