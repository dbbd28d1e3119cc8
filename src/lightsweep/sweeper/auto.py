"""``sampler=auto`` and ``pruner=auto``, the defaults.

The sampler is Optuna's Gaussian process where it is the better one, else its TPE. It begins with points far apart, and
shows the GP choices that are numbers in their order: of categories no two are nearer than others.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from statistics import correlation
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import PercentilePruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from lightsweep.sweeper.space import Params

_MOST = 300  # trials from which a suggestion is fast enough: 0.3 s
_FIRST, _CANDIDATES = 6, 10  # of more candidates most would lie in the corners of the space
GROUPED: dict[str, Any] = {"multivariate": True, "group": True}  # TPE learns parameters that appear together together
_TELLING, _FEWEST = 0.65, 5  # the correlation of reports and values at which reports tell, and of how many trials
_MOST_OBJECTIVES = 3  # 2 s; with four of them 8 s


class AutoSampler(BaseSampler):
    """A GP sampler; TPE where torch or scipy is missing, parameters have conditions, or there are too many trials or
    objectives.

    torch is imported as the GP draws for the first time.

    Args:
        seed: of both; None for another one each time.
        conditional: whether a parameter may be missing in a trial.
        n_startup_trials: that must have ended before the GP learns from them; each of them is, of a few random points,
            the farthest from the others. TPE, which needs more, has its own default.
        most_trials: from which the GP draws: its time for one grows faster than their number.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        conditional: bool = False,
        n_startup_trials: int = _FIRST,
        most_trials: int = _MOST,
    ) -> None:
        self.most_trials = most_trials
        self.say: Callable[[str], Any] = lambda line: None
        self._missing = [name for name in ("torch", "scipy") if find_spec(name) is None]
        self.n_startup_trials = n_startup_trials
        self._make_gp = lambda: GPSampler(seed=seed, n_startup_trials=n_startup_trials)
        self._gp: GPSampler | None = None
        self._conditional, self._has_said = conditional, False
        self._tpe = TPESampler(seed=seed, **(GROUPED if conditional else {}))
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if self._begins(study):  # what a first trial that still runs has, the others have, too
            return next((each.distributions for each in study.get_trials(deepcopy=False) if each.params), {})
        return self._choose(study).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not self._begins(study):
            if (chosen := self._choose(study)) is self._tpe:
                return chosen.sample_relative(study, trial, search_space)
            drawn = chosen.sample_relative(study_of_positions(study), trial, with_positions(search_space))
            return choices(drawn, search_space)
        names = search_space.items()
        candidates = [
            {name: self._random.sample_independent(study, trial, name, each) for name, each in names}
            for _ in range(_CANDIDATES)
        ]
        known = [each.params for each in study.get_trials(deepcopy=False) if search_space.keys() <= each.params.keys()]
        return farthest(candidates, known, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._choose(study).sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        self._random.reseed_rng()
        self._tpe.reseed_rng()
        if self._gp is not None:
            self._gp.reseed_rng()

    def _begins(self, study: optuna.Study) -> bool:
        """Whether too few trials have ended for the GP."""
        if isinstance(self._choose(study), TPESampler):
            return False
        return len(study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])) < self.n_startup_trials

    def _choose(self, study: optuna.Study) -> BaseSampler:
        """The sampler for this trial; says once why it is not the GP."""
        if self._conditional:
            return self._tpe
        reason = ""
        if len(study.directions) > _MOST_OBJECTIVES:
            reason = f"with more than {_MOST_OBJECTIVES} objectives a suggestion of its GP takes too long"
        elif self._missing:
            reason = f"its GP needs {' and '.join(self._missing)}: pip install 'lightsweep[gp]'"
        elif len(study.get_trials(deepcopy=False)) > self.most_trials:
            reason = f"beyond {self.most_trials} trials a suggestion of its GP takes too long"
        if not reason:
            self._gp = self._gp or self._make_gp()
            return self._gp
        if not self._has_said:
            self._has_said = True
            self.say(f"sampler=auto draws with TPE: {reason}")
        return self._tpe


class AutoPruner(PercentilePruner):
    """Ends a trial that is among the worst quarter, from half of the steps on that completed trials have reported.

    Before, a report may say little of the value to come (docs/benchmarks.md). Where it says much, by the completed
    trials' reports at its step and their values, a trial ends that is among the worse half.

    Args:
        percentile: of the trials that go on from half of the steps on, from 0 to 100.
        n_startup_trials: that must have completed before one is pruned.
        n_warmup_steps: before which no trial is pruned; None for the rule above.
        interval_steps: between two decisions.
        n_min_trials: least number of values at a step.
    """

    def __init__(
        self,
        percentile: float = 75.0,
        n_startup_trials: int = 5,
        n_warmup_steps: int | None = None,
        interval_steps: int = 1,
        n_min_trials: int = 3,
    ) -> None:
        super().__init__(percentile, n_startup_trials, n_warmup_steps or 0, interval_steps, n_min_trials=n_min_trials)
        self._waits = n_warmup_steps is None
        half = min(percentile, 50.0)
        self._strict = PercentilePruner(half, n_startup_trials, 0, interval_steps, n_min_trials=n_min_trials)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        if not self._waits:
            return super().prune(study, trial)
        if (step := trial.last_step) is None:
            return False
        complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        pairs = [(each.intermediate_values.get(step, math.nan), each.values[0]) for each in complete if each.values]
        if _tells(pairs):
            return self._strict.prune(study, trial)
        ends = [each.last_step for each in complete if each.last_step is not None]
        return 2 * step >= max(ends, default=math.inf) and super().prune(study, trial)


def _tells(pairs: Sequence[tuple[float, float]]) -> bool:
    """Whether reports say what values will be: their correlation, less its standard error (Fisher's), is high enough.

    Args:
        pairs: of a report and a value; those that are not finite are left out.
    """
    known = [pair for pair in pairs if all(map(math.isfinite, pair))]
    reports, values = {report for report, _ in known}, {value for _, value in known}
    if len(known) < _FEWEST or len(reports) == 1 or len(values) == 1:
        return False
    found = correlation(*zip(*known, strict=True))
    if found < _TELLING:
        return False
    return math.atanh(min(found, 1 - 1e-9)) - 1 / math.sqrt(len(known) - 3) >= math.atanh(_TELLING)


def order_of(distribution: BaseDistribution) -> list[Any] | None:
    """The choices from the lowest to the highest; None where they are no numbers, or fewer than three."""
    if not isinstance(distribution, CategoricalDistribution) or len(distribution.choices) < 3:
        return None
    are_numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in distribution.choices)
    return sorted(distribution.choices) if are_numbers else None


def with_positions(distributions: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    """The distributions with the positions of such choices in place of the choices."""
    orders = {name: (order_of(each), each) for name, each in distributions.items()}
    return {name: IntDistribution(0, len(order) - 1) if order else each for name, (order, each) in orders.items()}


def positions(params: Params, distributions: Mapping[str, BaseDistribution]) -> Params:
    """The parameters with positions in place of such choices."""
    orders = {name: order_of(distributions[name]) for name in params}
    return {name: order.index(value) if (order := orders[name]) else value for name, value in params.items()}


def choices(params: Params, distributions: Mapping[str, BaseDistribution]) -> Params:
    """The parameters with such choices in place of positions.

    Args:
        distributions: those of the choices.
    """
    orders = {name: order_of(distributions[name]) for name in params}
    return {name: order[value] if (order := orders[name]) else value for name, value in params.items()}


def study_of_positions(study: optuna.Study) -> optuna.Study:
    """A copy in memory in which the trials have positions in place of such choices."""
    copy = optuna.create_study(directions=study.directions)
    for trial in study.get_trials(deepcopy=False):
        ended = trial.state.is_finished()
        copy.add_trial(
            create_trial(
                state=trial.state,
                params=positions(trial.params, trial.distributions),
                distributions=with_positions(trial.distributions),
                values=trial.values if ended else None,
                constraints=trial.constraints if ended else None,
            )
        )
    return copy


def distance(one: Params, other: Params, space: Mapping[str, BaseDistribution]) -> float:
    """The sum of squares of the differences of two points, each from 0 to 1 of its range."""
    return sum(_difference(distribution, one[name], other[name]) ** 2 for name, distribution in space.items())


def farthest(candidates: Sequence[Params], known: Sequence[Params], space: Mapping[str, BaseDistribution]) -> Params:
    """The candidate whose nearest known point is the farthest away; the first one where none is known."""
    return max(candidates, key=lambda each: min((distance(each, one, space) for one in known), default=0.0))


def _difference(distribution: BaseDistribution, one: Any, other: Any) -> float:
    if isinstance(distribution, CategoricalDistribution):
        if (order := order_of(distribution)) is None:
            return float(one != other)
        return (order.index(one) - order.index(other)) / (len(order) - 1)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    ends = (distribution.low, distribution.high, one, other)
    low, high, first, second = map(math.log, ends) if distribution.log else ends
    return (first - second) / (high - low) if high > low else 0.0
