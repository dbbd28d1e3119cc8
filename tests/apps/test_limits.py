"""A sweep with two workers in which points are too large, trials cost too much, and some take too long."""

import csv
from pathlib import Path

import pytest
from optuna.trial import TrialState

from apps.running import SWEEP, App, trials
from lightsweep.sweeper.trials import count_ended, is_feasible, is_untried

SOURCES = str(Path(__file__).parents[2] / "src")
N_TRIALS = 14
TYPED = (
    *SWEEP,
    "x=interval(0,1)",
    "width=range(1,20)",
    "kind=choice(plain,plain2,costly,endless)",
    "hydra.sweeper.metric=score",
    "hydra.sweeper.direction=maximize",
    "hydra.sweeper.constraints={size: '<= 100', cost: '<= 5'}",
    "hydra.sweeper.foresee={size: app.count}",
    "hydra.sweeper.trial_timeout=3",
    "hydra.sweeper.enqueue=[{kind: endless, width: 3}, {kind: costly, width: 3}, {kind: plain, width: 18}]",
    "hydra.sweeper.sampler=random",
    "hydra.sweeper.n_jobs=2",
    f"hydra.sweeper.n_trials={N_TRIALS}",
)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_limits_hold_over_two_workers_and_a_kill(tmp_path: Path) -> None:
    app = App.copy("limits", "app.py", tmp_path, path=SOURCES)
    study = app.folder / "multirun/default"
    app.run_until(*TYPED, ended=5, study=study)
    said = app.run(*TYPED, timeout=300)
    found = trials(study)
    assert count_ended(found) == N_TRIALS
    for trial in found:
        if trial.state == TrialState.FAIL:
            assert trial.user_attrs["interrupted"]
            continue
        size, kind = trial.params["width"] * 10, trial.params["kind"]
        folder = study / f"trial-{trial.number:04d}"
        assert trial.constraints["size"] == pytest.approx((size - 100) / 100)
        assert is_untried(trial) == (size > 100)
        if size > 100:
            assert not folder.exists()
        elif kind == "endless":
            assert (trial.state, trial.user_attrs["error"]) == (
                TrialState.PRUNED,
                "its time is over (hydra.sweeper.trial_timeout=3)",
            )
            assert "retries" not in trial.user_attrs or trial.user_attrs["retries"] == 1  # of the sweeper's kill
        else:
            assert trial.state == TrialState.COMPLETE
            assert trial.constraints["cost"] == pytest.approx(1.0 if kind == "costly" else -0.8)
    ended = [trial for trial in found if trial.state != TrialState.FAIL]
    assert {trial.params["kind"] for trial in ended if not is_untried(trial)} >= {"endless", "costly", "plain"}
    assert any(map(is_untried, found))
    complete = {trial.number: trial.value for trial in ended if trial.state == TrialState.COMPLETE}
    feasible = {number: value for number, value in complete.items() if is_feasible(found[number])}
    with (study / "leaderboard.csv").open() as file:
        best = next(csv.DictReader(file))
    assert (best["rank"], int(best["trial"])) == ("1", max(feasible, key=lambda number: feasible[number]))
    assert max(complete.values()) > max(feasible.values())
    assert "would have violated hydra.sweeper.constraints: not run" in said
