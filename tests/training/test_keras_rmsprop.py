"""Keras's RMSprop: against its formula by hand, and how it differs from torch's."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError
from lightsweep.training import optimization
from lightsweep.training.optimization import KerasRMSprop

RATE, RHO, EPS = 1e-2, 0.9, 1e-7
GRADIENTS = np.array([[1.0, 1e-3, 1e-6, 0.0], [-0.5, 2e-3, 1e-7, 0.0], [0.25, -1e-3, -1e-6, 0.0]])


def by_hand(weights: np.ndarray, weight_decay: float) -> np.ndarray:
    velocity = np.zeros_like(weights)
    for gradient in GRADIENTS:
        weights = weights - RATE * weight_decay * weights
        velocity = RHO * velocity + (1 - RHO) * gradient**2
        weights = weights - RATE * gradient / np.sqrt(velocity + EPS)
    return weights


def stepped(optimizer_of, start: np.ndarray) -> np.ndarray:
    weights = nn.Parameter(torch.tensor(start))
    optimizer = optimizer_of([weights])
    for gradient in GRADIENTS:
        weights.grad = torch.tensor(gradient)
        optimizer.step()
    return weights.detach().numpy()


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_steps_as_keras_does(weight_decay: float) -> None:
    start = np.array([1.0, -2.0, 3.0, 4.0])
    ours = stepped(lambda weights: KerasRMSprop(weights, lr=RATE, rho=RHO, eps=EPS, weight_decay=weight_decay), start)
    np.testing.assert_allclose(ours, by_hand(start, weight_decay), rtol=1e-12)


def test_torchs_steps_are_longer_where_gradients_are_small() -> None:
    start = np.zeros(4)
    ours = stepped(lambda weights: KerasRMSprop(weights, lr=RATE, rho=RHO, eps=EPS, weight_decay=0.0), start)
    torchs = stepped(lambda weights: torch.optim.RMSprop(weights, lr=RATE, alpha=RHO, eps=EPS), start)
    assert ours[0] == pytest.approx(torchs[0], rel=1e-3)
    assert abs(torchs[2]) > 50 * abs(ours[2])


def test_a_closure_is_called_with_gradients_on() -> None:
    weights = nn.Parameter(torch.ones(2))
    optimizer = KerasRMSprop([weights], lr=RATE, rho=RHO, eps=EPS, weight_decay=0.0)

    def closure() -> torch.Tensor:
        loss = weights.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2
    assert (weights < 1).all()


def test_continues_from_its_state() -> None:
    full, cut = (nn.Parameter(torch.ones(4, dtype=torch.float64)) for _ in range(2))
    settings = {"lr": RATE, "rho": RHO, "eps": EPS, "weight_decay": 0.0}
    optimizer = KerasRMSprop([full], **settings)
    resumed = KerasRMSprop([cut], **settings)
    for number, gradient in enumerate(GRADIENTS):
        if number == 1:
            cut.data.copy_(full.data)
            resumed.load_state_dict(deepcopy(optimizer.state_dict()))
        full.grad = torch.tensor(gradient)
        optimizer.step()
        if number:
            cut.grad = torch.tensor(gradient)
            resumed.step()
    torch.testing.assert_close(cut, full, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("key", "rule"), [("rho=1", "in [0, 1), got 1"), ("eps=-1", ">= 0, got -1"), ("lr=0", "> 0, got 0")]
)
def test_refuses_values_out_of_range(compose, key: str, rule: str) -> None:
    partial = build(compose("optimizer=rmsprop_keras", f"optimizer.{key}").optimizer, "optimizer")
    with pytest.raises(ConfigError) as refusal:
        optimization.check_optimizer(partial)
    assert str(refusal.value) == f"optimizer.{key.partition('=')[0]} must be {rule}"


def test_a_run_trains_with_it(run) -> None:
    assert run("optimizer=rmsprop_keras").result["status"] == "completed"
