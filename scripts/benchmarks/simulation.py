"""A sweep in simulated time: real Optuna samplers and pruners, runs of a surrogate, workers that start trials by turns.

Each worker trains an epoch in one unit of time and reports its value; the pruner judges after each, as in a real sweep.
The places of a population are workers that all train an epoch in the same unit of time.
"""

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from benchmarks.surrogate import Surrogate
from lightsweep.sweeper.space import Parameter, Space


@dataclass(frozen=True)
class Contender:
    """A way to search.

    Args:
        sampler: made for a space, from a seed.
        pruner: made for each study: some keep what they have seen.
        in_batches: the official sweeper waits until all workers have ended, and draws all their next points at once.
    """

    sampler: Callable[[Space, int], BaseSampler]
    pruner: Callable[[], BasePruner]
    in_batches: bool = False


@dataclass
class _Running:
    trial: optuna.Trial
    values: np.ndarray  # of all its epochs
    epoch: int = 0


@dataclass(frozen=True)
class Simulated:
    """What a study has found.

    Args:
        regrets: after each `every` epochs: the best expected value of the space less that of the point that the study
            would choose, its best completed trial; before one has completed, that of the baseline.
        trials: how many ended, by state.
        spent: epochs of all trials.
        duration: units of time until the last trial ended.
    """

    regrets: list[float]
    trials: dict[str, int]
    spent: int
    duration: int


class Simulation:
    """One study until its budget of epochs is spent, or its trials have ended.

    Args:
        starts: how many workers may begin in a unit of time, while the first ones begin; None for all at once.
    """

    def __init__(
        self, surrogate: Surrogate, contender: Contender, seed: int, workers: int, *, starts: int | None = None
    ) -> None:
        self.surrogate, self.contender, self.seed, self.workers = surrogate, contender, seed, workers
        self.starts = starts or workers
        self.space = space_of(surrogate)
        self.study = optuna.create_study(
            direction="maximize", sampler=contender.sampler(self.space, seed), pruner=contender.pruner()
        )
        self.baseline = surrogate.curves.params[0]
        self.study.enqueue_trial(self.baseline)
        self.regret = surrogate.best - surrogate.true_value(self.baseline)
        self.chosen: int | None = None

    def run(self, budget: float, every: int = 10, *, trials: float = math.inf) -> Simulated:
        """Spend the budget; trials that run at its end have cost epochs and given nothing.

        Args:
            trials: after whose start no other one starts.
        """
        running: list[_Running | None] = [None] * self.workers
        turns = [(worker // self.starts, worker) for worker in range(self.workers)]
        regrets: list[float] = []
        spent = started = duration = 0
        ended: list[tuple[int, _Running, TrialState]] = []
        while spent < budget and turns:
            now, worker = heapq.heappop(turns)
            if (run := running[worker]) is None:
                if started == trials:
                    continue
                started += 1
                run = running[worker] = self._start()
            state = self._train(run)
            spent, duration = spent + 1, now + 1
            if state is None:
                heapq.heappush(turns, (now + 1, worker))
            else:
                running[worker] = None
                ended.append((worker, run, state))
            if not self.contender.in_batches or not any(running):
                for idle, each, how in ended:
                    self._close(each, how)
                    heapq.heappush(turns, (now + 1, idle))
                ended.clear()
            if spent % every == 0:
                regrets.append(self.regret)
        states = [trial.state for trial in self.study.get_trials(deepcopy=False)]
        return Simulated(regrets, {state.name: states.count(state) for state in set(states)}, spent, duration)

    def _start(self) -> _Running:
        trial = self.study.ask()
        self.space.suggest(trial)
        return _Running(trial, self.surrogate.run(trial.params, self.seed))

    def _train(self, run: _Running) -> TrialState | None:
        """Train an epoch; the state in which the trial ends, None where it goes on."""
        run.trial.report(float(run.values[run.epoch]), run.epoch + 1)
        run.epoch += 1
        if run.trial.should_prune():
            return TrialState.PRUNED
        return TrialState.COMPLETE if run.epoch == len(run.values) else None

    def _close(self, run: _Running, state: TrialState) -> None:
        is_complete = state == TrialState.COMPLETE
        self.study.tell(run.trial, float(run.values.max()) if is_complete else None, state=state)
        if is_complete and self.study.best_trial.number != self.chosen:
            self.chosen = self.study.best_trial.number
            self.regret = self.surrogate.best - self.surrogate.true_value(self.study.best_trial.params)


def space_of(surrogate: Surrogate) -> Space:
    distributions: dict[str, Any] = dict(surrogate.curves.distributions)
    return Space(tuple(Parameter(key, key, each) for key, each in distributions.items()), ())
