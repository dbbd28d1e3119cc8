"""The MLP: its layers, its size against Keras, and what it refuses."""

import pytest
import torch
from torch import nn

from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError
from lightsweep.nets import MLP
from lightsweep.training.summary import count_parameters

COLOUR = (3, 32, 32)


@pytest.fixture
def mlp(compose):
    """conf/model/mlp.yaml with the given keys, on images of `shape` in 10 classes."""

    def built(*overrides: str, shape: tuple[int, int, int] = (1, 8, 8)) -> MLP:
        return build(compose(*overrides).model, "model", input_shape=shape, num_classes=10)

    return built


def kinds(net: MLP) -> list[str]:
    return [type(layer).__name__ for layer in net.body if not isinstance(layer, nn.Identity)]


def widths(net: MLP) -> list[int]:
    return [layer.out_features for layer in net.body if isinstance(layer, nn.Linear)]


@pytest.mark.parametrize(
    ("overrides", "count"),
    [
        (["model.hidden=[32,32]"], 99_722),
        (["model.hidden=[128,128,128]"], 427_658),
        (["model.hidden=[256,128]"], 820_874),
        (["model.width=256", "model.depth=2", "model.taper=0.5"], 820_874),
        (["model.hidden=[512,256]", "model.bn=true"], 1_710_346),
        (["model.hidden=[1024,512,256]"], 3_805_450),
        (["model.hidden=[512,512,256]", "model.bn=true"], 1_975_050),
        (["model.hidden=[256,128,64]", "model.bn=true"], 830_282),
    ],
)
def test_has_as_many_parameters_as_keras_counts(mlp, overrides: list[str], count: int) -> None:
    assert count_parameters(mlp(*overrides, shape=COLOUR))["params_keras"] == count


def test_trainable_parameters_leave_out_running_statistics(mlp) -> None:
    sizes = count_parameters(mlp("model.hidden=[512,256]", "model.bn=true", shape=COLOUR))
    assert sizes["params"] == 1_710_346 - 2 * (512 + 256)


@pytest.mark.parametrize(
    ("overrides", "layers"),
    [
        ([], ["Flatten", "Linear", "ReLU"]),
        (["model.bn=true", "model.dropout=0.3"], ["Flatten", "Linear", "BatchNorm1d", "ReLU", "Dropout"]),
        (
            ["model.bn=true", "model.dropout=0.3", "model.bn_position=after"],
            ["Flatten", "Linear", "ReLU", "BatchNorm1d", "Dropout"],
        ),
        (["model.depth=2", "model.dropout=[0,0.5]"], ["Flatten", "Linear", "ReLU", "Linear", "ReLU", "Dropout"]),
    ],
)
def test_layers_come_in_order(mlp, overrides: list[str], layers: list[str]) -> None:
    net = mlp(*overrides)
    assert kinds(net) == layers
    assert isinstance(net.head, nn.Linear)


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("relu", torch.relu),
        ("gelu", lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2),
        ("tanh", torch.tanh),
        ("silu", lambda x: x * torch.sigmoid(x)),
        ("leaky_relu", lambda x: torch.where(x > 0, x, 0.01 * x)),
    ],
)
def test_output_is_head_of_activation_of_linear(mlp, name: str, oracle) -> None:
    net = mlp(f"model.activation={name}")
    images = torch.randn(5, 1, 8, 8)
    expected = net.head(oracle(net.body[1](images.reshape(5, 64))))
    torch.testing.assert_close(net(images), expected)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["model.width=512", "model.depth=3", "model.taper=0.5"], [512, 256, 128]),
        (["model.width=100", "model.depth=3", "model.taper=1.5"], [100, 150, 225]),
        (["model.width=2", "model.depth=4", "model.taper=0.1"], [2, 1, 1, 1]),
        (["model.hidden=[7,9]"], [7, 9]),
    ],
)
def test_width_depth_and_taper_or_a_list_give_the_widths(mlp, overrides: list[str], expected: list[int]) -> None:
    assert widths(mlp(*overrides)) == expected


def test_a_taper_cannot_grow_beyond_all_bounds(mlp) -> None:
    with pytest.raises(ConfigError, match=r"^model.taper must keep each layer below 1000000 units, got 4$"):
        mlp("model.depth=1000", "model.taper=4")


def test_a_dropout_for_each_layer(mlp) -> None:
    net = mlp("model.hidden=[8,8,8]", "model.dropout=[0.1,0.2,0.3]")
    assert [layer.p for layer in net.body if isinstance(layer, nn.Dropout)] == [0.1, 0.2, 0.3]


def test_batch_norm_takes_momentum_and_epsilon(mlp) -> None:
    net = mlp("model.bn=true", "model.bn_momentum=0.01", "model.bn_eps=1e-3")
    norm = next(layer for layer in net.body if isinstance(layer, nn.BatchNorm1d))
    assert (norm.momentum, norm.eps) == (0.01, 1e-3)


def test_hidden_layers_and_head_have_their_own_initializers(mlp) -> None:
    net = mlp("model.init=uniform", "model.head_init=glorot_uniform")
    assert net.body[1].weight.min() >= 0
    assert net.head.weight.min() < 0
    assert net.head.bias.abs().max() == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.dropout=1.5", "model.dropout must be in [0, 1), got 1.5"),
        ("model.dropout=1", "model.dropout must be in [0, 1), got 1"),
        ("model.dropout=-0.1", "model.dropout must be in [0, 1), got -0.1"),
        ("model.dropout=[0.1,0.2]", "model.dropout must be one number or 1, one a hidden layer, got [0.1, 0.2]"),
        ("model.dropout=[2]", "model.dropout must be in [0, 1), got 2"),
        ("model.hidden=[]", "model.hidden must be a list of integers >= 1, at least one, got []"),
        ("model.hidden=[256,-1]", "model.hidden must be a list of integers >= 1, at least one, got [256, -1]"),
        ("model.hidden=[1.5]", "model.hidden must be a list of integers >= 1, at least one, got [1.5]"),
        ("model.hidden=64", "model.hidden must be a list of integers >= 1, at least one, got 64"),
        ("model.width=0", "model.width must be an integer >= 1, got 0"),
        ("model.depth=1000000", "model.depth must be at most 1000, got 1000000"),
        ("model.width=1000000000", "model.width must be at most 1000000, got 1000000000"),
        ("model.hidden=[9999999]", "model.hidden must hold widths up to 1000000, got [9999999]"),
        ("model.depth=0", "model.depth must be an integer >= 1, got 0"),
        ("model.taper=0", "model.taper must be in (0, 4], got 0"),
        ("model.activation=foo", "model.activation must be one of relu, gelu, tanh, silu, leaky_relu, got 'foo'"),
        ("model.bn=2", "model.bn must be true or false, got 2"),
        ("model.bn_position=middle", "model.bn_position must be one of before, after, got 'middle'"),
        ("model.bn_momentum=0", "model.bn_momentum must be in (0, 1], got 0"),
        ("model.bn_eps=0", "model.bn_eps must be > 0, got 0"),
        ("model.head_init=foo", "model.head_init must be one of torch, he_normal, he_uniform, glorot_normal,"),
        ("model.init=foo", "model.init must be one of torch, he_normal, he_uniform, glorot_normal, glorot_uniform,"),
    ],
)
def test_refuses_values_out_of_range(mlp, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        mlp(override)
    assert str(refusal.value).startswith(message)
