"""Constraints: bounds on what trials record. Some values are known before training: a point that violates such a bound
is closed at once.

In the study a constraint is Optuna's: a number, positive where it is violated, from which samplers learn.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig
from optuna.trial import FrozenTrial, Trial

from lightsweep.core import checks
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import did_you_mean, first_line
from lightsweep.sweeper.application import without_hydra
from lightsweep.sweeper.job import UNNAMED, JobResult, JobState, as_number
from lightsweep.sweeper.optuna_access import current
from lightsweep.sweeper.space import key_of
from lightsweep.sweeper.trials import INFEASIBLE, is_feasible, without_repeats

if TYPE_CHECKING:
    from lightsweep.sweeper.plan import Plan

KEY, _FORESEE = "hydra.sweeper.constraints", "hydra.sweeper.foresee"
MOST_IN_A_ROW = 50  # points that violate a constraint
_NUMBER = r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?"
_BOUND = re.compile(rf"\s*(?P<relation><=|>=)\s*(?P<limit>{_NUMBER})\s*")
_LARGEST = 1e6  # of a violation: samplers standardise them, and an infinite one would hide all others


@dataclass(frozen=True)
class Bound:
    """``params <= 2e6``."""

    name: str
    relation: str
    limit: float

    def violation(self, value: float) -> float:
        """Positive where the value violates the bound; in units of the bound, so that all have about one scale."""
        excess = value - self.limit if self.relation == "<=" else self.limit - value
        return max(-_LARGEST, min(_LARGEST, excess / (abs(self.limit) or 1.0)))

    def describe(self, value: float) -> str:
        """``params 3.1e+06 > 2e+06``, of a value that violates it."""
        digits = 4 if f"{value:.4g}" != f"{self.limit:.4g}" else 17
        return f"{self.name} {value:.{digits}g} {'>' if self.relation == '<=' else '<'} {self.limit:g}"


def read_bounds(constraints: Any) -> tuple[Bound, ...]:
    """The bounds of the setting, in one order whatever the order in which they were typed.

    Raises:
        ConfigError: it is no mapping of names to bounds.
    """
    bounded = {} if constraints is None else constraints
    named = isinstance(bounded, dict) and all(isinstance(name, str) and name and name.isprintable() for name in bounded)
    checks.require(named, KEY, "be a mapping of names to bounds, {params: '<= 2e6'}", constraints)
    bounds = []
    for name, text in sorted(bounded.items()):
        found = _BOUND.fullmatch(text) if isinstance(text, str) else None
        limit = float(found["limit"]) if found else math.inf
        checks.require(math.isfinite(limit), f"{KEY}.{name}", "be '<= NUMBER' or '>= NUMBER'", text)
        assert found is not None
        bounds.append(Bound(name, found["relation"], limit))
    return tuple(bounds)


@dataclass
class Constraints:
    """Those of a sweep.

    Args:
        known: functions of a trial's config that give a recorded value before training, by its name.
        objectives: the names of the values that are optimised, which may be bounded too.
    """

    bounds: Sequence[Bound] = ()
    known: Mapping[str, Callable[[DictConfig], Any]] = field(default_factory=dict)
    objectives: tuple[str, ...] = (UNNAMED,)
    in_a_row: int = 0  # points that violated one

    @classmethod
    def of(cls, plan: "Plan") -> "Constraints":
        """Those of the settings, with the functions that are needed.

        Raises:
            ConfigError: there is no such function.
        """
        bounds, chosen = read_bounds(plan.settings.constraints), plan.settings.foresee or {}
        known = {}
        for name in [bound.name for bound in bounds]:
            function = plan.application.foresee(name)
            if name in chosen:
                found = chosen[name]
                function = None if found is None else plan.application.find_function(found, f"{_FORESEE}.{name}")
            if function is not None:
                known[name] = function
        return cls(bounds, known, plan.objectives.names)

    def foresee(self, compose: Callable[[], DictConfig]) -> dict[str, float]:
        """The values that are known before training.

        Args:
            compose: gives the trial's config; called where a function needs it.

        Raises:
            ConfigError: a function fails, or gives no number.
        """
        values: dict[str, float] = {}
        if not self.known:
            return values
        config = without_hydra(compose())
        for name, function in self.known.items():
            try:
                value = function(config)
            except Exception as error:  # whatever the app's own function raises
                reason = first_line(str(error)) or type(error).__name__
                raise ConfigError(f"{_FORESEE}.{name} fails ({reason}); null judges it after training") from error
            number = as_number(value)
            checks.require(number is not None and not math.isnan(number), f"{_FORESEE}.{name}", "give a number", value)
            assert number is not None
            values[name] = number
        return values

    def admits(self, trial: Trial, values: Mapping[str, float]) -> bool:
        """Whether a drawn point may be tried; keeps what is known of it, and counts the points that may not."""
        self.keep(trial, values)
        feasible = is_feasible(current(trial.study, trial))
        self.in_a_row = 0 if feasible else self.in_a_row + 1
        return feasible

    def keep(self, trial: Trial, values: Mapping[str, Any]) -> None:
        """Keep in the study how these values stand to their bounds; what was kept before training stays."""
        kept = current(trial.study, trial).constraints
        violated = []
        for bound in self.bounds:
            if bound.name in kept or (value := as_number(values.get(bound.name))) is None:
                continue
            trial.set_constraint(bound.name, bound.violation(value))
            if bound.violation(value) > 0.0:
                violated.append(bound.describe(value))
        if violated:
            trial.set_user_attr(INFEASIBLE, ", ".join(violated))

    def checked(self, result: JobResult) -> JobResult:
        """A completed job's result; failed where it has not recorded what is bounded."""
        if result.state != JobState.COMPLETED:
            return result
        values = self.values_of(result)
        for name in [bound.name for bound in self.bounds if bound.name not in self.known]:
            number = as_number(values.get(name))
            if number is None or math.isnan(number):
                got = f"{values[name]}" if name in values else f"only {', '.join(sorted(values))}"
                wrong = f"{KEY}.{name}: a trial must return or record {name} as a number, got {got}"
                return JobResult(JobState.FAILED, error=wrong, facts=result.facts, of_all=True, seconds=result.seconds)
        return result

    def values_of(self, result: JobResult) -> dict[str, Any]:
        """All that a completed job has given, by name."""
        return {**result.facts, **dict(zip(self.objectives, result.values, strict=True))}

    def why_over(self, trials: Sequence[FrozenTrial]) -> str | None:
        """Why no further point is drawn; None where one is."""
        if self.in_a_row < MOST_IN_A_ROW:
            return None
        return f"{MOST_IN_A_ROW} points in a row violate {KEY}; {nearest(trials)}"


def describe_closed(trial: Trial) -> str | None:
    """What is said of a point that was closed without a run, if the user has asked for it."""
    marks = trial.user_attrs
    if not marks.keys() & {"baseline", "note"}:
        return None
    what = "the baseline" if "baseline" in marks else str(marks["note"])
    return f"trial {trial.number} ({what}) is not run: {marks[INFEASIBLE]}"


def nearest(trials: Sequence[FrozenTrial]) -> str:
    """The trial that violates the constraints least, and how; empty where none does."""
    violating = [trial for trial in without_repeats(trials) if not is_feasible(trial)]
    if not violating:
        return ""
    least = min(violating, key=lambda trial: sum(value for value in trial.constraints.values() if value > 0.0))
    short = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in least.params.items()}
    point = " ".join(f"{key_of(name)}={value}" for name, value in short.items())
    how = least.user_attrs.get(INFEASIBLE, "infeasible")
    return f"the nearest is trial {least.number}, {how}" + f" ({point})" * bool(point)


def check_constraints(plan: "Plan") -> None:
    """See that a trial measures what is bounded, and ask the functions for the config as it stands.

    Raises:
        ConfigError: it does not; a function is missing, fails, or gives no number.
    """
    measured = plan.application.measures(plan.config)
    constraints = Constraints.of(plan)
    if measured is not None:
        known = list(dict.fromkeys([*plan.objectives.names, *measured, *constraints.known]))
        for name in [bound.name for bound in constraints.bounds if bound.name not in known]:
            hint = did_you_mean(name, known)
            raise ConfigError(f"{KEY} must name what a trial measures, {', '.join(known)}; got {name}{hint}")
    constraints.foresee(lambda: plan.compose((*plan.space.fixed, *plan.settings.trial_overrides)))
