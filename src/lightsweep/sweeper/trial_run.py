"""A trial under way: its jobs, one a seed, and what they add up to."""

import json
import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner, WilcoxonPruner
from optuna.trial import Trial

from lightsweep.core.files import write_atomic
from lightsweep.sweeper.job import Job, JobResult, JobState
from lightsweep.sweeper.optuna_private import trial_id
from lightsweep.sweeper.reports import StorageReports
from lightsweep.sweeper.statistics import spread
from lightsweep.sweeper.storage import Address
from lightsweep.sweeper.trials import folder_of

log = logging.getLogger(__name__)


@dataclass
class TrialRun:
    """One trial's way through a slot.

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
    facts: list[dict[str, Any]] = field(default_factory=list)
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

    def take(self, outcome: JobResult) -> JobResult | None:
        """Add a job's outcome; the trial's own one when it has ended, None while seeds are left."""
        if len(self.seeds) <= 1 or outcome.state in (JobState.DETACHED, JobState.REFUSED):
            return outcome
        self.facts.append(dict(outcome.facts))
        if outcome.state == JobState.COMPLETED:
            assert outcome.value is not None
            self.values.append(outcome.value)
            if len(self.values) < len(self.seeds) and not self._give_up():
                return None
            state = JobState.COMPLETED if len(self.values) == len(self.seeds) else JobState.PRUNED
            outcome = JobResult(state, fmean(self.values))
        return self._sum_up(outcome)

    def _give_up(self) -> bool:
        """Report the seed that just ended, and ask the pruner."""
        step = len(self.values)
        # Wilcoxon's pruner compares seed by seed; the others compare how good a trial looks so far.
        seen = self.values[-1] if isinstance(self.pruner, WilcoxonPruner) else fmean(self.values)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # a trial that was taken over repeats its first seeds
                self.trial.report(seen, step)
        except UpdateFinishedTrialError:  # somebody else has given the trial up: the ledger says so when it is told
            return True
        return self.trial.should_prune()

    def _sum_up(self, outcome: JobResult) -> JobResult:
        facts = mean_facts(self.facts)
        write_trial_result(
            self.folder / folder_of(self.number),
            status=outcome.state,
            seeds=self.seeds,
            values=self.values,
            facts=facts,
            error=outcome.error,
        )
        std = spread(self.values)
        return JobResult(
            outcome.state, outcome.value, outcome.error, {**facts, **({} if std is None else {"std": std})}
        )


def mean_facts(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of the numbers that all seeds measured, and the sum of their seconds. Equal numbers stay as they are."""
    means: dict[str, Any] = {}
    for name in dict.fromkeys(name for each in facts for name in each):
        values = [each[name] for each in facts if isinstance(each.get(name), int | float)]
        if values:
            means[name] = values[0] if len(set(values)) == 1 else fmean(values)
    means["seconds"] = sum(each.get("seconds") or 0.0 for each in facts)
    return means


def write_trial_result(
    folder: Path,
    *,
    status: str,
    seeds: Sequence[int],
    values: Sequence[float],
    facts: dict[str, Any],
    error: str | None,
) -> None:
    """The trial's result.json beside its seeds' folders."""
    content: dict[str, Any] = {
        "status": status,
        "kind": "trial",
        "seeds": list(seeds)[: len(values)],
        "values": list(values),
        "best_value": fmean(values) if values else None,
        "std": spread(values),
        **facts,
    }
    if error:
        content["error"] = error
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "result.json", json.dumps(content, indent=1) + "\n")
