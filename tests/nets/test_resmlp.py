"""The residual MLP: its blocks, what they add up to, and what it refuses."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError
from lightsweep.nets import ResMLP
from lightsweep.training.classifier import Objective


@pytest.fixture
def resmlp(compose):
    """conf/model/resmlp.yaml with the given keys, on 1x8x8 images in 10 classes."""

    def built(*overrides: str) -> ResMLP:
        return build(compose("model=resmlp", *overrides).model, "model", input_shape=(1, 8, 8), num_classes=10)

    return built


def linears(net: ResMLP) -> list[nn.Linear]:
    return [layer for layer in net.modules() if isinstance(layer, nn.Linear)]


def test_a_block_adds_an_inverted_bottleneck_to_what_came_in(resmlp) -> None:
    net = resmlp("model.depth=2", "model.expansion=3")
    stem, *pairs, head = linears(net)
    assert [(layer.in_features, layer.out_features) for layer in pairs] == [(16, 48), (48, 16)] * 2
    images = torch.randn(3, 1, 8, 8)
    features = stem(images.reshape(3, 64))
    for widen, narrow in zip(pairs[::2], pairs[1::2], strict=True):
        features = features + narrow(F.gelu(widen(F.layer_norm(features, (16,)))))
    torch.testing.assert_close(net(images), head(F.layer_norm(features, (16,))))


def test_dropout_and_stochastic_depth_are_there_when_asked_for(resmlp) -> None:
    net = resmlp("model.depth=3", "model.dropout=0.1", "model.drop_path=0.4")
    assert [layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)] == [0.1] * 3
    assert [layer.p for layer in net.modules() if isinstance(layer, StochasticDepth)] == [0.2, 0.4]


def test_hidden_layers_and_head_have_their_own_initializers(resmlp) -> None:
    *hidden, head = linears(resmlp("model.init=uniform", "model.head_init=glorot_uniform"))
    assert min(layer.weight.min() for layer in hidden) >= 0
    assert head.weight.min() < 0


def test_the_l2_term_leaves_out_the_head(resmlp) -> None:
    net = resmlp()
    objective = Objective(net, label_smoothing=0.0, l2=0.5, l2_head=False, class_weights=torch.ones(10))
    loss = objective(torch.zeros(2, 10), torch.zeros(2, dtype=torch.int64))
    penalty = loss.objective - loss.cross_entropy
    torch.testing.assert_close(penalty, 0.5 * sum(layer.weight.square().sum() for layer in linears(net)[:-1]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.width=0", "model.width must be an integer >= 1, got 0"),
        ("model.depth=1000000", "model.depth must be at most 1000, got 1000000"),
        ("model.expansion=0.5", "model.expansion must be an integer in [1, 1000], got 0.5"),
        ("model.activation=foo", "model.activation must be one of relu, gelu, tanh, silu, leaky_relu, got 'foo'"),
        ("model.dropout=1", "model.dropout must be in [0, 1), got 1"),
        ("model.drop_path=1", "model.drop_path must be in [0, 1), got 1"),
        ("model.init=foo", "model.init must be one of torch, he_normal,"),
        ("model.head_init=foo", "model.head_init must be one of torch, he_normal,"),
    ],
)
def test_refuses_values_out_of_range(resmlp, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        resmlp(override)
    assert str(refusal.value).startswith(message)
