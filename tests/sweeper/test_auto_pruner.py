"""``pruner=auto``: which trials it ends, and from which step on."""

from collections.abc import Sequence

import optuna
import pytest

from lightsweep.sweeper.auto import AutoPruner

CURVES = [[number / 10 + step / 100 for step in range(9)] for number in range(8)]  # eight trials, steps 0 to 8


def pruned_at(values: Sequence[float], study: optuna.Study) -> int | None:
    """The first step at which a trial with these values is pruned."""
    trial = study.ask()
    for step, value in enumerate(values):
        trial.report(value, step)
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return step
    study.tell(trial, values[-1])
    return None


@pytest.fixture
def study() -> optuna.Study:
    """Of eight completed trials."""
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.NopPruner())
    for values in CURVES:
        assert pruned_at(values, study) is None
    study.pruner = AutoPruner()
    return study


def test_the_worst_quarter_ends_at_half_of_the_steps(study: optuna.Study) -> None:
    assert pruned_at([0.05] * 9, study) == 4
    assert pruned_at([0.3 + step / 100 for step in range(9)], study) is None


def test_a_trial_that_falls_back_early_may_recover(study: optuna.Study) -> None:
    assert pruned_at([0.0, 0.0, 0.0, 0.0, 0.6, 0.6, 0.7, 0.7, 0.8], study) is None


def test_nothing_is_pruned_while_no_trial_has_shown_how_long_one_is() -> None:
    study = optuna.create_study(direction="maximize", pruner=AutoPruner(n_startup_trials=0, n_min_trials=1))
    running = study.ask()
    running.report(0.9, 1)
    assert pruned_at([0.1, 0.1, 0.1], study) is None


def test_too_few_completed_trials_prune_none() -> None:
    study = optuna.create_study(direction="maximize", pruner=AutoPruner())
    assert [pruned_at(values, study) for values in reversed(CURVES[-5:])] == [None] * 5
    assert pruned_at([0.0] * 9, study) == 4


def test_a_wait_that_is_named_is_waited_for_instead(study: optuna.Study) -> None:
    study.pruner = AutoPruner(n_warmup_steps=6)
    assert pruned_at([0.05] * 9, study) == 6
    study.pruner = AutoPruner(n_warmup_steps=0)
    assert pruned_at([0.05] * 9, study) == 0
