"""The study as a sampler sees it: in memory, made anew for each suggestion.

In the real study one trial that lacks a parameter, or had another range, takes that parameter out of what Optuna's GP
and TPE samplers draw together; one without a constraint stops GP; pruned trials tell GP nothing. So `ViewSampler` shows
them a study that has only trials of today's space, in today's ranges:

- completed ones, without repeats and without those from before the data or the settings changed;
- pruned ones as completed ones, with an estimate of their final value (one objective only: of several one is known);
- those that violate a constraint and have no value, with the median of the values;
- running ones as running.
"""

import math
import re
import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from lightsweep.sweeper.estimates import final_value
from lightsweep.sweeper.optuna_access import whole_study
from lightsweep.sweeper.space import Parameter, Params, Space, applies, is_same_value, nearest_value
from lightsweep.sweeper.trials import is_repeat

_VERSION = re.compile(r"#\d+$")
_EQUAL = 1e-9  # of a float's size: values of a range with a step are computed in several ways

Estimate = Callable[[Mapping[int, float], Sequence[Mapping[int, float]], Sequence[float]], float]


class ViewSampler(BaseSampler):
    """Draws from a view of the study.

    Args:
        space: today's.
        sampler: that draws; it keeps nothing in the study.
        estimate: of a pruned trial's final value, as `final_value`.
        earlier_trials: completed trials that the sampler knows and the study does not; those whose attribute ``data``
            is another digest than the study's are forgotten.
        constraints: names of today's constraints; None for all that trials have.
    """

    def __init__(
        self,
        space: Space,
        sampler: BaseSampler,
        *,
        estimate: Estimate = final_value,
        earlier_trials: Sequence[FrozenTrial] = (),
        constraints: Sequence[str] | None = None,
    ) -> None:
        self.space, self.sampler, self.estimate = replace(space, extend=None), sampler, estimate
        self.takes_further = space.extend is not None
        self.earlier_trials, self.constraints = earlier_trials, constraints
        self._names = {_VERSION.sub("", parameter.name): parameter for parameter in space.parameters}
        self.say: Callable[[str], Any] = lambda line: None
        self._drawn: tuple[int, Trial] | None = None  # the number of the real trial, and its trial in the view

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {parameter.name: parameter.distribution for parameter in self.space.parameters}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """All values of the space that apply: conditions and values that are fixed for this trial are known."""
        with _one_thread():
            drawn = self._ask(study, trial)
            self.space.suggest(drawn)
        return drawn.params

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value that the user's own function suggests."""
        if self._drawn is None or self._drawn[0] != trial.number:
            self._ask(study, trial)
        assert self._drawn is not None
        with _one_thread():
            return Parameter(param_name, param_name, param_distribution).suggest(self._drawn[1])

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self.sampler.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        self.sampler.reseed_rng()

    def view(self, study: optuna.Study, without: int = -1) -> optuna.Study:
        """The study in memory.

        Args:
            without: the number of the trial to draw.
        """
        study = whole_study(study)
        since = study.user_attrs.get("changed_at", 0)
        shown = [
            trial
            for trial in study.get_trials(deepcopy=False)
            if trial.number not in range(since) and trial.number != without and not is_repeat(trial)
        ]
        self._forget_others(study.user_attrs.get("data"))
        view = optuna.create_study(sampler=self.sampler, pruner=optuna.pruners.NopPruner(), directions=study.directions)
        view.add_trials(self._trials([*self.earlier_trials, *shown], len(study.directions)))
        return view

    def _forget_others(self, data: str | None) -> None:
        """The data of a sweep are known as its first trial has read them."""
        kept = [each for each in self.earlier_trials if data is None or each.user_attrs.get("data", data) == data]
        if count := len(self.earlier_trials) - len(kept):
            self.earlier_trials = kept
            self.say(f"warm start: the sampler forgets {count} earlier trials, whose data were others")

    def _ask(self, study: optuna.Study, trial: FrozenTrial) -> Trial:
        view = self.view(study, without=trial.number)
        if fixed := trial.system_attrs.get("fixed_params"):
            view.enqueue_trial(fixed)
        drawn = view.ask()
        self._drawn = trial.number, drawn
        return drawn

    def _trials(self, trials: Sequence[FrozenTrial], objectives: int) -> Iterator[FrozenTrial]:
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and _is_finite(trial.values)]
        curves, finals = [trial.intermediate_values for trial in complete], [trial.values[0] for trial in complete]
        middle = [median(trial.values[index] for trial in complete) if complete else 0.0 for index in range(objectives)]
        usual = self._usual_constraints(trials)
        latest = {name: one for trial in trials for name, one in trial.distributions.items()}
        for trial in trials:
            if (params := self._point(trial)) is None:
                continue
            shown: dict[str, Any] = {
                "params": params,
                "distributions": {name: self._distribution(name, params[name], trial, latest) for name in params},
            }
            if trial.state == TrialState.RUNNING:
                yield create_trial(state=trial.state, **shown)
                continue
            reports = {step: value for step, value in trial.intermediate_values.items() if math.isfinite(value)}
            if trial.state == TrialState.COMPLETE:
                values: Sequence[float] = trial.values
            elif trial.state == TrialState.PRUNED and reports and objectives == 1:
                values = [self.estimate(reports, curves, finals)]
            elif trial.state.is_finished() and any(trial.constraints.get(name, 0.0) > 0 for name in usual):
                values = middle
            else:
                continue
            if _is_finite(values):
                constraints = {name: trial.constraints.get(name, value) for name, value in usual.items()}
                yield create_trial(values=values, constraints=constraints, **shown)

    def _usual_constraints(self, trials: Sequence[FrozenTrial]) -> dict[str, float]:
        """The constraints that all trials of the view have, each with what stands for one that is not known: the
        median."""
        known: dict[str, list[float]] = {}
        for trial in trials:
            for name, value in trial.constraints.items():
                if self.constraints is None or name in self.constraints:
                    known.setdefault(name, []).append(value)
        return {name: median(known[name]) for name in sorted(known)}

    def _point(self, trial: FrozenTrial) -> Params | None:
        """A trial's parameters under today's names; None where it is none of today's space."""
        values = {_first_name(name, self._names): value for name, value in trial.params.items()}
        params, chosen = Params(), Params()
        for first_name, parameter in self._names.items():
            if not applies(parameter, chosen):
                continue
            value = inside(parameter.distribution, values.pop(first_name, ...))
            if value is ...:
                return None
            params[parameter.name] = chosen[parameter.key] = value
        return None if values and not self.takes_further else params | values

    def _distribution(
        self, name: str, value: Any, trial: FrozenTrial, latest: Mapping[str, BaseDistribution]
    ) -> BaseDistribution:
        """Today's. A value of the user's own function has what that drew from last, or else its own."""
        if (parameter := self._names.get(_first_name(name, self._names))) is not None:
            return parameter.distribution
        return latest[name] if inside(latest[name], value) is not ... else trial.distributions[name]


def _first_name(name: str, known: Container[str]) -> str:
    """A searched parameter's name without its version, ``key`` for ``key#2``; another name as it is."""
    return first if (first := _VERSION.sub("", name)) in known else name


def inside(distribution: BaseDistribution, value: Any) -> Any:
    """The value of a distribution that this one is; ... where it lies outside."""
    if value is ... or (isinstance(value, int | float) and not abs(value) <= sys.float_info.max):  # NaN, too
        return ...
    nearest = nearest_value(distribution, value)
    if isinstance(nearest, float) and isinstance(value, float):
        return nearest if math.isclose(nearest, value, rel_tol=_EQUAL, abs_tol=_EQUAL) else ...
    return nearest if is_same_value(nearest, value) else ...


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch, where a GP has imported it, use one thread: matrices are small, the other cores belong to trials."""
    if (torch := sys.modules.get("torch")) is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _is_finite(values: Sequence[float]) -> bool:
    return all(map(math.isfinite, values))
