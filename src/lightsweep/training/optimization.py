"""Optimizers and their parameter groups, and learning-rate schedules, with errors that name the key.

A schedule takes the optimizer, the number of epochs and the steps of an epoch, and returns Lightning's scheduler dict.
All but `plateau` are closed forms of the step or epoch: resuming needs nothing but its number, and a run resumed for
longer follows the longer curve.
"""

from collections.abc import Callable, Iterable
from functools import partial
from math import cos, pi
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from lightsweep.config.build import config_error
from lightsweep.core import checks

_RANGES = {
    "lr": "(0, inf)",
    "weight_decay": "[0, inf)",
    "eps": "[0, inf)",
    "momentum": "[0, 1)",
    "alpha": "[0, 1]",
    "rho": "[0, 1)",
    "min_lr": "[0, inf)",
}


def check_optimizer(optimizer: partial) -> None:
    """Refuse values out of range before any data is read.

    Raises:
        ConfigError: names the key as it is typed, ``optimizer.lr``.
    """
    for name, interval in _RANGES.items():
        if name in optimizer.keywords:
            checks.number(f"optimizer.{name}", optimizer.keywords[name], interval)
    for name in ("fused", "nesterov", "amsgrad"):
        if optimizer.keywords.get(name) is not None:
            checks.flag(f"optimizer.{name}", optimizer.keywords[name])


def build_optimizer(optimizer: partial, net: nn.Module, *, decay_all: bool, may_fuse: bool = True) -> Optimizer:
    """The optimizer over a network's parameters; weight decay on weights only, unless `decay_all`.

    `may_fuse=False` overrules ``fused=True``.
    """
    if optimizer.keywords.get("fused") and not may_fuse:
        optimizer = partial(optimizer, fused=False)
    try:
        return optimizer(parameter_groups(net, decay_all=decay_all))
    except (TypeError, ValueError, LookupError, RuntimeError) as error:
        raise config_error(error, "optimizer") from error


def describe_optimizer(optimizer: partial) -> dict[str, Any]:
    """Its name and arguments, as plain values for a checkpoint."""
    return {"name": optimizer.func.__name__, **optimizer.keywords}


def parameter_groups(net: nn.Module, *, decay_all: bool) -> list[dict]:
    """One group with decay; unless `decay_all`, biases and the parameters of norm layers in one without."""
    trainable = [parameter for parameter in net.parameters() if parameter.requires_grad]
    if decay_all:
        return [{"params": trainable}]
    # Weights of linear and convolutional layers have two axes or more; biases and norm layers' gains have one.
    decayed = [parameter for parameter in trainable if parameter.ndim > 1]
    spared = [parameter for parameter in trainable if parameter.ndim <= 1]
    groups: list[dict] = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


class KerasRMSprop(Optimizer):
    """v = rho * v + (1 - rho) * g^2;  w = w - lr * g / sqrt(v + eps).

    torch's RMSprop adds eps after the root: with small gradients Keras's 1e-7 there makes steps many times as long.

    Args:
        params: parameters, or groups of them.
        lr: the learning rate.
        rho: smoothing of the squared gradient.
        eps: keeps the root away from 0; a squared gradient's unit.
        weight_decay: each step takes lr * weight_decay of a weight off it, apart from the gradient.

    Raises:
        ConfigError: `eps` is not above 0.
    """

    def __init__(self, params: Iterable[Any], *, lr: float, rho: float, eps: float, weight_decay: float) -> None:
        checks.number("optimizer.eps", eps, "(0, inf)")
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; `closure`, which Lightning hands in, computes loss and gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group)
        return loss

    def _move(self, weight: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["square_avg"] = torch.zeros_like(weight)
        average = state["square_avg"]
        average.mul_(group["rho"]).addcmul_(gradient, gradient, value=1 - group["rho"])
        if group["weight_decay"]:
            weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.addcdiv_(gradient, (average + group["eps"]).sqrt_(), value=-group["lr"])


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
    checks.integer("scheduler.every", every, "[1, inf)")
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
    checks.integer("scheduler.patience", patience, "[0, inf)")
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


def move_schedule(scheduler: LRScheduler | ReduceLROnPlateau, tick: int) -> None:
    """Put a closed form at a step or epoch, wherever it was: a resumed run may have another schedule."""
    assert isinstance(scheduler, LambdaLR), "a plateau schedule is not Lightning's to step"
    scheduler.last_epoch = tick
    groups = scheduler.optimizer.param_groups
    for group, base, rate in zip(groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = base * rate(tick)
