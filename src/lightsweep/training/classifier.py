"""The LightningModule: a batch -> its loss, and the optimizer with its schedule."""

from functools import partial
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from lightsweep.config.build import config_error
from lightsweep.core import checks
from lightsweep.core.metrics import METRICS
from lightsweep.training import checkpoints, optimization, resuming
from lightsweep.training.checkpoints import Description
from lightsweep.training.optimization import Schedule
from lightsweep.training.scoring import Batch, Objective, Sums


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
            schedule["scheduler"].load_state_dict(resuming.plateau_progress(self._plateau_state))
        return optimizer

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoints.put_averaged_weights(checkpoint, self.trainer)
        checkpoint["lightsweep"] = self.description.as_dict() | {
            "optimizer": optimization.describe_optimizer(self.optimizer)
        }
        if self.plateau:
            checkpoint[resuming.PLATEAU] = self.plateau["scheduler"].state_dict()
        checkpoint["lightsweep"]["precision"] = str(self.trainer.precision)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        resuming.adapt_checkpoint(
            checkpoint,
            weights=self.state_dict(),
            optimizer=optimization.describe_optimizer(self.optimizer),
            groups=len(optimization.parameter_groups(self.net, decay_all=self.decay_all)),
            plateau=self.schedule.func is optimization.plateau,
            trainer=self.trainer,
        )
        self._plateau_state = checkpoint.get(resuming.PLATEAU)  # the schedule does not exist yet

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
