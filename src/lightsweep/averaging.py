"""An average of the weights along the way, which does better than the last weights alone (Polyak 1992)."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lightsweep import checks


class WeightAverage(WeightAveraging):
    """An exponential moving average, which is the weights themselves until it begins. (Lightning's would be the
    initial weights for so long, and they would be validated.)

    Its n-th update has the decay (1 + n) / (10 + n) while that is less than `decay`: the first weights, far from where
    training leads, are soon forgotten, in short runs too (as `num_updates` of TensorFlow's ExponentialMovingAverage).

    Args:
        decay: of the average at an update, at most.
        every: optimizer steps an update.
        start: optimizer steps before the first.
        use_buffers: average BatchNorm's statistics too.

    Raises:
        ConfigError: a value is out of its range.
    """

    def __init__(self, *, decay: float, every: int, start: int, use_buffers: bool) -> None:
        checks.number("callbacks.ema.decay", decay, "[0, 1)")
        checks.whole("callbacks.ema.every", every, "[1, inf)")
        checks.whole("callbacks.ema.start", start, "[0, inf)")
        checks.flag("callbacks.ema.use_buffers", use_buffers)
        self.decay, self.every, self.start = decay, every, start
        self.updates = 0  # before the one that is due
        super().__init__(use_buffers=use_buffers, multi_avg_fn=self._average)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        # The network lies on the CPU yet. An average that stayed there would take every step's weights off the GPU.
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:  # torch looks at its count twice an update: a GPU would be waited for
            self._average_model.n_averaged = self._average_model.n_averaged.cpu()

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        if step_idx is None or step_idx < self.start:
            return False
        self.updates, steps_over = divmod(step_idx - self.start, self.every)  # also right in a run that was resumed
        return steps_over == 0

    def _average(self, averages: list[Tensor], weights: list[Tensor], _updates: Tensor | int) -> None:
        """Move averages towards weights. (torch's own count comes on the device, and would have to be waited for.)"""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        like = [weight.to(average.dtype) for average, weight in zip(averages, weights, strict=True)]  # bf16-true's
        get_ema_multi_avg_fn(decay)(averages, like, self.updates)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._follow(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._follow(pl_module)  # before the checkpoints are written

    def _follow(self, pl_module: pl.LightningModule) -> None:
        average = self._average_model
        if average is not None and average.n_averaged == 0:
            average.module.load_state_dict(pl_module.state_dict())


def put_into(checkpoint: dict[str, Any], trainer: pl.Trainer) -> None:
    """Put averaged weights, where there are any, into a checkpoint that holds weights only. (Lightning does so by
    itself only in checkpoints that hold everything.)"""
    if "optimizer_states" in checkpoint:
        return
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, WeightAveraging):
            callback.on_save_checkpoint(trainer, trainer.lightning_module, checkpoint)
            checkpoint.pop("current_model_state", None)
            checkpoint.pop("averaging_state", None)
