"""A trial that runs: its jobs, one for each seed, the time that they may take, and what their results add up to."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from optuna.pruners import WilcoxonPruner
from optuna.trial import Trial

from lightsweep.core.files import write_atomic
from lightsweep.core.signals import PATIENCE, describe_time_over
from lightsweep.sweeper.constraints import Constraints
from lightsweep.sweeper.executors.reporting import StorageReports, deliver_report
from lightsweep.sweeper.job import Job, JobResult, JobState
from lightsweep.sweeper.optuna_access import trial_id
from lightsweep.sweeper.plan import Plan
from lightsweep.sweeper.statistics import mean_facts, spread
from lightsweep.sweeper.trials import folder_of


class TrialTime:
    """The time of a trial over all its jobs, as the sweeper sees it; `TimeLimit` ends a job from inside.

    Args:
        seconds: that it may take; None for as long as it takes.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._spent = self._started = 0.0

    def of_job(self) -> tuple[float, float] | None:
        """For the job that starts now: `Job.timeout`."""
        self._started = time.monotonic()
        return None if self.seconds is None else (self.seconds, max(0.0, self.seconds - self._spent))

    def is_overdue(self, grace: float) -> bool:
        """Whether the job should have ended itself: a process that hangs outside of Python cannot.

        Args:
            grace: seconds that it has to end in order.
        """
        if self.seconds is None:
            return False
        left = max(0.0, self.seconds - self._spent)  # no step of the job was longer
        return time.monotonic() - self._started > (1 + PATIENCE) * left + grace

    def ended(self, result: JobResult, grace: float) -> JobResult:
        """A job's result; pruned where its process was killed because it was overdue."""
        overdue = result.state == JobState.LOST and self.is_overdue(grace)
        self._spent += result.seconds
        if self.seconds is None or not overdue:
            return result
        return replace(result, state=JobState.PRUNED, error=describe_time_over(self.seconds))


@dataclass
class TrialRun:
    """A trial that runs.

    Args:
        overrides: fixed ones and the trial's own.
        data: as of `Job`.
        constraints: of the sweep.
    """

    trial: Trial
    overrides: tuple[str, ...]
    plan: Plan
    data: tuple[str, str] | None
    constraints: Constraints = field(default_factory=Constraints)
    values: list[tuple[float, ...]] = field(default_factory=list)
    facts: list[Mapping[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.time = TrialTime(self.plan.settings.trial_timeout)

    def next_job(self) -> Job:
        """The job to run now."""
        plan, number, ended, seeds = self.plan, self.trial.number, len(self.values), self.plan.seeds
        overrides = (*self.overrides, *(f"{plan.settings.seed_key}={seed}" for seed in seeds[ended : ended + 1]))
        kind, folder = ("seed", f"/seed-{seeds[ended]}") if len(seeds) > 1 else ("trial", "")
        reports = None if kind == "seed" else self._reports  # the steps of the pruner are seeds
        timeout, named = self.time.of_job(), plan.named_results
        return Job(kind, overrides, folder_of(number) + folder, number, reports, self.data, *named, timeout=timeout)

    @property
    def _reports(self) -> StorageReports | None:
        plan, reported = self.plan, self.plan.objectives.reported
        index = reported if plan.objectives.several else None
        return None if reported is None else StorageReports(plan.address, trial_id(self.trial), plan.pruner, index)

    def is_overdue(self, grace: float) -> bool:
        """Whether its job should have ended itself by now; `grace`: seconds that it has to end in order."""
        return self.time.is_overdue(grace)

    def checked(self, result: JobResult, grace: float) -> JobResult:
        """A job's result: pruned where its process was killed because it was overdue, failed where it has not recorded
        what is bounded."""
        return self.constraints.checked(self.time.ended(result, grace))

    def take(self, result: JobResult) -> JobResult | None:
        """Add a job's result; returns the trial's own when it has ended, None while seeds are left."""
        if len(self.plan.seeds) <= 1 or result.state in (JobState.DETACHED, JobState.REFUSED):
            return result
        self.facts.append(result.facts)
        if result.state == JobState.COMPLETED:
            self.values.append(result.values)
            is_last = len(self.values) == len(self.plan.seeds)
            if not (is_last or self._is_pruned()):
                return None
            value, *further = self._means
            result = JobResult(JobState.COMPLETED if is_last else JobState.PRUNED, value, further=tuple(further))
        return self._sum_up(result)

    @property
    def _means(self) -> list[float]:
        """Of the objectives, over the seeds that have ended."""
        return [fmean(values) for values in zip(*self.values, strict=True)]

    def _is_pruned(self) -> bool:
        """Report the seed that just ended (Wilcoxon's pruner takes its value, others the mean), and ask the pruner."""
        reports, reported = self._reports, self.plan.objectives.reported
        if reports is None or reported is None:
            return False
        values = self.values[-1] if isinstance(self.plan.pruner, WilcoxonPruner) else self._means
        return deliver_report(reports, len(self.values), values[reported])

    def _sum_up(self, result: JobResult) -> JobResult:
        """The trial's result, which is also written above the folders of its seeds."""
        facts, objectives, one = mean_facts(self.facts), self.plan.objectives, [values[0] for values in self.values]
        std = None if objectives.several else spread(one)
        content: dict[str, Any] = {
            "status": result.state,
            "kind": "trial",
            "seeds": self.plan.seeds[: len(self.values)],
            "values": self.values if objectives.several else one,
            "best_value": fmean(one) if one else None,
            "std": std,
            **facts,
            **(dict(zip(objectives.names, self._means, strict=False)) if objectives.several else {}),
            **({"error": result.error} if result.error else {}),
        }
        folder = self.plan.folder / folder_of(self.trial.number)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / self.plan.application.result_file, json.dumps(content, indent=1) + "\n")
        return replace(result, facts=facts if std is None else {**facts, "std": std})
