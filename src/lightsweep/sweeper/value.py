"""The one number that a trial stands for, wherever it is shown."""

import math

from optuna.trial import FrozenTrial, TrialState


def value_of(trial: FrozenTrial) -> float | None:
    """A complete trial's value; of one that was pruned or still runs, what it reported last, which is Optuna's value of
    it too. A trial that failed has none."""
    if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING):
        return None
    if trial.state != TrialState.RUNNING and trial.value is not None:
        return trial.value
    if trial.last_step is None:
        return None
    last = trial.intermediate_values[trial.last_step]
    return last if math.isfinite(last) else None
