"""Initial weights that connect what lies near each other on the image."""

import pytest
import torch
from torch import Tensor, nn

from lightsweep.config.build import build
from lightsweep.core.errors import ConfigError

SHAPE = (3, 8, 12)


def built(compose, *overrides: str, shape: tuple[int, int, int] = SHAPE) -> list[Tensor]:
    """The weights of the linear layers."""
    torch.manual_seed(0)
    net = build(compose("model.hidden=[40,30]", *overrides).model, "model", input_shape=shape, num_classes=5)
    return [layer.weight.detach() for layer in net.modules() if isinstance(layer, nn.Linear)]


def spread(weights: Tensor, *, sides: tuple[int, int]) -> Tensor:
    """How far a unit's weights ``[units, H, W]`` are from their centre, root mean square, as a share of the sides."""
    shares = weights.square() / weights.square().sum((1, 2), keepdim=True)
    rows, columns = ((torch.arange(side) + 0.5) / side for side in sides)
    moments = [(shares.sum(axis), places) for axis, places in ((2, rows), (1, columns))]
    return sum(share @ places.square() - (share @ places).square() for share, places in moments).sqrt()


def test_off_by_default_and_nothing_else_is_drawn_then(compose) -> None:
    assert all(torch.equal(*pair) for pair in zip(built(compose), built(compose, "model.local=null"), strict=True))


@pytest.mark.parametrize("init", ["torch", "he_normal"])
def test_a_unit_sees_the_neighbourhood_of_its_place_in_every_channel(compose, init: str) -> None:
    everywhere = built(compose, f"model.init={init}")
    local = built(compose, f"model.init={init}", "model.local=[0.1]")
    for channel in local[0].view(40, *SHAPE).unbind(1):
        assert spread(channel, sides=SHAPE[1:]).median() < 0.15
    for channel in everywhere[0].view(40, *SHAPE).unbind(1):
        assert spread(channel, sides=SHAPE[1:]).median() > 0.35
    torch.testing.assert_close(local[0].norm(dim=1), everywhere[0].norm(dim=1))
    assert torch.equal(local[1], everywhere[1])  # it has no radius


@pytest.mark.parametrize("overrides", [[], ["model.dct=[8,4]"]], ids=str)
def test_a_unit_with_the_smallest_radius_sees_what_is_nearest(compose, overrides: list[str]) -> None:
    for weight in built(compose, "model.local=[0.001,0.001]", *overrides)[:2]:
        assert weight.isfinite().all()
        assert (weight.norm(dim=1) > 0).all()


def test_frequencies_are_those_of_a_local_filter(compose) -> None:
    weights = built(compose, "model.dct=[8,4]", "model.local=[0.1]")[0]
    rows, columns = [
        torch.cos(torch.pi / 8 * torch.arange(8)[:, None] * (torch.arange(8) + 0.5)) * 0.5 for _ in range(2)
    ]
    for cosines in (rows, columns):
        cosines[0] /= 2**0.5
    grey = rows.T @ weights[:, :64].view(40, 8, 8) @ columns
    assert spread(grey, sides=(8, 8)).median() < 0.15
    torch.testing.assert_close(weights.norm(dim=1), built(compose, "model.dct=[8,4]")[0].norm(dim=1))


def test_later_layers_see_near_units(compose) -> None:
    """Two units of the second layer that see the same units of the first are near each other."""
    local, everywhere = (built(compose, f"model.local={radii}")[1] for radii in ("[0.1,0.1]", "[0.1]"))
    used = [(weight.square() > weight.square().mean()).float().mean().item() for weight in (local, everywhere)]
    assert used[0] < 0.5 * used[1]


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("0.1", "be null or a list of at most 2 numbers, one a hidden layer, got 0.1"),
        ("[]", "be null or a list of at most 2 numbers, one a hidden layer, got []"),
        ("[0.1,0.1,0.1]", "be null or a list of at most 2 numbers, one a hidden layer, got [0.1, 0.1, 0.1]"),
        ("[0.1,0]", "be in (0, 100], got 0"),
        ("[near]", "be in (0, 100], got 'near'"),
    ],
)
def test_refuses_what_are_no_radii(compose, value: str, rule: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        built(compose, f"model.local={value}")
    assert str(refusal.value) == f"model.local must {rule}"
