"""Dropout: what it drops, what it keeps, and that torch's own comes in elsewhere."""

import pytest
import torch
from torch import nn

from lightsweep.nets.layers import Dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_drops_its_share_and_keeps_the_mean(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    out = Dropout(p)(torch.ones(1000, 1001, dtype=dtype)).float()
    share = (out == 0).float().mean().item()
    assert share == pytest.approx(p, abs=5 * (p * (1 - p) / out.numel()) ** 0.5 + 2**-17)
    assert out.unique().numel() == 2
    assert out.max().item() == pytest.approx(1 / (1 - p), rel=2**-7)  # bfloat16 has eight bits


def test_units_are_dropped_independently() -> None:
    torch.manual_seed(0)
    zero = (Dropout(0.5)(torch.ones(2000, 64)) == 0).float()
    correlation = torch.corrcoef(zero.T) - torch.eye(64)
    assert correlation.abs().max() < 0.12  # 5 standard deviations


def test_the_gradient_passes_where_the_feature_did() -> None:
    torch.manual_seed(0)
    features = torch.ones(50, 7, requires_grad=True)
    out = Dropout(0.4)(features)
    out.sum().backward()
    assert torch.equal(features.grad, out)


def test_the_seed_decides() -> None:
    features = torch.ones(33, 5)
    first, second = (torch.manual_seed(seed) and Dropout(0.5)(features) for seed in (1, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, Dropout(0.5)(features))


def test_nothing_happens_when_scoring_or_with_nothing() -> None:
    features = torch.randn(4, 4)
    assert torch.equal(Dropout(0.5).eval()(features), features)
    assert Dropout(0.5)(torch.ones(0, 3)).shape == (0, 3)


def test_elsewhere_it_is_torchs() -> None:
    drop = Dropout(0.5)
    assert isinstance(drop, nn.Dropout)
    assert drop(torch.ones(3, device="meta")).device.type == "meta"
    features = torch.ones(1000)
    compiled = torch.compile(drop, backend="aot_eager", fullgraph=True)
    assert 0.3 < (compiled(features) == 0).float().mean() < 0.7
