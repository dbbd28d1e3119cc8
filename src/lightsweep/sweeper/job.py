"""A job of a sweep: what it is to do, how it ended, and the trial that it speaks to while it runs."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Protocol

from lightsweep.core.errors import JobState
from lightsweep.core.signals import TimeLimit
from lightsweep.core.text import shorten

log = logging.getLogger(__name__)
_SHOWN = 60  # characters of a value
UNNAMED = "value"  # the metric that no setting names
# Attributes of a trial that this program gives a meaning, and its own columns of the leaderboard: no job may set them.
RESERVED = frozenset(
    (
        "lightsweep",
        "facts",
        "interrupted",
        "baseline",
        "put_back",
        "retries",
        "retry_of",
        "repeat_of",
        "std",
        "note",
        "error",
    )
) | {"put_back", "infeasible", "folder", "rank", "pareto", "trial", "state", "value", "status"}


class Reports(Protocol):
    """Takes the intermediate values of a job; picklable."""

    def report(self, step: int, value: float) -> bool:
        """Add the value of a step; returns whether the job is to end as pruned."""
        ...


@dataclass(frozen=True)
class Job:
    """One job of a sweep: picklable, so that it can be sent to a worker or a cluster.

    Args:
        kind: trial, seed, confirmation or ablation.
        overrides: ``key=value`` each.
        folder: relative to the sweep's folder.
        number: the trial's.
        data: the digest of the data that the study was started with, and the folder with the record of them; None
            where any will do.
        reports: None where no steps are reported.
        objectives: the names of the values that are optimised.
        returns: the name of what the app returns, where it has one of its own.
        timeout: seconds that its trial may take, and what is left of them; None for as long as it takes.
    """

    kind: str
    overrides: tuple[str, ...]
    folder: str
    number: int
    reports: Reports | None = None
    data: tuple[str, str] | None = None
    objectives: tuple[str, ...] = (UNNAMED,)
    returns: str = UNNAMED
    timeout: tuple[float, float] | None = None

    @property
    def hydra_overrides(self) -> list[str]:
        return [*self.overrides, f"hydra.sweep.subdir='{self.folder}'"]


@dataclass(frozen=True)
class JobResult:
    """How a job ended.

    Args:
        value: the objective, of several the first one; of a completed job only.
        further: the values of the other objectives.
        error: in one line.
        facts: what the job recorded, by name: further columns of the leaderboard.
        by_signal: whether the job was interrupted by a signal that it received itself.
        of_all: whether all jobs of the sweep will fail like this one, unless one has completed.
        seconds: that the app's function took.
        is_put_back: the job was interrupted for a reason outside it, and spends none of its trial's retries.
        is_failure_of_worker: the job was interrupted as its worker died, and stands for all that were: one failure.
    """

    state: JobState
    value: float | None = None
    error: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    by_signal: bool = False
    of_all: bool = False
    further: tuple[float, ...] = ()
    seconds: float = field(default=0.0, compare=False)
    is_put_back: bool = False
    is_failure_of_worker: bool = False

    @property
    def values(self) -> tuple[float, ...]:
        """One an objective; none of a job that was not completed."""
        return () if self.value is None else (self.value, *self.further)


class TrialContext:
    """The trial of the running job: what an app says to it, and what the sweeper takes from it.

    Outside of a sweep, and in a job that is no trial, every method does nothing.

    Args:
        job: None outside of a sweep.
    """

    def __init__(self, job: Job | None) -> None:
        self.job = job
        self.facts: dict[str, Any] = {}
        self.is_pruned = False
        self.limit = TimeLimit(*job.timeout) if job and job.timeout else TimeLimit()

    @property
    def reports(self) -> Reports | None:
        return self.job.reports if self.job else None

    @property
    def number(self) -> int | None:
        """The trial's in its study, from 0; None outside of a sweep."""
        return self.job.number if self.job else None

    def report(self, value: Any, step: int) -> None:
        """Report an intermediate value of what is optimised.

        Args:
            value: a number of any library, such as a tensor of one element.
            step: an epoch, or any count >= 0 that means the same in all trials; a value for each.

        Raises:
            optuna.TrialPruned: the pruner ends the trial, or its time is over.
            ValueError: it is no number, or no such step.
        """
        if self.reports is None and not self.limit.is_set:
            return
        number = as_number(value)
        if number is None:
            raise ValueError(f"trial.report: value must be a number, got {value!r}")
        if not isinstance(step, Integral) or isinstance(step, bool) or step < 0:
            raise ValueError(f"trial.report: step must be an integer >= 0, got {step!r}")
        with self.limit.reporting():
            pruned = self.reports is not None and self.reports.report(int(step), number)
        over = not pruned and self.limit.is_over()
        if not pruned and not over:
            return
        from optuna import TrialPruned  # an app that is not swept need not import Optuna

        self.is_pruned = True
        raise TrialPruned(self.limit.note if over else f"pruned at step {step}")

    def record(self, facts: Mapping[str, Any]) -> None:
        """Record numbers, or None, by name: columns of the leaderboard. Later ones replace earlier ones.

        Raises:
            ValueError: a name is reserved, or a value is no number.
        """
        if self.job is None:
            return
        if taken := sorted(RESERVED & facts.keys()):
            raise ValueError(f"trial.record: {', '.join(taken)} must be called otherwise, lightsweep uses the name")
        for name, value in facts.items():
            number = value if type(value) is int else as_number(value)
            if number is None and value is not None:
                raise ValueError(f"trial.record: {name} must be a number or None, got {value!r}")
            self.facts[str(name)] = number


def as_number(value: Any) -> float | None:
    """The value of a number of any library, such as a tensor of one element; None of anything else."""
    if value is None or isinstance(value, bool | str):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None


def values_of(returned: Any, job: Job, trial: TrialContext) -> tuple[float, ...]:
    """What a sweep optimises, of what a job returned and recorded; the trial records all that has a name.

    Raises:
        ValueError: an objective is missing, or what was returned is no number.
    """
    metric = job.objectives[0]
    if len(job.objectives) > 1 or job.returns not in (UNNAMED, metric):
        return _find_values(returned, job, trial)
    if isinstance(returned, Mapping):
        values = _record_names(returned, trial)
        if not values or (metric not in values and metric != UNNAMED and len(values) > 1):
            names = ", ".join(values) or "nothing"
            raise ValueError(f"returns a dict without {metric}: hydra.sweeper.metric must be one of its names, {names}")
        return (values.get(metric, next(iter(values.values()))),)
    numbers = _list_numbers(returned)
    trial.record({f"{UNNAMED}_{index}": value for index, value in enumerate(numbers[1:], start=2)})
    return (numbers[0],)


def _find_values(returned: Any, job: Job, trial: TrialContext) -> tuple[float, ...]:
    """The objectives by their names: returned under them, or recorded; numbers without names are what was not recorded,
    in order."""
    known, names = dict(trial.facts), job.objectives
    if isinstance(returned, Mapping):
        known |= _record_names(returned, trial)
    elif returned is not None:
        numbers, recorded = _list_numbers(returned), [name for name in names if known.get(name) is not None]
        if job.returns == UNNAMED and recorded and len(numbers) > 1:
            raise ValueError(
                f"returns numbers without names, and records {recorded[0]}: return a dict of names to numbers"
            )
        unnamed = [name for name in names if name not in recorded] if job.returns == UNNAMED else [job.returns]
        known |= dict(zip(unnamed, numbers, strict=False))
        further = numbers[len(unnamed) :] if len(unnamed) > 1 else []
        trial.record({f"{UNNAMED}_{len(unnamed) + index}": each for index, each in enumerate(further, start=1)})
    if missing := [name for name in names if known.get(name) is None]:
        found = ", ".join(known) or "nothing"
        raise ValueError(
            f"must return or record {' and '.join(missing)}, which the sweep optimises; it has {found}:"
            " hydra.sweeper.objectives says what is optimised"
        )
    return tuple(float(known[name]) for name in names)


def _record_names(returned: Mapping[Any, Any], trial: TrialContext) -> dict[str, float]:
    values = {str(name): _number(value) for name, value in returned.items()}
    trial.record({name: value for name, value in values.items() if name not in RESERVED})
    return values


def _list_numbers(returned: Any) -> list[float]:
    if returned is None:
        raise ValueError("returns nothing: end it with `return` and the number to optimise, several, or a dict of them")
    is_list = isinstance(returned, list | tuple) and returned
    return [_number(value) for value in (returned if is_list else [returned])]


def _number(value: Any) -> float:
    number = as_number(value)
    if number is None:
        shown = shorten(repr(value), _SHOWN)
        raise ValueError(f"must return a number, several, or a dict of names to numbers, got {shown}")
    return number


_current: ContextVar[TrialContext] = ContextVar("trial", default=TrialContext(None))  # noqa: B039


@contextmanager
def entered_trial(trial: TrialContext) -> Iterator[None]:
    """In the block it is the `current_trial`."""
    token = _current.set(trial)
    try:
        yield
    finally:
        _current.reset(token)


def current_trial() -> TrialContext:
    """The trial of the job that runs in this process."""
    return _current.get()
