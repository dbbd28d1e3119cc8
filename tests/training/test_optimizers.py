"""Parameter groups, the four optimizers of conf/, and what they refuse."""

import pytest
import torch
from torch import nn

from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError
from lightsweep.training import optimization

NAMES = ("adam", "adamw", "sgd", "rmsprop")


@pytest.fixture
def partial(compose):
    return lambda *overrides: build(compose(*overrides).optimizer, "optimizer")


@pytest.fixture
def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 4), nn.LayerNorm(4))


def decays(net: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    names = {parameter: name for name, parameter in net.named_parameters()}
    return {names[one]: group["weight_decay"] for group in optimizer.param_groups for one in group["params"]}


@pytest.mark.parametrize("name", NAMES)
def test_weight_decay_goes_to_weights_only(partial, net: nn.Module, name: str) -> None:
    made = optimization.build_optimizer(
        partial(f"optimizer={name}", "optimizer.weight_decay=0.3"), net, decay_all=False
    )
    weights = {"0.weight": 0.3, "3.weight": 0.3}
    spared = dict.fromkeys(["0.bias", "1.weight", "1.bias", "3.bias", "4.weight", "4.bias"], 0.0)
    assert decays(net, made) == weights | spared


def test_decay_all_decays_everything(partial, net: nn.Module) -> None:
    made = optimization.build_optimizer(partial("optimizer=adamw", "optimizer.weight_decay=0.3"), net, decay_all=True)
    assert set(decays(net, made).values()) == {0.3}
    assert len(decays(net, made)) == 8


def test_a_step_without_gradient_shrinks_weights_and_leaves_biases(partial, net: nn.Module) -> None:
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    made = optimization.build_optimizer(
        partial("optimizer=adamw", "optimizer.lr=0.1", "optimizer.weight_decay=0.5"), net, decay_all=False
    )
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made.step()
    for name, parameter in net.named_parameters():
        shrink = 0.95 if parameter.ndim > 1 else 1.0
        torch.testing.assert_close(parameter.detach(), shrink * before[name])


def test_frozen_parameters_are_left_out(partial, net: nn.Module) -> None:
    net[0].requires_grad_(False)
    made = optimization.build_optimizer(partial(), net, decay_all=False)
    assert not {"0.weight", "0.bias"} & set(decays(net, made))


@pytest.mark.parametrize("name", NAMES)
def test_is_fused_where_torch_has_it_and_where_it_may(partial, net: nn.Module, name: str) -> None:
    optimizer = partial(f"optimizer={name}")
    fused = optimization.build_optimizer(optimizer, net, decay_all=False).param_groups[0].get("fused")
    plain = optimization.build_optimizer(optimizer, net, decay_all=False, may_fuse=False).param_groups[0].get("fused")
    assert bool(fused) == (name != "rmsprop")
    assert not plain


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimizer.lr=-1"], "optimizer.lr must be > 0, got -1"),
        (["optimizer.lr=0"], "optimizer.lr must be > 0, got 0"),
        (["optimizer.lr=abc"], "optimizer.lr must be > 0, got 'abc'"),
        (["optimizer.lr=nan"], "optimizer.lr must be > 0, got nan"),
        (["optimizer.lr=null"], "optimizer.lr must be > 0, got None"),
        (["optimizer.weight_decay=-0.1"], "optimizer.weight_decay must be >= 0, got -0.1"),
        (["optimizer.eps=-1"], "optimizer.eps must be >= 0, got -1"),
        (["optimizer=sgd", "optimizer.momentum=-1"], "optimizer.momentum must be in [0, 1), got -1"),
        (["optimizer=rmsprop", "optimizer.alpha=2"], "optimizer.alpha must be in [0, 1], got 2"),
        (["optimizer.fused=1"], "optimizer.fused must be true or false, got 1"),
    ],
)
def test_refuses_values_out_of_range(partial, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        optimization.check_optimizer(partial(*overrides))
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("overrides", "word"),
    [
        (["optimizer.betas=[0.9,1.5]"], "1.5"),
        (["optimizer.betas=[0.9]"], "optimizer: "),
        (["optimizer=sgd", "optimizer.momentum=0"], "Nesterov"),
        (["+optimizer.warmth=1"], "warmth"),
    ],
)
def test_what_torch_refuses_is_one_line_that_begins_with_the_key(partial, net, overrides: list[str], word: str) -> None:
    with pytest.raises(ConfigError, match=r"^optimizer(\.warmth)?: ") as refusal:
        optimization.build_optimizer(partial(*overrides), net, decay_all=False)
    assert word in str(refusal.value)
    assert "\n" not in str(refusal.value)
