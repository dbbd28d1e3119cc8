"""Learning-rate schedules. Each takes the optimizer, the number of epochs and the steps in one, and gives Lightning's
scheduler dict.

All but `plateau` are closed forms of the step or epoch, so that resuming needs nothing but its number, and a run that
is resumed for longer follows the longer curve.
"""

from collections.abc import Callable
from math import cos, pi
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from lightsweep.core import checks

Schedule = dict[str, Any]


def constant(optimizer: Optimizer, epochs: int, steps_per_epoch: int, *, warmup: float, interval: str) -> Schedule:
    """The rate of the optimizer, after the warm-up."""
    return _closed_form(optimizer, lambda epoch: 1.0, steps_per_epoch, warmup, interval)


def step(
    optimizer: Optimizer,
    epochs: int,
    steps_per_epoch: int,
    *,
    every: int,
    factor: float,
    warmup: float,
    interval: str,
) -> Schedule:
    """Times `factor` after each `every` epochs."""
    checks.whole("scheduler.every", every, "[1, inf)")
    checks.number("scheduler.factor", factor, "(0, 1)")
    return _closed_form(optimizer, lambda epoch: factor ** (epoch // every), steps_per_epoch, warmup, interval)


def cosine(
    optimizer: Optimizer, epochs: int, steps_per_epoch: int, *, min_lr: float, warmup: float, interval: str
) -> Schedule:
    """From the rate after warm-up down to `min_lr` at the end of the last epoch, half a cosine."""
    checks.require(epochs > 0, "trainer.max_epochs", "be a number of epochs for scheduler=cosine", epochs)
    checks.number("scheduler.min_lr", min_lr, "[0, inf)")
    checks.number("scheduler.warmup", warmup, f"[0, {epochs})")
    floor = min_lr / optimizer.param_groups[0]["lr"]

    def multiplier(epoch: float) -> float:
        progress = min(1.0, (epoch - warmup) / (epochs - warmup))
        return floor + (1 - floor) * (1 + cos(pi * progress)) / 2

    return _closed_form(optimizer, multiplier, steps_per_epoch, warmup, interval)


def plateau(
    optimizer: Optimizer,
    epochs: int,
    steps_per_epoch: int,
    *,
    monitor: str,
    mode: str,
    factor: float,
    patience: int,
    threshold: float,
    threshold_mode: str,
    min_lr: float,
) -> Schedule:
    """Times `factor` when `monitor` has not improved for more than `patience` epochs (torch's ReduceLROnPlateau)."""
    checks.number("scheduler.factor", factor, "(0, 1)")
    checks.whole("scheduler.patience", patience, "[0, inf)")
    checks.number("scheduler.threshold", threshold, "[0, inf)")
    checks.choice("scheduler.threshold_mode", threshold_mode, ("abs", "rel"))
    checks.number("scheduler.min_lr", min_lr, "[0, inf)")
    scheduler = ReduceLROnPlateau(
        optimizer,
        mode,  # type: ignore[arg-type]  # checked with the other monitors before training
        factor=factor,
        patience=patience,
        threshold=threshold,
        threshold_mode=threshold_mode,  # type: ignore[arg-type]
        min_lr=min_lr,
    )
    return {"scheduler": scheduler, "monitor": monitor}


def _closed_form(
    optimizer: Optimizer, multiplier: Callable[[float], float], steps_per_epoch: int, warmup: float, interval: str
) -> Schedule:
    """A multiplier of the rate as a function of the epoch (a fraction of it, where `interval` is step)."""
    checks.number("scheduler.warmup", warmup, "[0, inf)")
    checks.choice("scheduler.interval", interval, ("step", "epoch"))
    ticks = steps_per_epoch if interval == "step" else 1

    def rate(tick: int) -> float:
        epoch = tick / ticks
        if epoch < warmup:
            return (tick + 1) / (warmup * ticks + 1)  # never 0, and 1 right after the warm-up
        return multiplier(epoch)

    return {"scheduler": LambdaLR(optimizer, rate), "interval": interval, "frequency": 1}


def go_to(scheduler: LRScheduler | ReduceLROnPlateau, tick: int) -> None:
    """Put a closed form at a step or epoch, wherever it was: a resumed run may have another schedule."""
    assert isinstance(scheduler, LambdaLR), "a plateau schedule is not Lightning's to step"
    scheduler.last_epoch = tick
    groups = scheduler.optimizer.param_groups
    for group, base, rate in zip(groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = base * rate(tick)
