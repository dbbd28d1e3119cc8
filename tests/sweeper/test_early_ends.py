"""A sweep ends before its total where a value is good enough, or nothing has become better for a while."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from lightsweep.sweeper.endings import Endings

START = datetime(2026, 1, 1)


def trials_of(*values: Any) -> list[FrozenTrial]:
    """Completed in this order: a value each, or a trial's arguments."""
    made = []
    for number, value in enumerate(values):
        given = value if isinstance(value, dict) else {"value": value}
        trial = create_trial(**given)
        trial.number, trial.datetime_complete = number, START + timedelta(minutes=number)
        made.append(trial)
    return made


def endings(**settings: Any) -> Endings:
    chosen: dict[str, Any] = {"target": None, "patience": None, "min_delta": 0.0, "maximises": True} | settings
    return Endings("val/acc", **chosen)


INFEASIBLE = {"value": 0.95, "constraints": {"params": 0.5}}
REPEAT = {"value": 0.95, "user_attrs": {"repeat_of": 0}}
PRUNED = {"state": TrialState.PRUNED, "value": None, "intermediate_values": {1: 0.95}}


@pytest.mark.parametrize(
    ("values", "maximises", "target", "best"),
    [
        ((0.5, 0.9, 0.91), True, 0.9, 2),
        ((0.5, 0.9), True, 0.9, 1),
        ((0.5, 0.89), True, 0.9, None),
        ((0.5, 0.1), False, 0.1, 1),
        ((0.5, 0.2), False, 0.1, None),
        ((), True, 0.9, None),
        ((INFEASIBLE, REPEAT, PRUNED, 0.5), True, 0.9, None),
    ],
)
def test_a_sweep_ends_when_a_trial_has_reached_the_target(
    values: Any, maximises: bool, target: float, best: int | None
) -> None:
    trials = trials_of(*values)
    why = endings(target=target, maximises=maximises).why_over(trials)
    if best is None:
        assert why is None
    else:
        reached = f"trial {best} has val/acc {trials[best].value:g}, hydra.sweeper.target={target:g} is reached"
        assert why == reached


@pytest.mark.parametrize(
    ("values", "settings", "count"),
    [
        ((0.5, 0.4, 0.3), {"patience": 2}, 2),
        ((0.5, 0.4, 0.3), {"patience": 3}, None),
        ((0.5, 0.4, 0.6, 0.5), {"patience": 2}, None),
        ((0.5, 0.5, 0.5), {"patience": 2}, 2),
        ((0.5, 0.51, 0.52, 0.53), {"patience": 3, "min_delta": 0.1}, 3),
        ((0.5, 0.55, 0.61, 0.6), {"patience": 2, "min_delta": 0.1}, None),
        ((0.5, 0.6, 0.7), {"patience": 2, "maximises": False}, 2),
        ((0.5, 0.4, 0.3), {"patience": 1, "maximises": False}, None),
        ((0.5, REPEAT, REPEAT, PRUNED, PRUNED), {"patience": 2}, None),
        ((0.5, INFEASIBLE, INFEASIBLE), {"patience": 2}, 2),
        ((), {"patience": 1}, None),
    ],
)
def test_a_sweep_ends_after_completed_trials_without_an_improvement(values: Any, settings: Any, count: Any) -> None:
    why = endings(**settings).why_over(trials_of(*values))
    by = f" by more than {settings['min_delta']:g}" if "min_delta" in settings else ""
    patience = settings["patience"]
    line = f"{count} completed trials have not improved val/acc{by} (hydra.sweeper.patience={patience})"
    assert why == (None if count is None else line)


def test_trials_count_in_the_order_in_which_they_ended() -> None:
    trials = trials_of(0.9, 0.5, 0.6)
    trials[0].datetime_complete = START + timedelta(hours=1)  # it took long, and improved on both others
    assert endings(patience=2).why_over(trials) is None
    trials[0].datetime_complete = START
    assert endings(patience=2).why_over(trials) is not None
