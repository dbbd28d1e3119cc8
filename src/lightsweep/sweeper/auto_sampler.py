"""``sampler=auto``: Optuna's Gaussian process where it is the better one, else its TPE; before, points far apart."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from lightsweep.sweeper.first_points import farthest
from lightsweep.sweeper.ordered_choices import choices, study_of_positions, with_positions

_MOST = 300  # trials from which a suggestion is fast enough: 0.3 s
_FIRST, _CANDIDATES = 6, 10  # of more candidates most would lie in the corners of the space
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
        self._tpe = TPESampler(seed=seed, **_groups(conditional))
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


def _groups(conditional: bool) -> dict[str, Any]:
    """What makes TPE learn parameters with conditions together; without conditions Optuna's own defaults."""
    return {"multivariate": True, "group": True} if conditional else {}
