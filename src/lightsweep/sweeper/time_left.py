"""How long a sweep may still take."""

from collections.abc import Sequence
from datetime import datetime
from statistics import fmean

from optuna.trial import FrozenTrial, TrialState

from lightsweep.sweeper.ledger import ended, is_interrupted

_FEWEST = 3  # trials that must have ended before anything is said, and one a worker
_LATEST = 30  # trials that the mean is taken of: pruning sets in after some, and makes them shorter


def seconds_left(trials: Sequence[FrozenTrial], n_trials: int, now: datetime) -> float | None:
    """Until `n_trials` have ended; None while too few have.

    What is to begin takes the mean of the latest trials, what runs the rest of it, over as many workers as run now.
    """
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    seconds = _durations(trials)[-_LATEST:]
    if not running or len(seconds) < max(_FEWEST, len(running)):
        return None
    mean = fmean(seconds)
    waiting = max(0, n_trials - ended(trials) - len(running))
    rest = [max(0.0, mean - (now - trial.datetime_start).total_seconds()) for trial in running if trial.datetime_start]
    return (waiting * mean + sum(rest)) / len(running)


def in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _durations(trials: Sequence[FrozenTrial]) -> list[float]:
    """Of the trials that ended by themselves, in that order."""
    spans = [
        (trial.datetime_complete, trial.duration.total_seconds())
        for trial in trials
        if trial.state.is_finished() and not is_interrupted(trial) and trial.datetime_complete and trial.duration
    ]
    return [seconds for _, seconds in sorted(spans)]
