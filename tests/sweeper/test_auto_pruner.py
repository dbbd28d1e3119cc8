"""``pruner=auto``: which trials it ends, and from which step on."""

from collections.abc import Sequence

import optuna
import pytest

from lightsweep.sweeper.auto import AutoPruner

LATE = [0.5, 0.1, 0.7, 0.3, 0.0, 0.6, 0.2, 0.4]
# Of eight trials, steps 0 to 8. Those that cross: what they have before step 4 says nothing of what comes.
CROSSING = [[LATE[n] if step < 4 else n / 10 + step / 100 for step in range(9)] for n in range(8)]
PARALLEL = [[n / 10 + step / 100 for step in range(9)] for n in range(8)]


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


def filled(curves: Sequence[Sequence[float]], direction: str = "maximize") -> optuna.Study:
    """A study of completed trials with these reports."""
    study = optuna.create_study(direction=direction, pruner=optuna.pruners.NopPruner())
    for values in curves:
        assert pruned_at(values, study) is None
    study.pruner = AutoPruner()
    return study


@pytest.fixture
def study() -> optuna.Study:
    return filled(CROSSING)


def test_where_early_reports_do_not_tell_the_worst_quarter_ends_at_half_of_the_steps(study: optuna.Study) -> None:
    assert pruned_at([0.0] * 3 + [0.6] * 6, study) is None
    assert pruned_at([0.05] * 9, study) == 4


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_where_they_tell_the_worse_half_ends_at_once(direction: str) -> None:
    sign = 1 if direction == "maximize" else -1
    study = filled([[sign * value for value in values] for values in PARALLEL], direction)
    assert pruned_at([sign * value for value in PARALLEL[3]], study) == 0
    assert pruned_at([sign * value for value in PARALLEL[5]], study) is None


def test_reports_that_say_the_opposite_of_the_value_tell_nothing() -> None:
    opposite = filled([[0.8 - number / 8] * 4 + values[4:] for number, values in enumerate(PARALLEL)])
    assert pruned_at([0.0] * 4 + [0.9] * 5, opposite) is None
    exactly = filled([[-values[-1]] * 4 + values[4:] for values in PARALLEL])  # a correlation of -1
    assert pruned_at([-1.0] * 4 + [0.9] * 5, exactly) is None


def test_reports_that_are_all_equal_or_not_finite_tell_nothing() -> None:
    equal = filled([[0.5] * 4 + values[4:] for values in PARALLEL])
    assert pruned_at([0.4] * 4 + [0.6] * 5, equal) is None
    missing = filled([[float("nan")] * 4 + values[4:] for values in PARALLEL])
    assert pruned_at([0.0] * 4 + [0.6] * 5, missing) is None


def test_a_trial_that_falls_back_early_may_recover(study: optuna.Study) -> None:
    assert pruned_at([0.0, 0.0, 0.0, 0.0, 0.6, 0.6, 0.7, 0.7, 0.8], study) is None


def test_nothing_is_pruned_while_no_trial_has_shown_how_long_one_is() -> None:
    study = optuna.create_study(direction="maximize", pruner=AutoPruner(n_startup_trials=0, n_min_trials=1))
    running = study.ask()
    running.report(0.9, 1)
    assert pruned_at([0.1, 0.1, 0.1], study) is None


def test_too_few_completed_trials_prune_none() -> None:
    study = optuna.create_study(direction="maximize", pruner=AutoPruner())
    assert [pruned_at(values, study) for values in reversed(CROSSING[-5:])] == [None] * 5
    assert pruned_at([0.0] * 9, study) is not None


def test_a_wait_that_is_named_is_waited_for_instead(study: optuna.Study) -> None:
    study.pruner = AutoPruner(n_warmup_steps=6)
    assert pruned_at([0.05] * 9, study) == 6
    study.pruner = AutoPruner(n_warmup_steps=0)
    assert pruned_at([0.05] * 9, study) == 0
