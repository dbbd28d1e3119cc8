"""RMSprop as Keras steps."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer

from lightsweep.core import checks


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
