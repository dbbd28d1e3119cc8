"""Networks: images -> logits. B is the batch, C, H, W an image's channels, height and width, K the classes.

`build_network` makes one from the config's model: one of lightsweep's own, or any other `nn.Module` that the user
trusts. Lightsweep's own take `input_shape` (C, H, W) and `num_classes` K, which follow from the data, and keyword
arguments without defaults: conf/model/ has those. A value out of its range is a ConfigError. Their output layer is
`head`.
"""

import logging
from functools import partial
from inspect import Parameter, signature
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lightsweep.config.build import build, config_error, finish
from lightsweep.core import checks
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable
from lightsweep.nets.networks import CNN, MLP, ResMLP

__all__ = ["CNN", "MLP", "ResMLP", "build_network", "log_lightning_module"]

log = logging.getLogger(__name__)


def build_network(model: dict[str, Any], input_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """A new network with initial weights, built under the allowlist.

    A user's network gets `num_classes`, and `input_shape` if it has a parameter of that name; then it is called with
    two images, so that a mistake is reported before training.

    Args:
        model: the config's node.

    Raises:
        ConfigError: it may not be called, refuses its arguments, or does not fit the data.
    """
    deferred = build(model, "model", _partial_=True)
    checks.require(isinstance(deferred, partial), "model", "name a network by _target_", model)
    net = finish(deferred, "model", **_arguments(deferred, input_shape, num_classes))
    checks.require(isinstance(net, nn.Module), "model", "be a network, a torch.nn.Module", type(net).__name__)
    if not type(net).__module__.startswith(f"{__name__}."):
        _try_out(net, input_shape, num_classes)
    return net


def log_lightning_module(net: nn.Module) -> None:
    """Log which part of a LightningModule is used."""
    if isinstance(net, pl.LightningModule):
        log.info(
            "model: %s is a LightningModule: its forward is used; loss, optimizer and schedule are those of the config",
            printable(_name(type(net))),
        )


def _arguments(deferred: partial, input_shape: tuple[int, int, int], num_classes: int) -> dict[str, Any]:
    """Those of `input_shape` and `num_classes` that the network takes."""
    try:
        parameters = dict(signature(deferred).parameters)
    except ValueError:  # written in C
        parameters = {}
    if "num_classes" not in parameters and Parameter.VAR_KEYWORD not in [each.kind for each in parameters.values()]:
        takes = ", ".join(parameters) or "no arguments"
        raise ConfigError(
            f"model: {_name(deferred.func)} must take num_classes, and may take input_shape; it takes {takes}"
        )
    typed = deferred.keywords.get("num_classes", num_classes)
    checks.require(typed == num_classes, "model.num_classes", f"be left out or {num_classes}, as in the data", typed)
    shape = {"input_shape": input_shape} if "input_shape" in parameters else {}
    return {**shape, "num_classes": num_classes}


def _try_out(net: nn.Module, input_shape: tuple[int, int, int], num_classes: int) -> None:
    modes = [(module, module.training) for module in net.modules()]
    net.eval()  # BatchNorm's statistics stay as they are
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            logits = net(torch.zeros(2, *input_shape))
    except Exception as error:  # a user's network can raise anything
        raise config_error(error, f"model: {_name(type(net))} cannot see images {_shape(input_shape)}") from error
    finally:
        for module, training in modes:
            module.training = training
    got = _shape(logits.shape[1:]) if isinstance(logits, Tensor) else type(logits).__name__
    if not isinstance(logits, Tensor) or logits.shape != (2, num_classes):
        raise ConfigError(f"model: {_name(type(net))} must give logits {_shape((num_classes,))}, got {got}")


def _shape(of_one: tuple[int, ...]) -> str:
    return f"[{', '.join(['B', *map(str, of_one)])}]"


def _name(target: Any) -> str:
    return f"{target.__module__}.{target.__qualname__}"
