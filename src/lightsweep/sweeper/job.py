"""A job of a sweep: what it is to do, how it ended, and the trial that it speaks to while it runs."""

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from lightsweep.core.errors import JobState

log = logging.getLogger(__name__)
# Attributes of a trial that this program gives a meaning: no job may set them.
RESERVED = frozenset(
    (
        "lightsweep",
        "facts",
        "interrupted",
        "baseline",
        "retries",
        "retry_of",
        "repeat_of",
        "std",
        "note",
        "error",
        "folder",
    )
)


class Reports(Protocol):
    """Takes the values of a job's epochs; picklable."""

    def report(self, step: int, value: float) -> bool:
        """Add a value, of an epoch from 1 on; returns whether the job is to end as pruned."""
        ...


@dataclass(frozen=True)
class Job:
    """One job of a sweep: picklable, so that it can be sent to a worker or a cluster.

    Args:
        kind: trial, seed or confirmation.
        overrides: ``key=value`` each.
        folder: relative to the sweep's folder.
        number: the trial's.
        data: the digest of the data that the study was started with, and the folder with the record of them; None
            where any will do.
        reports: None where epochs are not reported.
        metric: the name of the value that it optimises.
    """

    kind: str
    overrides: tuple[str, ...]
    folder: str
    number: int
    reports: Reports | None = None
    data: tuple[str, str] | None = None
    metric: str = "value"

    @property
    def hydra_overrides(self) -> list[str]:
        return [*self.overrides, f"hydra.sweep.subdir='{self.folder}'"]


@dataclass(frozen=True)
class JobResult:
    """How a job ended.

    Args:
        value: the objective; of a completed job only.
        error: in one line.
        facts: what the job recorded, by name: further columns of the leaderboard.
        by_signal: whether the job was interrupted by a signal that it received itself.
        of_all: whether all jobs of the sweep will fail like this one, unless one has completed.
    """

    state: JobState
    value: float | None = None
    error: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    by_signal: bool = False
    of_all: bool = False


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

    @property
    def reports(self) -> Reports | None:
        return self.job.reports if self.job else None

    @property
    def number(self) -> int | None:
        """The trial's in its study, from 0; None outside of a sweep."""
        return self.job.number if self.job else None

    def report(self, value: float, step: int) -> None:
        """Report an intermediate value of what is optimised.

        Args:
            step: an epoch, or any count that means the same in all trials; a value for each.

        Raises:
            optuna.TrialPruned: the pruner ends the trial.
        """
        if self.reports is None or not self.reports.report(step, float(value)):
            return
        from optuna import TrialPruned  # an app that is not swept need not import Optuna

        self.is_pruned = True
        raise TrialPruned(f"pruned at step {step}")

    def record(self, facts: Mapping[str, Any]) -> None:
        """Record numbers, or None, by name: columns of the leaderboard. Later ones replace earlier ones.

        Raises:
            ValueError: a name is reserved.
        """
        if taken := sorted(RESERVED & facts.keys()):
            raise ValueError(f"trial.record: {', '.join(taken)} must be called otherwise, lightsweep uses the name")
        if self.job is not None:
            self.facts |= facts


_current: ContextVar[TrialContext] = ContextVar("trial", default=TrialContext(None))  # noqa: B039


def current_trial() -> TrialContext:
    """The trial of the job that runs in this process."""
    return _current.get()
