"""A trial under way: its jobs, one for each seed, their reports to the study, and what their results add up to."""

import json
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner, WilcoxonPruner
from optuna.trial import Trial

from lightsweep.core.files import write_atomic
from lightsweep.sweeper.job import Job, JobResult, JobState, Reports
from lightsweep.sweeper.optuna_access import trial_id
from lightsweep.sweeper.statistics import spread
from lightsweep.sweeper.storage import Address, follow
from lightsweep.sweeper.trials import folder_of

_SUMMED = ("seconds",)  # of facts over several seeds; the others are averaged


@dataclass(frozen=True)
class StorageReports:
    """Reports into the study.

    Args:
        address: of the study.
        trial_id: of the trial in the storage.
        pruner: decides after each report.
    """

    address: Address
    trial_id: int
    pruner: BasePruner

    def report(self, step: int, value: float) -> bool:
        """Add a value; returns whether the trial is pruned.

        Raises:
            UpdateFinishedTrialError: another sweeper has closed the trial.
            StorageLost: the storage is out of reach.
        """
        study = follow(self.address)
        study.pruner = self.pruner
        trial = Trial(study, self.trial_id)
        trial.report(value, step)
        return trial.should_prune()


def deliver_report(reports: Reports, step: int, value: float) -> bool:
    """Add the value of a job that cannot reach the study itself; returns whether the job is to end. A step that the
    study has already is left as it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a job that was started again repeats some epochs
            return reports.report(step, value)
    except UpdateFinishedTrialError:
        return True


@dataclass
class TrialRun:
    """A trial under way.

    Args:
        overrides: fixed ones and the trial's own.
        seeds: empty for the config's own seed.
        folder: the study's.
        data: as of `Job`.
    """

    trial: Trial
    overrides: tuple[str, ...]
    seeds: Sequence[int]
    address: Address
    pruner: BasePruner
    folder: Path
    data: tuple[str, str] | None
    values: list[float] = field(default_factory=list)
    facts: list[Mapping[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def number(self) -> int:
        return self.trial.number

    def next_job(self) -> Job:
        """The job to run now."""
        name = folder_of(self.number)
        if len(self.seeds) > 1:  # the steps of the pruner are seeds: the job itself reports nothing
            seed = self.seeds[len(self.values)]
            overrides = (*self.overrides, f"seed={seed}")
            return Job("seed", overrides, f"{name}/seed-{seed}", self.number, data=self.data)
        overrides = (*self.overrides, *(f"seed={seed}" for seed in self.seeds))
        reports = StorageReports(self.address, trial_id(self.trial), self.pruner)
        return Job("trial", overrides, name, self.number, reports, self.data)

    def take(self, result: JobResult) -> JobResult | None:
        """Add a job's result; returns the trial's own when it has ended, None while seeds are left."""
        if len(self.seeds) <= 1 or result.state in (JobState.DETACHED, JobState.REFUSED):
            return result
        self.facts.append(result.facts)
        if result.state == JobState.COMPLETED:
            assert result.value is not None
            self.values.append(result.value)
            is_last = len(self.values) == len(self.seeds)
            if not is_last and not self._is_pruned():
                return None
            result = JobResult(JobState.COMPLETED if is_last else JobState.PRUNED, fmean(self.values))
        return self._sum_up(result)

    def _is_pruned(self) -> bool:
        """Report the seed that just ended, and ask the pruner."""
        # Wilcoxon's pruner compares seed by seed; the others compare how good a trial looks so far.
        seen = self.values[-1] if isinstance(self.pruner, WilcoxonPruner) else fmean(self.values)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # a trial that was taken over repeats its first seeds
                self.trial.report(seen, len(self.values))
        except UpdateFinishedTrialError:  # another sweeper has closed the trial, which is said when it is told
            return True
        return self.trial.should_prune()

    def _sum_up(self, result: JobResult) -> JobResult:
        """The trial's result, which is also written as result.json above the folders of its seeds."""
        facts, std = mean_facts(self.facts), spread(self.values)
        content: dict[str, Any] = {
            "status": result.state,
            "kind": "trial",
            "seeds": list(self.seeds)[: len(self.values)],
            "values": self.values,
            "best_value": fmean(self.values) if self.values else None,
            "std": std,
            **facts,
            **({"error": result.error} if result.error else {}),
        }
        folder = self.folder / folder_of(self.number)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "result.json", json.dumps(content, indent=1) + "\n")
        return replace(result, facts=facts if std is None else {**facts, "std": std})


def mean_facts(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One value of each fact from those of several seeds: the sum of seconds, the mean of other numbers; integers that
    are the same for all seeds stay integers."""
    means: dict[str, Any] = {}
    for name in dict.fromkeys(name for each in facts for name in each):
        values = [each[name] for each in facts if isinstance(each.get(name), int | float)]
        if name in _SUMMED:
            means[name] = sum(values)
        elif values:
            means[name] = values[0] if len(set(values)) == 1 else fmean(values)
    return means
