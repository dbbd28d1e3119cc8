"""Parameter groups, and a torch optimizer from a Hydra partial with errors that name the key."""

from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer

from lightsweep.config.build import explain
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


def check(optimizer: partial) -> None:
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


def make(optimizer: partial, net: nn.Module, *, decay_all: bool, may_fuse: bool = True) -> Optimizer:
    """The optimizer over a network's parameters; weight decay on weights only, unless `decay_all`.

    `may_fuse=False` overrules ``fused=True``.
    """
    if optimizer.keywords.get("fused") and not may_fuse:
        optimizer = partial(optimizer, fused=False)
    try:
        return optimizer(parameter_groups(net, decay_all=decay_all))
    except (TypeError, ValueError, LookupError, RuntimeError) as error:
        raise explain(error, "optimizer") from error


def describe(optimizer: partial) -> dict[str, Any]:
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
