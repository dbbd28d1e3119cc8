"""A compiled network trains as one that is not, and its checkpoints are those of any other."""

import shutil

import pytest
import torch

from lightsweep import checkpoints

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="torch.compile needs a compiler"),
]


def test_compiled_or_not_the_same_comes_out(run) -> None:
    keys = ("callbacks=[default,ema]", "callbacks.ema.decay=0.5", "trainer.max_epochs=1")
    plain = run(*keys, name="plain")
    compiled = run(*keys, "compile=true", name="compiled")
    assert float(compiled.rows[0]["val/loss"]) == pytest.approx(float(plain.rows[0]["val/loss"]), rel=1e-4)
    names = [run.checkpoint("best.ckpt")["state_dict"].keys() for run in (plain, compiled)]
    assert names[0] == names[1]
    net = checkpoints.load(compiled.folder / "checkpoints" / "best.ckpt").net
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
