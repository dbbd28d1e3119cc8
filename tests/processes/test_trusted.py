"""A network in a module of one's own: trusted by the environment, in a sweep's workers too, and never without it."""

import json

import pytest

from .conftest import epochs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

MODULE = """
from torch import nn

class Tiny(nn.Sequential):
    def __init__(self, num_classes, hidden):
        super().__init__(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, num_classes))
"""
SWEEP = ("sweep=custom", "optimizer.lr=interval(1e-3,1e-2)", "hydra.sweeper.n_trials=1", "hydra.sweeper.n_jobs=1")
SMALL = ("data=digits", "trainer=cpu", "trainer.max_epochs=1", "logger=none", "callbacks=none", "data.limit=200")


def test_in_workers_but_never_without_the_variable(train, tmp_path):
    (tmp_path / "mynets.py").write_text(MODULE)
    (tmp_path / "my" / "model").mkdir(parents=True)
    (tmp_path / "my" / "model" / "tiny.yaml").write_text("_target_: mynets.Tiny\nhidden: 8\n")
    mine = ("--config-dir", str(tmp_path / "my"), "model=tiny", f"hydra.sweep.dir={tmp_path / 'study'}")

    swept = train(*SWEEP, *SMALL, *mine, PYTHONPATH=str(tmp_path), LIGHTSWEEP_TRUST="mynets.*")
    assert swept.code == 0, swept.err
    trial = tmp_path / "study" / "trial-0000"
    facts = json.loads((trial / "result.json").read_text())
    assert (facts["status"], facts["params"]) == ("completed", 64 * 8 + 8 + 8 * 10 + 10)

    granted = "+hydra.job.env_set.LIGHTSWEEP_TRUST=mynets.*"
    for more in ([], [granted]):
        refused = train(f"resume={trial}", "trainer.max_epochs=2", *more, PYTHONPATH=str(tmp_path))
        assert refused.code == 1
        assert len(refused.lines) == 1, refused.err
        assert "model._target_ must be in the allowlist" in refused.err
        assert len(epochs(trial)) == 1
