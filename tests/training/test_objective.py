"""The objective against torch's own loss and Keras's L2 term."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightsweep.core.errors import ConfigError
from lightsweep.training.classifier import Objective

LOGITS = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([3, 1, 4, 1, 5, 9])
PROBABILITIES = torch.softmax(torch.randn(6, 10, generator=torch.Generator().manual_seed(1)), 1)


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.middle = nn.Linear(4, 8)
        self.head = nn.Linear(8, 10)


def objective(net: nn.Module | None = None, **values) -> Objective:
    settings = {"label_smoothing": 0.0, "l2": 0.0, "l2_head": False, "class_weights": torch.ones(10)}
    return Objective(net or ConvNet(), **settings | values)


@pytest.mark.parametrize("targets", [CLASSES, PROBABILITIES], ids=["classes", "probabilities"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_is_torchs_cross_entropy(targets: torch.Tensor, smoothing: float) -> None:
    loss = objective(label_smoothing=smoothing)(LOGITS, targets)
    torch.testing.assert_close(loss.objective, F.cross_entropy(LOGITS, targets, label_smoothing=smoothing))
    torch.testing.assert_close(loss.cross_entropy, F.cross_entropy(LOGITS, targets))


def test_smoothing_spreads_its_share_over_all_classes() -> None:
    smoothed = 0.9 * F.one_hot(CLASSES, 10) + 0.1 / 10
    expected = -(smoothed * F.log_softmax(LOGITS, 1)).sum(1).mean()
    torch.testing.assert_close(objective(label_smoothing=0.1)(LOGITS, CLASSES).objective, expected)


@pytest.mark.parametrize("with_head", [False, True])
def test_l2_is_lambda_times_the_sum_of_squares_of_hidden_weights(with_head: bool) -> None:
    net = ConvNet()
    layers = [net.conv, net.middle] + [net.head] * with_head
    expected = 0.01 * sum(layer.weight.square().sum() for layer in layers)
    loss = objective(net, l2=0.01, l2_head=with_head)(LOGITS, CLASSES)
    torch.testing.assert_close(loss.objective - loss.cross_entropy, expected)


def test_without_an_attribute_head_the_last_linear_layer_is_the_head() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    loss = objective(net, l2=1.0)(LOGITS, CLASSES)
    torch.testing.assert_close(loss.objective - loss.cross_entropy, net[0].weight.square().sum())


def test_l2_has_gradients_of_hidden_weights_only() -> None:
    net = ConvNet()
    objective(net, l2=0.01)(LOGITS, CLASSES).objective.backward()
    torch.testing.assert_close(net.middle.weight.grad, 0.02 * net.middle.weight.detach())
    pulled = {name for name, parameter in net.named_parameters() if parameter.grad is not None}
    assert pulled == {"conv.weight", "middle.weight"}


@pytest.mark.parametrize("targets", [CLASSES, PROBABILITIES], ids=["classes", "probabilities"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_weigh_the_objective_alone(targets: torch.Tensor, smoothing: float) -> None:
    weights = torch.arange(1.0, 11)
    loss = objective(class_weights=weights, label_smoothing=smoothing)(LOGITS, targets)
    wanted = F.one_hot(targets, 10).float() if targets.ndim == 1 else targets
    wanted = (1 - smoothing) * wanted + smoothing / 10
    expected = -(weights * wanted * F.log_softmax(LOGITS, 1)).sum(1).mean()  # a mean over images, not over weights
    torch.testing.assert_close(loss.objective, expected)
    torch.testing.assert_close(loss.cross_entropy, F.cross_entropy(LOGITS, targets))


def test_class_weights_work_on_half_precision() -> None:
    loss = objective(class_weights=torch.arange(1.0, 11))(LOGITS.bfloat16(), CLASSES)
    assert loss.objective.isfinite()


def test_the_recorded_cross_entropy_has_no_gradient() -> None:
    loss = objective(label_smoothing=0.1)(LOGITS.clone().requires_grad_(), CLASSES)
    assert loss.objective.requires_grad
    assert not loss.cross_entropy.requires_grad


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("label_smoothing", 1.0, "must be in [0, 1), got 1.0"),
        ("label_smoothing", -0.1, "must be in [0, 1), got -0.1"),
        ("l2", -1e-4, "must be >= 0, got -0.0001"),
        ("l2_head", 1, "must be true or false, got 1"),
    ],
)
def test_refuses_values_out_of_range(key: str, value: object, rule: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        objective(**{key: value})
    assert str(refusal.value) == f"loss.{key} {rule}"
