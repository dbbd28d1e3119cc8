"""Optimizers and their parameter groups, learning-rate schedules, and a run that is resumed with other settings.

A schedule takes the optimizer, the number of epochs and the steps of an epoch, and returns Lightning's scheduler dict.
All but `plateau` are closed forms of the step or epoch: resuming needs nothing but its number, and a run resumed for
longer follows the longer curve.

Lightning would restore the old settings from a checkpoint without a warning. `adapt_checkpoint` puts the new ones into
what it restores, or refuses them where the run cannot be continued with them.
"""

from collections.abc import Callable, Iterable
from functools import partial
from math import cos, pi
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from lightsweep.config.build import config_error
from lightsweep.core import checks
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import is_inside

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


PLATEAU = "plateau"
_PATHS = ("best_model_path", "last_model_path", "kth_best_model_path")  # of a ModelCheckpoint
_GATHERS = ("momentum", "centered", "amsgrad")  # SGD's momentum alone begins whenever it is switched on
_PLATEAU_PROGRESS = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch", "_last_lr")


def adapt_checkpoint(
    checkpoint: dict[str, Any],
    *,
    weights: dict[str, Tensor],
    optimizer: dict[str, Any],
    groups: int,
    plateau: bool,
    trainer: pl.Trainer,
) -> None:
    """Change a Lightning checkpoint in place, before Lightning restores from it.

    Args:
        checkpoint: with its part ``lightsweep``.
        weights: of the network as the config has it now, by name.
        optimizer: its name and arguments as the config has them now.
        groups: how many groups of parameters it has now.
        plateau: does the schedule wait for a plateau now?
        trainer: whose early-stopping callbacks keep their patience as the config has it now.

    Raises:
        ConfigError: the network, the kind of optimizer or the kind of schedule is another, or the optimizer would need
            what it has not gathered.
    """
    _check_epochs(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"], trainer.max_epochs)
    _check_weights(checkpoint["state_dict"], weights)
    before = checkpoint["lightsweep"]["optimizer"]
    if before["name"] != optimizer["name"]:
        raise ConfigError(f"optimizer: a resumed run keeps its optimizer, {before['name']}, got {optimizer['name']}")
    if len(checkpoint["optimizer_states"][0]["param_groups"]) != groups:
        raise ConfigError("decay_all: a resumed run decays the weights that it decayed before, it cannot change this")
    for name in _GATHERS:
        if optimizer["name"] != "SGD" and optimizer.get(name) and not before.get(name):
            raise ConfigError(
                f"optimizer.{name}: a resumed run cannot begin with it, since {before['name']} gathers what it needs"
                f" from the first step on, got {optimizer[name]}"
            )
    if plateau != (PLATEAU in checkpoint):
        raise ConfigError("scheduler: a resumed run can change to another schedule, but not to or from plateau")
    for name, value in optimizer.items():
        if value != before.get(name):
            _change(checkpoint, name, value, before.get(name))
    _forget_elsewhere(checkpoint["callbacks"], trainer)
    for callback in trainer.early_stopping_callbacks:
        if state := checkpoint["callbacks"].get(callback.state_key):
            state["patience"] = callback.patience


def _forget_elsewhere(states: dict[Any, Any], trainer: pl.Trainer) -> None:
    """Let callbacks remember no files outside the run's folder and those that were typed: Lightning would delete them
    as older checkpoints. Also in the form that Lightning gives to states of its earlier versions."""
    savers = [each for each in trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint)]
    folders = [Path(trainer.default_root_dir), *(Path(each.dirpath) for each in savers if each.dirpath)]
    for key, state in list(states.items()):
        if not isinstance(key, str):  # a class, as before Lightning 1.5, or whatever else it made of it
            del states[key]
        elif isinstance(state, dict) and any(name in state for name in (*_PATHS, "best_k_models")):
            _clean(state, folders)


def _clean(state: dict[str, Any], folders: list[Path]) -> None:
    for name in _PATHS:
        if not _is_in(state.get(name), folders):
            state[name] = ""
    kept = state.get("best_k_models") or {}
    state["best_k_models"] = {path: score for path, score in kept.items() if _is_in(path, folders)}


def _is_in(path: Any, folders: list[Path]) -> bool:
    if not isinstance(path, str) or path == "" or "://" in path or "::" in path:
        return False
    return any(is_inside(Path(path), folder) for folder in folders)


def plateau_progress(state: dict[str, Any]) -> dict[str, Any]:
    """The progress of a plateau schedule, without its settings."""
    return {name: state[name] for name in _PLATEAU_PROGRESS}


def _check_epochs(counts: dict[str, Any], most: int | None) -> None:
    for name, count in counts.items():
        if type(count) is not int or not 0 <= count < 2**31:
            raise ConfigError(f"last.ckpt: its number of epochs ({name}) is {count!r}")
    trained = counts["processed"]
    if most is not None and -1 < most < trained:
        raise ConfigError(
            f"trainer.max_epochs must be at least {trained}, the epochs that this run has trained already, got {most}"
        )


def _check_weights(saved: dict[str, Tensor], weights: dict[str, Tensor]) -> None:
    for name in saved.keys() | weights.keys():
        was, now = (list(state[name].shape) if name in state else None for state in (saved, weights))
        if was != now:
            raise ConfigError(f"model: a resumed run keeps its network; {name} was {was}, would be {now}")


def _change(checkpoint: dict[str, Any], name: str, value: Any, before: Any) -> None:
    groups = checkpoint["optimizer_states"][0]["param_groups"]
    if name == "lr":
        _scale_rate(checkpoint, groups, value / before)
    elif name == "weight_decay":
        groups[0][name] = value  # the other group, if there is one, is spared from decay
    else:
        for group in groups:
            group[name] = value


def _scale_rate(checkpoint: dict[str, Any], groups: list[dict[str, Any]], factor: float) -> None:
    """Change the rate that schedules start from; what they made of it so far stays."""
    for group in groups:
        group["lr"] *= factor
        if "initial_lr" in group:
            group["initial_lr"] *= factor
    for schedule in checkpoint["lr_schedulers"]:
        schedule["base_lrs"] = [rate * factor for rate in schedule["base_lrs"]]
        schedule["_last_lr"] = [rate * factor for rate in schedule["_last_lr"]]
