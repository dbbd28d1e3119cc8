"""Trials as jobs of a Hydra launcher."""

import pytest
from optuna.trial import TrialState

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_submitit_runs_each_trial_as_a_job(sweep):
    pytest.importorskip(
        "hydra_plugins.hydra_submitit_launcher", reason="needs the extra: pip install 'lightsweep[slurm]'"
    )
    done = sweep.run("hydra/launcher=submitit_local", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2")
    assert done.returncode == 0, done.stderr
    trials = sweep.study().trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    for trial in trials:
        assert (sweep.folder / f"trial-{trial.number:04d}" / "result.json").exists()


def test_in_this_process(sweep):
    done = sweep.run("hydra.sweeper.n_jobs=0", "hydra.sweeper.n_trials=3")
    assert done.returncode == 0, done.stderr
    assert [trial.state for trial in sweep.study().trials] == [TrialState.COMPLETE] * 3
    assert not list(sweep.folder.glob("worker-*.log"))
