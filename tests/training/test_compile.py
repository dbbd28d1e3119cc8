"""A compiled network trains as one that is not, and its checkpoints are those of any other."""

import pytest
import torch
from torch import nn

from lightsweep.training import checkpoints

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def traced_only(monkeypatch) -> list[nn.Module]:
    """Networks are traced and differentiated as ever, but no C++ is written and built, which takes half a minute."""
    compiled: list[nn.Module] = []

    def compile_(self, original=nn.Module.compile) -> None:
        compiled.append(self)
        original(self, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", compile_)
    return compiled


def test_a_compiled_network_trains_as_one_that_is_not(run, traced_only) -> None:
    keys = ("callbacks=[default,ema]", "callbacks.ema.decay=0.5", "trainer.max_epochs=1")
    plain = run(*keys, name="plain")
    assert traced_only == []
    compiled = run(*keys, "compile=true", name="compiled")
    assert len(traced_only) >= 1
    assert float(compiled.rows[0]["val/loss"]) == pytest.approx(float(plain.rows[0]["val/loss"]), rel=1e-4)
    names = [run.checkpoint("best.ckpt")["state_dict"].keys() for run in (plain, compiled)]
    assert names[0] == names[1]
    net = checkpoints.load(compiled.folder / "checkpoints" / "best.ckpt").net
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
