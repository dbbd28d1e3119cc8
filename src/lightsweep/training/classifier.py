"""The LightningModule: a batch -> its loss, with optimizer and schedule; and the metrics of a part of the data."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightsweep.config.build import config_error
from lightsweep.core import checks
from lightsweep.core.metrics import FINAL, METRICS
from lightsweep.training import checkpoints, optimization
from lightsweep.training.checkpoints import Description
from lightsweep.training.lean import LeanModule

Batch = tuple[Tensor, Tensor]  # images, and class numbers ``int64 [B]`` or probabilities ``float [B, K]``


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
        return means_of_sums(reduce(self.losses).tolist(), reduce(self.confusion).cpu().numpy())


def means_of_sums(losses: Sequence[float], confusion: np.ndarray) -> dict[str, float]:
    """The value of each metric by its name, from the sums over all images of the objective and of the cross-entropy,
    and from counts ``int64 [K, K]``: true class by row, predicted class by column."""
    objective, loss = losses
    count = int(confusion.sum())
    return {
        "objective": objective / count,
        "loss": loss / count,
        "acc": int(confusion.trace()) / count,
        "f1": macro_f1(confusion),
        "balanced_acc": balanced_accuracy(confusion),
    }


def by_epoch(part: str, means: Mapping[str, float]) -> dict[str, float]:
    """Those of the metrics that each epoch measures on this part, by name: ``val/acc``."""
    return {f"{part}/{metric.name}": means[metric.name] for metric in METRICS if part in metric.by_epoch}


class Objective:
    """Cross-entropy, with smoothing and class weights, plus l2 * sum(w^2) over hidden linear and convolutional layers.

    Args:
        net: whose weights are penalised. Its head is its attribute `head`, else its last linear layer.
        label_smoothing: Szegedy et al. 2016, in [0, 1).
        l2: as Keras's ``l2(lambda)``: no half, no biases, no norm layers.
        l2_head: penalise the head's weights too.
        class_weights: ``float [K]``, by which an image's loss is multiplied. The mean is over images, not over
            weights, so that it does not depend on how a set is cut into batches.
    """

    def __init__(
        self, net: nn.Module, *, label_smoothing: float, l2: float, l2_head: bool, class_weights: Tensor
    ) -> None:
        checks.number("loss.label_smoothing", label_smoothing, "[0, 1)")
        checks.number("loss.l2", l2, "[0, inf)")
        checks.flag("loss.l2_head", l2_head)
        self.label_smoothing, self.l2, self.class_weights = label_smoothing, l2, class_weights
        self.has_class_weights = bool((class_weights != 1).any())
        self.penalised = _find_penalised_weights(net, with_head=l2_head) if l2 else []

    def __call__(self, logits: Tensor, targets: Tensor) -> Loss:
        """Logits ``[B, K]`` and targets, classes ``int64 [B]`` or probabilities ``float [B, K]`` -> means over B."""
        cross_entropy = F.cross_entropy(logits, targets)
        objective = cross_entropy
        if self.has_class_weights:
            self.class_weights = self.class_weights.to(logits.device)
            settings = {"weight": self.class_weights, "label_smoothing": self.label_smoothing}
            losses = F.cross_entropy(logits.float(), targets, **settings, reduction="sum")  # type: ignore[arg-type]
            objective = losses / len(targets)
        elif self.label_smoothing:
            objective = F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        if self.penalised:
            objective = objective + self.l2 * torch.stack([each.square().sum() for each in self.penalised]).sum()
        return Loss(objective, cross_entropy.detach())


def _find_penalised_weights(net: nn.Module, *, with_head: bool) -> list[Tensor]:
    layers = [module for module in net.modules() if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)]
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    head = getattr(net, "head", linear[-1] if linear else None)
    heads = set(head.modules()) if isinstance(head, nn.Module) else set()
    return [layer.weight for layer in layers if with_head or layer not in heads]


@dataclass(frozen=True)
class Score:
    """The metrics of a part by name, and counts ``int64 [K, K]``: true class by row, predicted class by column.

    `probabilities` ``float32 [N, K]`` has an image's softmax by row, in the loader's order; ``[0, K]`` if not kept.
    """

    metrics: dict[str, float]
    confusion: np.ndarray
    probabilities: np.ndarray


def macro_f1(confusion: np.ndarray) -> float:
    """The mean of the classes' F1 scores, from counts ``[K, K]``, true class by row.

    As in scikit-learn and torchmetrics, a class that has no images and is never predicted does not count, and one that
    has no images but is predicted counts 0.
    """
    true_and_predicted = confusion.sum(1) + confusion.sum(0)
    counted = true_and_predicted > 0
    return float(np.mean(2 * confusion.diagonal()[counted] / true_and_predicted[counted]))


def balanced_accuracy(confusion: np.ndarray) -> float:
    """The mean recall of the classes that have images, from counts ``[K, K]``, true class by row."""
    images = confusion.sum(1)
    return float(np.mean(confusion.diagonal()[images > 0] / images[images > 0]))


@torch.inference_mode()
def score_part(
    net: nn.Module,
    loader: Iterable[Batch],
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
        precision: the context of its forward pass, as in training.
        keep_probabilities: keep those of each image; for a large part they take much memory.
    """
    net.eval()
    # Sums and one buffer, no lists: a tensor kept of each batch would prevent the reuse of its images' memory.
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


class Classifier(LeanModule):
    """Trains any network that maps ``float [B, C, H, W]`` to logits ``[B, K]``, and logs the metrics of the validation.

    Args:
        optimizer: a torch optimizer without its parameters.
        schedule: one of `optimization`'s without (optimizer, epochs, steps per epoch).
        decay_all: weight decay on biases and norm layers too.
        max_epochs: of the training; -1 for no end.
        description: saved in its checkpoints.

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
        self.net, self.objective, self.description = net, objective, description
        self.optimizer, self.schedule, self.decay_all = optimizer, schedule, decay_all
        self.max_epochs = max_epochs
        checks.flag("decay_all", decay_all)
        optimization.check_optimizer(optimizer)
        # Built once to refuse what cannot work here, not after Lightning has set everything up.
        built = optimization.build_optimizer(optimizer, net, decay_all=decay_all)
        try:
            schedule(built, max_epochs, 1)
        except TypeError as error:  # an argument that it does not know
            raise config_error(error, "scheduler") from error
        # The last epoch's metrics by name, ``val/acc``. Lightning has them in float32, and after an epoch without a
        # validation those of an earlier one.
        self.measured: dict[str, float] = {}
        self.plateau: dict[str, Any] | None = None
        self._plateau_state: dict | None = None

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def on_train_start(self) -> None:
        for config in self.trainer.lr_scheduler_configs:
            ticks = self.steps_per_epoch() if config.interval == "step" else 1
            optimization.move_schedule(config.scheduler, self.trainer.current_epoch * ticks)

    def on_train_epoch_start(self) -> None:
        self.train_sums = Sums(self.device, len(self.description.class_names))
        self.measured = {}

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
        self.measured |= (means := self.means_of("val", self.val_sums))
        self.log_dict(means)
        self.log("step", self.trainer.current_epoch + 1.0)  # the loggers' x axis: the epoch

    def on_train_epoch_end(self) -> None:
        # Lightning steps a plateau schedule after the checkpoint is written, and a resumed run would miss that step.
        # This hook comes before it: the checkpoint holds the schedule as the next epoch needs it.
        if self.plateau and (metric := self.plateau["monitor"]) in self.measured:
            self.plateau["scheduler"].step(self.trainer.callback_metrics[metric].item())

    def configure_optimizers(self) -> Any:
        # Lightning refuses to clip the gradients of a fused optimizer under mixed precision.
        may_fuse = not (self.trainer.gradient_clip_val and str(self.trainer.precision).endswith("mixed"))
        optimizer = optimization.build_optimizer(self.optimizer, self.net, decay_all=self.decay_all, may_fuse=may_fuse)
        schedule = self.schedule(optimizer, self.max_epochs, self.steps_per_epoch())
        if "monitor" not in schedule:
            return {"optimizer": optimizer, "lr_scheduler": schedule}
        self.plateau = schedule
        if self._plateau_state is not None:
            schedule["scheduler"].load_state_dict(self._plateau_state)
        return optimizer

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoints.put_averaged_weights(checkpoint, self.trainer)
        checkpoint["lightsweep"] = self.describe(str(self.trainer.precision))
        if self.plateau:
            checkpoint[optimization.PLATEAU] = self.plateau["scheduler"].state_dict()

    def describe(self, precision: str) -> dict[str, Any]:
        """What a checkpoint has under ``lightsweep``.

        Args:
            precision: as the Trainer names it.
        """
        optimizer = optimization.describe_optimizer(self.optimizer)
        return self.description.as_dict() | {"optimizer": optimizer, "precision": precision}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        optimization.adapt_checkpoint(
            checkpoint, self.net, self.optimizer, self.schedule, decay_all=self.decay_all, trainer=self.trainer
        )
        self._plateau_state = checkpoint.get(optimization.PLATEAU)  # the schedule does not exist yet

    def steps_per_epoch(self) -> int:
        """Steps of the optimizer in an epoch."""
        if self.trainer.train_dataloader is None:
            self.trainer.fit_loop.setup_data()  # counts the batches
        return -(-int(self.trainer.num_training_batches) // self.trainer.accumulate_grad_batches)

    def means_of(self, part: str, sums: Sums) -> dict[str, float]:
        """The metrics of a part over all processes, by name: ``val/acc``."""
        return by_epoch(part, sums.means(partial(self.trainer.strategy.reduce, reduce_op="sum")))
