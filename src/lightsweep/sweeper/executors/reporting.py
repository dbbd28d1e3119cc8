"""How the reports of running jobs reach the study."""

import warnings
from dataclasses import dataclass
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.trial import Trial

from lightsweep.core.errors import StorageLost
from lightsweep.sweeper.job import Reports
from lightsweep.sweeper.storage import Address, follow

SWEEPER_SECONDS = 60.0  # that a job waits for its sweeper


@dataclass(frozen=True)
class StorageReports:
    """Reports into the study.

    Args:
        address: of the study.
        trial_id: of the trial in the storage.
        pruner: decides after each report.
        objective: the index of the one that is reported, of several.
    """

    address: Address
    trial_id: int
    pruner: BasePruner
    objective: int | None = None

    def report(self, step: int, value: float) -> bool:
        """Add a value; returns whether the trial is pruned.

        Raises:
            UpdateFinishedTrialError: another sweeper has closed the trial.
            StorageLost: the storage is out of reach.
        """
        study = follow(self.address, self.objective)
        study.pruner = self.pruner
        trial = Trial(study, self.trial_id)
        trial.report(value, step)
        return trial.should_prune()


def deliver_report(reports: Reports, step: int, value: float) -> bool:
    """Add the value of a job that cannot reach the study itself; returns whether the job is to end. A step that the
    study has already is left as it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a job that was started again repeats some steps
            return reports.report(step, value)
    except UpdateFinishedTrialError:
        return True


class ReportBuffer:
    """What jobs report, until the sweeper takes it, and which of them are pruned. Lives in an actor."""

    def __init__(self) -> None:
        self._nodes: dict[str, str] = {}
        self._reports: list[tuple[str, int, float]] = []
        self._pruned: set[str] = set()

    def start(self, key: str, node: str) -> None:
        self._nodes[key] = node

    def report(self, key: str, step: int, value: float) -> bool:
        self._reports.append((key, step, value))
        return key in self._pruned

    def take(self) -> tuple[dict[str, str], list[tuple[str, int, float]]]:
        """The nodes of the jobs that started, by the job's key, and new reports."""
        reports, self._reports = self._reports, []
        return self._nodes, reports

    def prune(self, key: str) -> None:
        self._pruned.add(key)


@dataclass(frozen=True)
class ActorReports:
    """Reports to the sweep's actor.

    Args:
        buffer: the actor's handle.
        key: the job's.
    """

    buffer: Any
    key: str

    def report(self, step: int, value: float) -> bool:
        """Add a value; returns whether the trial is pruned.

        Raises:
            StorageLost: the sweeper cannot be reached.
        """
        import ray

        try:
            return ray.get(self.buffer.report.remote(self.key, step, value), timeout=SWEEPER_SECONDS)
        except ray.exceptions.RayError as error:
            raise StorageLost(f"the sweep cannot be reached to report a step ({type(error).__name__})") from error
