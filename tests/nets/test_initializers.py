"""Initial weights against the formulas of He and Glorot as Keras draws them."""

from math import sqrt

import pytest
import torch
from torch import nn

from lightsweep.nets.layers import initialize

FAN_IN, FAN_OUT = 400, 500
TRUNCATED = 0.87962566103423978  # standard deviation of a standard normal that is cut at 2


def drawn(name: str, layer: nn.Module | None = None) -> torch.Tensor:
    torch.manual_seed(0)
    layer = layer or nn.Linear(FAN_IN, FAN_OUT)
    initialize(layer, name)
    return layer.weight.detach()


@pytest.mark.parametrize(
    ("name", "std"), [("he_normal", sqrt(2 / FAN_IN)), ("glorot_normal", sqrt(2 / (FAN_IN + FAN_OUT)))]
)
def test_normal_ones_are_truncated_and_keep_their_deviation(name: str, std: float) -> None:
    weight = drawn(name)
    assert weight.std().item() == pytest.approx(std, rel=0.01)
    assert weight.mean().item() == pytest.approx(0, abs=std / 50)
    assert 0.98 * 2 * std / TRUNCATED < weight.abs().max().item() <= 2 * std / TRUNCATED


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("he_uniform", -sqrt(6 / FAN_IN), sqrt(6 / FAN_IN)),
        ("glorot_uniform", -sqrt(6 / (FAN_IN + FAN_OUT)), sqrt(6 / (FAN_IN + FAN_OUT))),
        ("uniform", 0, 1),
    ],
)
def test_uniform_ones_fill_their_interval(name: str, low: float, high: float) -> None:
    weight = drawn(name)
    width = high - low
    assert low <= weight.min().item() < low + 0.01 * width
    assert high - 0.01 * width < weight.max().item() <= high
    assert weight.std().item() == pytest.approx(width / sqrt(12), rel=0.01)


@pytest.mark.parametrize("name", ["he_normal", "glorot_normal"])
def test_a_convolution_counts_its_receptive_field(name: str) -> None:
    weight = drawn(name, nn.Conv2d(64, 128, 3))
    fans = 64 * 9 if name == "he_normal" else 64 * 9 + 128 * 9
    assert weight.std().item() == pytest.approx(sqrt(2 / fans), rel=0.02)


def test_biases_start_at_zero() -> None:
    layer = nn.Linear(FAN_IN, FAN_OUT)
    initialize(layer, "he_normal")
    assert layer.bias.abs().max() == 0


def test_a_layer_without_bias_is_initialized_too() -> None:
    layer = nn.Linear(FAN_IN, FAN_OUT, bias=False)
    assert drawn("uniform", layer).min() >= 0


def test_torch_leaves_a_layer_as_it_is() -> None:
    layer = nn.Linear(3, 2)
    before = [parameter.clone() for parameter in layer.parameters()]
    initialize(layer, "torch")
    assert all(torch.equal(old, new) for old, new in zip(before, layer.parameters(), strict=True))
