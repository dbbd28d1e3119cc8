"""Optimizers and their parameter groups, learning-rate schedules, and a run that is resumed with other settings.

A schedule takes the optimizer, the number of epochs and the steps of an epoch, and returns Lightning's scheduler dict.
All but `plateau` are closed forms of the step or epoch: resuming needs only its number, and a run resumed for longer
follows the longer curve.

Lightning would restore the old settings from a checkpoint without a warning. `adapt_checkpoint` puts the new ones into
it, or refuses them.
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
from lightsweep.training.checkpoints import is_in_folders

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
    return optimizer_over(optimizer, parameter_groups(net, decay_all=decay_all))


def optimizer_over(optimizer: partial, groups: list[dict]) -> Optimizer:
    """The optimizer over groups of parameters.

    Raises:
        ConfigError: it refuses its arguments.
    """
    try:
        return optimizer(groups)
    except (TypeError, ValueError, LookupError, RuntimeError) as error:
        raise config_error(error, "optimizer") from error


def describe_optimizer(optimizer: partial) -> dict[str, Any]:
    """Its name and arguments, plain values for a checkpoint."""
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

    torch's RMSprop adds eps after the root: Keras's 1e-7 there makes the steps of small gradients many times as long.

    Args:
        params: parameters, or groups of them.
        lr: the learning rate.
        rho: smoothing of the squared gradient.
        eps: keeps the root away from 0; in the unit of a squared gradient.
        weight_decay: decoupled: each step multiplies a weight by 1 - lr * weight_decay.

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
                    self._update(weight, weight.grad, group)
        return loss

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
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
    optimizer: Optimizer, epochs: int, steps_per_epoch: int, *, every: int, factor: float, warmup: float, interval: str
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
    """Set a closed form to a step or epoch, whatever it was restored to: a resumed run may have another schedule."""
    assert isinstance(scheduler, LambdaLR), "Lightning does not get a plateau schedule to step"
    scheduler.last_epoch = tick
    groups = scheduler.optimizer.param_groups
    for group, base, rate in zip(groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = base * rate(tick)


PLATEAU = "plateau"  # of a checkpoint: the state of the schedule of this name
_PLATEAU_PROGRESS = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch", "_last_lr")  # no settings
_PATHS = ("best_model_path", "last_model_path", "kth_best_model_path")  # of a ModelCheckpoint
_NEED_STATE = ("momentum", "centered", "amsgrad")  # SGD alone can switch on its momentum later


def adapt_checkpoint(
    checkpoint: dict[str, Any],
    net: nn.Module,
    optimizer: partial,
    schedule: partial,
    *,
    decay_all: bool,
    trainer: pl.Trainer,
) -> None:
    """Put the settings that the config has now into a Lightning checkpoint, before Lightning restores from it.

    Raises:
        ConfigError: the network, optimizer or kind of schedule is another, or the optimizer lacks state that it needs.
    """
    _check_epochs(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"], trainer.max_epochs)
    weights = {f"net.{name}": weight for name, weight in net.state_dict().items()}
    for name in checkpoint["state_dict"].keys() | weights.keys():
        was, now = (list(state[name].shape) if name in state else None for state in (checkpoint["state_dict"], weights))
        if was != now:
            raise ConfigError(f"model: a resumed run keeps its network; {name} was {was}, would be {now}")
    before, after = checkpoint["lightsweep"]["optimizer"], describe_optimizer(optimizer)
    if before["name"] != after["name"]:
        raise ConfigError(f"optimizer: a resumed run keeps its optimizer, {before['name']}, got {after['name']}")
    if len(checkpoint["optimizer_states"][0]["param_groups"]) != len(parameter_groups(net, decay_all=decay_all)):
        raise ConfigError("decay_all: a resumed run decays the weights that it decayed before, it cannot change this")
    for name in _NEED_STATE:
        if after["name"] != "SGD" and after.get(name) and not before.get(name):
            rule = f"a resumed run cannot switch it on, its {before['name']} has no state for it"
            raise ConfigError(f"optimizer.{name}: {rule}, got {after[name]}")
    if (schedule.func is plateau) != (PLATEAU in checkpoint):
        raise ConfigError("scheduler: a resumed run can change to another schedule, but not to or from plateau")
    if PLATEAU in checkpoint:
        checkpoint[PLATEAU] = {name: checkpoint[PLATEAU][name] for name in _PLATEAU_PROGRESS}
    for name, value in after.items():
        if value != before.get(name):
            _change_setting(checkpoint, name, value, before.get(name))
    _remove_paths_elsewhere(checkpoint["callbacks"], trainer)
    for callback in trainer.early_stopping_callbacks:
        if state := checkpoint["callbacks"].get(callback.state_key):
            state["patience"] = callback.patience


def _remove_paths_elsewhere(states: dict[Any, Any], trainer: pl.Trainer) -> None:
    """Remove paths outside the run's folder and the typed folders from the callbacks' states: Lightning would delete
    these files as older checkpoints."""
    savers = [each for each in trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint)]
    folders = [Path(trainer.default_root_dir), *(Path(each.dirpath) for each in savers if each.dirpath)]
    for key, state in list(states.items()):
        if not isinstance(key, str):  # a class, as before Lightning 1.5
            del states[key]
        elif isinstance(state, dict) and any(name in state for name in (*_PATHS, "best_k_models")):
            state |= {name: "" for name in _PATHS if not is_in_folders(state.get(name), folders)}
            kept = state.get("best_k_models") or {}
            state["best_k_models"] = {path: score for path, score in kept.items() if is_in_folders(path, folders)}


def _check_epochs(counts: dict[str, Any], most: int | None) -> None:
    for name, count in counts.items():
        if type(count) is not int or not 0 <= count < 2**31:
            raise ConfigError(f"last.ckpt: its number of epochs ({name}) is {count!r}")
    if most is not None and -1 < most < counts["processed"]:
        rule = f"be at least {counts['processed']}, the epochs that this run has trained already"
        raise ConfigError(f"trainer.max_epochs must {rule}, got {most}")


def _change_setting(checkpoint: dict[str, Any], name: str, value: Any, before: Any) -> None:
    groups = checkpoint["optimizer_states"][0]["param_groups"]
    if name == "lr":  # the rate that schedules start from; what they made of it so far stays
        for group in groups:
            group |= {key: group[key] * (value / before) for key in ("lr", "initial_lr") if key in group}
        for schedule in checkpoint["lr_schedulers"]:
            schedule |= {key: [rate * (value / before) for rate in schedule[key]] for key in ("base_lrs", "_last_lr")}
    elif name == "weight_decay":
        groups[0][name] = value  # the other group, if there is one, is spared from decay
    else:
        for group in groups:
            group[name] = value
