"""A learning-rate range test (Smith 2017): the loss over some steps at a rate that grows from tiny to huge.

It writes lr_find.csv, a row a step, and lr_find.png, and suggests a third of the rate at which the smoothed loss is
least: the paper finds the best rate a factor of two to four below the largest that converges.
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, cast

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import replace_atomically, write_atomic
from lightsweep.data.loader import TrainLoader, seed_everything
from lightsweep.data.module import ImageDataModule
from lightsweep.runs.run_folder import LAST_CHECKPOINT, LR_FIND, is_follower
from lightsweep.training.classifier import Classifier, Sums
from lightsweep.training.optimization import Schedule
from lightsweep.training.threads import Threads
from lightsweep.training.trainer import fit

PLOT = "lr_find.png"
WINDOW = 10  # steps that are averaged
_DIVERGED = 4.0  # times the least loss so far, both over `WINDOW` steps, ends the test
_BELOW_LEAST = 3.0  # the rate of the least loss is divided by this


class Range(NamedTuple):
    """Learning rates from `low` to `high`, each the same factor above the one before."""

    low: float
    high: float
    steps: int

    def schedule(self, optimizer: Optimizer, epochs: int, steps_per_epoch: int) -> Schedule:
        """As one of `optimization`'s."""
        first, growth = self.low / optimizer.param_groups[0]["lr"], self.high / self.low
        scheduler = LambdaLR(optimizer, lambda step: first * growth ** (step / (self.steps - 1)))
        return {"scheduler": scheduler, "interval": "step", "frequency": 1}


class RangeTest(Callback):
    """Records the rate and the loss of each optimizer step, and ends the test when the loss diverges."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.least = math.inf

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        seed_everything(self.seed, trainer.current_epoch, trainer.global_rank)
        cast(TrainLoader, trainer.train_dataloader).set_epoch(trainer.current_epoch)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer) -> None:
        self.rates.append(float(optimizer.param_groups[0]["lr"]))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs, batch, index) -> None:
        if len(self.losses) == len(self.rates):  # gradients are still accumulated
            return
        classifier = cast(Classifier, pl_module)
        loss = classifier.means_of("train", classifier.train_sums)["train/loss"]
        classifier.train_sums = Sums(classifier.device, len(classifier.description.class_names))
        self.losses.append(loss)
        recent = fmean(self.losses[-WINDOW:])
        self.least = min(self.least, recent)
        if not math.isfinite(loss) or recent > _DIVERGED * self.least:
            trainer.should_stop = True


def run(
    classifier: Classifier,
    data: ImageDataModule,
    *,
    folder: Path,
    seed: int,
    span: Mapping[str, Any],
    trainer: Mapping[str, Any],
    threads: int | str | None,
) -> float:
    """Test, write both files, and return the suggestion. The classifier cannot be trained afterwards.

    Args:
        span, trainer, threads: the config's keys `lr_find_range`, `trainer` and `threads`.

    Raises:
        ConfigError: there is no such range, or no rate follows from the losses.
    """
    rates_of, test = Range(**span), RangeTest(seed)
    classifier.schedule = partial(rates_of.schedule)
    built = build(
        trainer,
        "trainer",
        folder=folder,
        default_root_dir=str(folder),
        max_epochs=-1,
        max_steps=rates_of.steps,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        callbacks=[Threads(threads), test],
        use_distributed_sampler=False,
    )
    fit(built, classifier, data, folder / LAST_CHECKPOINT)
    rates, losses = np.array(test.rates[: len(test.losses)]), np.array(test.losses)
    finite = np.isfinite(losses)
    suggestion = suggest(rates[finite], losses[finite])
    if not is_follower():
        rows = [f"{rate},{loss}\n" for rate, loss in zip(rates.tolist(), losses.tolist(), strict=True)]
        write_atomic(folder / LR_FIND, "".join(["lr,loss\n", *rows]))
        _plot(rates[finite], losses[finite], suggestion, folder / PLOT)
    return suggestion


def show(rate: float, folder: Path, overrides: Sequence[str], options: Sequence[str] = ()) -> None:
    """Print the suggestion, where the picture is, and the command that trains with it.

    Args:
        options: what was typed besides the overrides.
    """
    if is_follower():
        return
    dropped = ("lr_find", "optimizer.lr")
    kept = [*options, *(line for line in overrides if line.partition("=")[0].lstrip("+") not in dropped)]
    print(f"suggested learning rate: {rate:g}, a third of where the loss is least: {folder / PLOT}")
    print(f"train with it: python src/train.py {shlex.join([*kept, f'optimizer.lr={rate:g}'])}")


def suggest(rates: np.ndarray, losses: np.ndarray) -> float:
    """A third of the rate at which the smoothed loss is least, to two digits.

    Raises:
        ConfigError: too few steps, or the loss never fell.
    """
    if len(losses) < WINDOW:
        raise ConfigError(f"lr_find: the loss diverged after {len(losses)} steps: lower lr_find_range.low")
    least = int(smooth(losses).argmin())
    if least == 0:
        raise ConfigError("lr_find: the loss never fell: lower lr_find_range.low")
    return float(f"{rates[least] / _BELOW_LEAST:.2g}")


def smooth(losses: np.ndarray) -> np.ndarray:
    """A centred moving average, which shifts nothing to larger rates."""
    reach = max(1, len(losses) // 20)
    return np.array([losses[max(0, i - reach) : i + reach + 1].mean() for i in range(len(losses))])


def _plot(rates: np.ndarray, losses: np.ndarray, suggestion: float, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    smoothed = smooth(losses)
    axes.plot(rates, losses, color="0.75", linewidth=1, label="each step")
    axes.plot(rates, smoothed, color="C0", linewidth=2, label="smoothed")
    least = int(smoothed.argmin())
    axes.plot([rates[least]], [smoothed[least]], "o", color="C0", markersize=7, label=f"least at {rates[least]:.2g}")
    height = float(np.interp(np.log(suggestion), np.log(rates), smoothed))
    axes.plot([suggestion], [height], "o", color="C3", markersize=9, label=f"suggested: {suggestion:g}")
    axes.axvline(suggestion, color="C3", linewidth=1, linestyle=":")
    axes.set_xscale("log")
    spread = smoothed.max() - smoothed.min()
    axes.set_ylim(losses.min() - 0.05 * spread, min(losses.max(), 1.5 * losses[:WINDOW].mean()) + 0.05 * spread)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss (cross-entropy)")
    axes.set_title("Learning-rate range test")
    axes.grid(alpha=0.3)
    axes.legend()
    with replace_atomically(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
