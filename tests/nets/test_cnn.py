"""The CNN: its layers, its size, any image that is large enough, and what it refuses."""

import pytest
import torch
from torch import nn

from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError
from lightsweep.nets import CNN
from lightsweep.training.classifier import Objective
from lightsweep.training.summary import count_parameters


@pytest.fixture
def cnn(compose):
    """conf/model/cnn.yaml with the given keys, on images of `shape` in 10 classes."""

    def built(*overrides: str, shape: tuple[int, int, int] = (1, 8, 8)) -> CNN:
        return build(compose("model=cnn", *overrides).model, "model", input_shape=shape, num_classes=10)

    return built


def kinds(net: CNN) -> list[str]:
    return [type(layer).__name__ for layer in net.body if not isinstance(layer, nn.Identity)]


@pytest.mark.parametrize(
    ("overrides", "layers"),
    [
        ([], ["Conv2d", "BatchNorm2d", "ReLU"]),
        (["model.norm=group", "model.activation=gelu"], ["Conv2d", "GroupNorm", "GELU"]),
        (["model.norm=none", "model.dropout=0.1"], ["Conv2d", "ReLU", "Dropout2d"]),
        (["model.convs=2", "model.norm=none"], ["Conv2d", "ReLU", "Conv2d", "ReLU"]),
        (["model.depth=2", "model.norm=none"], ["Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU"]),
    ],
)
def test_layers_come_in_order(cnn, overrides: list[str], layers: list[str]) -> None:
    assert kinds(cnn(*overrides)) == [*layers, "AdaptiveAvgPool2d", "Flatten"]


def test_is_a_composition_of_torchs_own_functions(cnn) -> None:
    net = cnn("model.depth=2", "model.norm=none", "model.activation=tanh")
    first, second = (layer for layer in net.body if isinstance(layer, nn.Conv2d))
    images = torch.randn(3, 1, 8, 8)
    halved = nn.functional.max_pool2d(torch.tanh(first(images)), 2)
    expected = net.head(torch.tanh(second(halved)).mean((2, 3)))
    torch.testing.assert_close(net(images), expected)


@pytest.mark.parametrize(("width", "count"), [(67, 1_708_041), (72, 1_971_586)])
def test_can_be_as_large_as_the_reference_mlps(cnn, width: int, count: int) -> None:
    net = cnn(f"model.width={width}", "model.depth=4", shape=(3, 32, 32))
    assert count_parameters(net)["params_keras"] == count


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 21), (2, 31, 8)])
def test_takes_images_of_any_shape_that_halves_as_often_as_asked(cnn, shape: tuple[int, int, int]) -> None:
    assert cnn("model.depth=4", shape=shape).eval()(torch.randn(2, *shape)).shape == (2, 10)


def test_convolutions_and_head_have_their_own_initializers(cnn) -> None:
    net = cnn("model.init=uniform", "model.head_init=glorot_uniform")
    assert net.body[0].weight.min() >= 0
    assert net.head.weight.min() < 0


def test_the_l2_term_is_of_the_convolutions_and_not_of_the_head(cnn) -> None:
    net = cnn("model.depth=2")
    objective = Objective(net, label_smoothing=0.0, l2=0.5, l2_head=False, class_weights=torch.ones(10))
    loss = objective(torch.zeros(2, 10), torch.zeros(2, dtype=torch.int64))
    penalty = loss.objective - loss.cross_entropy
    squares = [layer.weight.square().sum() for layer in net.body if isinstance(layer, nn.Conv2d)]
    torch.testing.assert_close(penalty, 0.5 * sum(squares))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.depth=5",
            "model.depth must be at most 4 for images of 8x8, which all stages but the last halve, got 5",
        ),
        ("model.depth=0", "model.depth must be an integer >= 1, got 0"),
        ("model.width=1.5", "model.width must be an integer >= 1, got 1.5"),
        ("model.convs=0", "model.convs must be an integer in [1, 1000], got 0"),
        ("model.norm=layer", "model.norm must be one of batch, group, none, got 'layer'"),
        ("model.norm=null", "model.norm must be one of batch, group, none, got None"),
        ("model.activation=foo", "model.activation must be one of relu, gelu, tanh, silu, leaky_relu, got 'foo'"),
        ("model.dropout=1", "model.dropout must be in [0, 1), got 1"),
        ("model.init=foo", "model.init must be one of torch, he_normal,"),
        ("model.head_init=foo", "model.head_init must be one of torch, he_normal,"),
    ],
)
def test_refuses_values_out_of_range(cnn, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        cnn(override)
    assert str(refusal.value).startswith(message)
