"""The search space: what a sweep varies, as Optuna's distributions, and what it holds fixed."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from optuna.trial import BaseTrial, FrozenTrial, Trial

from lightsweep.core import overrides
from lightsweep.core.errors import ConfigError, RunFailed
from lightsweep.core.overrides import format_override, format_value

_MOST_IN_GRID = 1_000_000  # of a grid, which lists them all before the first
_MOST_LISTED = 10_000  # of a space that is listed

Params = dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """A parameter: `key` is overridden by a value from `distribution`, under the condition ``key=choice`` if any.

    `name` is Optuna's. Under a condition it is ``condition:key``, so that the learning rates of two optimizers are two
    parameters.
    """

    name: str
    key: str
    distribution: BaseDistribution
    condition: str | None = None

    def suggest(self, trial: Trial) -> Any:
        """Draw a value."""
        space = self.distribution
        if isinstance(space, CategoricalDistribution):
            return trial.suggest_categorical(self.name, space.choices)
        if isinstance(space, IntDistribution):
            return trial.suggest_int(self.name, space.low, space.high, step=space.step, log=space.log)
        assert isinstance(space, FloatDistribution)
        return trial.suggest_float(self.name, space.low, space.high, step=space.step, log=space.log)


@dataclass(frozen=True)
class Space:
    """What a sweep varies, and what it holds fixed.

    Args:
        parameters: those without a condition come first.
        fixed: overrides that all trials share.
        extend: the user's ``custom_search_space``, which suggests further values in a trial.
    """

    parameters: tuple[Parameter, ...]
    fixed: tuple[str, ...]
    extend: Callable[[Trial], None] | None = None

    def suggest(self, trial: Trial) -> tuple[str, ...]:
        """Draw a trial's values; returns its overrides, ``key=value`` each, without the fixed ones."""
        chosen: dict[str, Any] = {}
        for parameter in self.parameters:
            if applies(parameter, chosen):
                chosen[parameter.key] = parameter.suggest(trial)
        if self.extend is not None:
            try:
                self.extend(trial)
            except (ConfigError, RunFailed):
                raise
            except Exception as error:  # any that the user's own code may raise
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                raise ConfigError(f"hydra.sweeper.custom_search_space: {reason}") from error
        names = {parameter.name for parameter in self.parameters}
        extra = {name: value for name, value in trial.params.items() if name not in names}
        if clash := extra.keys() & chosen.keys():
            raise ConfigError(f"hydra.sweeper.custom_search_space suggests what is searched already: {sorted(clash)}")
        return tuple(format_override(key, value) for key, value in (chosen | extra).items())

    def overrides(self, trial: BaseTrial) -> tuple[str, ...]:
        """The overrides of a trial whose values were drawn before."""
        return tuple(format_override(key_of(name), value) for name, value in trial.params.items())

    def renamed_for(self, trials: Sequence[FrozenTrial]) -> "Space":
        """This space under names that fit a study whose trials had another space.

        Optuna never changes a categorical parameter's choices: one with other choices gets a new name, ``key#2``.
        """
        known = {name: one for trial in trials for name, one in trial.distributions.items()}
        return replace(self, parameters=tuple(_renamed(parameter, known) for parameter in self.parameters))

    def describe(self) -> dict[str, str]:
        """Each parameter's distribution as text, to compare two spaces by."""
        return {parameter.name: str(parameter.distribution) for parameter in self.parameters}

    def conditions(self) -> list[str]:
        return sorted({parameter.condition for parameter in self.parameters if parameter.condition})

    def undecided(self) -> list[str]:
        """The conditions on keys that are not searched themselves."""
        searched = {parameter.key for parameter in self.parameters}
        return [condition for condition in self.conditions() if condition.partition("=")[0] not in searched]

    def settled(self, holds: Mapping[str, bool]) -> "Space":
        """This space where some conditions are decided: their parameters are searched always, or never.

        Raises:
            ConfigError: nothing is left, or two conditions that hold have one key.
        """
        parameters = [parameter for parameter in self.parameters if holds.get(parameter.condition or "", True)]
        parameters = [replace(each, condition=None) if each.condition in holds else each for each in parameters]
        always = [parameter.key for parameter in parameters if parameter.condition is None]
        if twice := sorted({key for key in always if always.count(key) > 1}):
            raise ConfigError(f"hydra.sweeper.when has {', '.join(twice)} under two conditions that hold")
        space = replace(self, parameters=tuple(sorted(parameters, key=lambda each: each.condition is not None)))
        check_not_empty(space)
        return space

    def point(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The nearest point inside, as Optuna's parameters, and a remark on each value outside.

        Args:
            values: by key; those that are missing are left to the sampler.
        """
        inside, chosen, remarks = Params(), Params(), list[str]()
        for parameter in self.parameters:
            if parameter.key not in values or not applies(parameter, chosen):
                continue
            value = values[parameter.key]
            found = nearest_value(parameter.distribution, value)
            inside[parameter.name] = chosen[parameter.key] = found
            if not is_same_value(found, value):
                outside = value if isinstance(value, str) else format_value(value)
                remarks.append(f"{parameter.key}={outside} lies outside the space, {found} is searched from")
        return inside, remarks


def key_of(name: str) -> str:
    """The key that a parameter of Optuna's overrides: its name without condition and version."""
    return name.rpartition(":")[2].partition("#")[0]


def ends(distribution: BaseDistribution) -> Sequence[Any]:
    """All choices of a categorical distribution, the lowest and the highest value of another."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.low, distribution.high


def grid_of(space: Space) -> dict[str, list]:
    """The values of each parameter for a grid sampler."""
    if space.conditions():
        raise ConfigError("hydra.sweeper.sampler=grid knows no conditions (hydra.sweeper.when)")
    counts = [_count_values(parameter.distribution) for parameter in space.parameters]
    if math.inf in counts:
        key = space.parameters[counts.index(math.inf)].key
        raise ConfigError(f"hydra.sweeper.sampler=grid takes choices and ranges with a step, no interval such as {key}")
    if (points := math.prod(counts)) > _MOST_IN_GRID:
        raise ConfigError(f"hydra.sweeper.sampler=grid must have at most {_MOST_IN_GRID:,} points, got {points:,}")
    return {
        parameter.name: list(_list_values(parameter.distribution, int(count)))
        for parameter, count in zip(space.parameters, counts, strict=True)
    }


def values_of(config: DictConfig, keys: Sequence[str], choices: Mapping[str, str]) -> dict[str, Any]:
    """The values of these keys in a composed config, without those that it lacks; a config group's is the name of its
    choice."""
    values = {key: choices[key] if key in choices else OmegaConf.select(config, key, default=...) for key in keys}
    plain = {key: value.name if isinstance(value, Enum) else value for key, value in values.items()}
    return {key: str(value) if isinstance(value, Path) else value for key, value in plain.items() if value is not ...}


def _count_values(distribution: BaseDistribution) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    width = distribution.high - distribution.low  # a multiple of the step
    return math.inf if distribution.step is None else round(width / distribution.step) + 1


def check_not_empty(space: Space) -> None:
    if not space.parameters and space.extend is None:
        raise ConfigError("hydra.sweeper.params must hold at least one range or choice, got none")


def _renamed(parameter: Parameter, known: Mapping[str, BaseDistribution]) -> Parameter:
    name, version = parameter.name, 1
    while name in known and not _compatible(known[name], parameter.distribution):
        version += 1
        name = f"{parameter.name}#{version}"
    return replace(parameter, name=name)


def _compatible(one: BaseDistribution, other: BaseDistribution) -> bool:
    try:
        check_distribution_compatibility(one, other)
    except ValueError:
        return False
    return True


def applies(parameter: Parameter, chosen: Mapping[str, Any]) -> bool:
    """Whether a parameter is searched where these values are chosen: ``model.bn=true`` holds where it is True."""
    if parameter.condition is None:
        return True
    key, _, wanted = parameter.condition.partition("=")
    return key in chosen and is_same_value(chosen[key], wanted)


def nearest_value(distribution: BaseDistribution, value: Any) -> Any:
    """The value inside a distribution, as a study keeps it, that is nearest to a config's."""
    if isinstance(distribution, CategoricalDistribution):
        return _nearest_choice(distribution.choices, value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return distribution.low  # type: ignore[attr-defined]
    if isinstance(distribution, IntDistribution):
        clipped = min(max(round(value), distribution.low), distribution.high)
        steps = round((clipped - distribution.low) / distribution.step)
        return min(distribution.low + steps * distribution.step, distribution.high)
    assert isinstance(distribution, FloatDistribution)
    clipped_float = min(max(float(value), distribution.low), distribution.high)
    if (step := distribution.step) is None:
        return clipped_float
    return min(distribution.low + round((clipped_float - distribution.low) / step) * step, distribution.high)


def _nearest_choice(choices: Sequence[Any], value: Any) -> Any:
    exact = (choice for choice in choices if _is(overrides.decode_choice(choice), value))
    for choice in (*exact, *(choice for choice in choices if is_same_value(choice, value))):
        return choice
    numbers = [choice for choice in choices if isinstance(choice, int | float) and not isinstance(choice, bool)]
    if numbers and isinstance(value, int | float):
        return min(numbers, key=lambda choice: abs(choice - value))
    return choices[0]


def is_same_value(choice: Any, value: Any) -> bool:
    """Whether a choice means a value, or is written as it: the choice ``[512,256]`` means the list ``[512, 256]``."""
    one, other = ("null" if each is None else each for each in (choice, value))
    if one == other or _is(overrides.decode_choice(choice), value) or _plain(one) == _plain(other):
        return True
    try:
        return float(one) == float(other)  # 1e-4 and 0.0001
    except (TypeError, ValueError):
        return False


def _is(one: Any, other: Any) -> bool:
    """Equal, and of one kind: true is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _plain(value: Any) -> str:
    return re.sub(r"[\s'\"]", "", str(value)).lower()


def list_points(space: Space) -> list[Params] | None:
    """All points of a discrete space, as Optuna's parameters; None where there are more than can be listed."""
    if space.extend is not None:
        return None
    found: list[tuple[Params, Params]] = [({}, {})]  # by name, and by key
    for parameter in space.parameters:
        count = _count_values(parameter.distribution)
        if len(found) * count > _MOST_LISTED:
            return None
        values = _list_values(parameter.distribution, int(count))
        found = [
            (point | {parameter.name: value}, chosen | {parameter.key: value}) if value is not ... else (point, chosen)
            for point, chosen in found
            for value in (values if applies(parameter, chosen) else (...,))
        ]
    return [point for point, _ in found]


def _list_values(distribution: BaseDistribution, count: int) -> Sequence[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    assert isinstance(distribution, FloatDistribution)
    low, step = Decimal(str(distribution.low)), Decimal(str(distribution.step))  # 0.1 + 0.2 is 0.3
    return [float(low + index * step) for index in range(count)]


def point_key(params: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """Equal for equal points: the parameters as typed; of floats as many digits as a step keeps."""
    texts = {name: f"{value:.12g}" if isinstance(value, float) else str(value) for name, value in params.items()}
    return frozenset((key_of(name), text) for name, text in texts.items())
