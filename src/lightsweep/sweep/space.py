"""The search space: Hydra's sweep overrides as Optuna distributions, read by the official sweeper's own parser."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import RangeSweep
from hydra.errors import HydraException
from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from optuna.trial import BaseTrial, FrozenTrial, Trial

from lightsweep.errors import ConfigError, RunFailed

_SHAPE = ("model.width", "model.depth", "model.taper")
_MOST_POINTS = 1_000_000  # of a grid, which lists them all before the first
_MOST_CHOICES = 10_000  # Optuna writes them all down with each trial
_FINITE = "its bounds must be finite numbers"
_LARGEST_INT = 2**53  # samplers draw whole numbers as floats, which are exact up to here


@dataclass(frozen=True)
class Parameter:
    """One dimension: `key` is overridden by a value from `distribution`, under the condition ``key=choice`` if any.

    `name` is Optuna's for it. Under a condition that is ``condition:key``, so that the learning rates of two optimizers
    are two dimensions.
    """

    name: str
    key: str
    distribution: BaseDistribution
    condition: str | None = None


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
        chosen: dict[str, str] = {}
        for parameter in self.parameters:
            if _applies(parameter, chosen):
                chosen[parameter.key] = str(trial._suggest(parameter.name, parameter.distribution))
        if self.extend is not None:
            _extend(self.extend, trial)
        return (*_texts(chosen), *self._further(trial, chosen))

    def overrides(self, trial: BaseTrial) -> tuple[str, ...]:
        """The overrides of a trial whose values were drawn before."""
        return tuple(f"{key_of(name)}={value}" for name, value in trial.params.items())

    def beside(self, trials: Sequence[FrozenTrial]) -> "Space":
        """This space under names that go with the trials of a study whose space was another.

        Optuna keeps a categorical dimension's choices for ever: one with other choices gets a new name, ``key#2``.
        """
        known = {name: dimension for trial in trials for name, dimension in trial.distributions.items()}
        return replace(self, parameters=tuple(_renamed(parameter, known) for parameter in self.parameters))

    def describe(self) -> dict[str, str]:
        """Each dimension in words, to compare two spaces by."""
        return {parameter.name: str(parameter.distribution) for parameter in self.parameters}

    def conditions(self) -> list[str]:
        return sorted({parameter.condition for parameter in self.parameters if parameter.condition})

    def undecided(self) -> list[str]:
        """The conditions on keys that are not searched themselves."""
        searched = {parameter.key for parameter in self.parameters}
        return [condition for condition in self.conditions() if condition.partition("=")[0] not in searched]

    def settled(self, holds: Mapping[str, bool]) -> "Space":
        """This space where some conditions are decided: what they let in is searched always, the rest not at all.

        Raises:
            ConfigError: nothing is left, or two conditions let in one key.
        """
        parameters = [parameter for parameter in self.parameters if holds.get(parameter.condition or "", True)]
        parameters = [replace(each, condition=None) if each.condition in holds else each for each in parameters]
        always = [parameter.key for parameter in parameters if parameter.condition is None]
        if twice := sorted({key for key in always if always.count(key) > 1}):
            raise ConfigError(f"hydra.sweeper.when lets in {', '.join(twice)} twice")
        space = replace(self, parameters=tuple(sorted(parameters, key=lambda each: each.condition is not None)))
        _check_not_empty(space)
        return space

    def point(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The nearest point inside, as Optuna's parameters, and a remark on each value that lay outside.

        Args:
            values: by key; those that are missing are left to the sampler.
        """
        inside: dict[str, Any] = {}
        remarks = []
        chosen: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.key not in values or not _applies(parameter, chosen):
                continue
            value = "null" if values[parameter.key] is None else values[parameter.key]  # as it is typed
            nearest = _nearest(parameter.distribution, value)
            inside[parameter.name] = chosen[parameter.key] = nearest
            if not _same(nearest, value):
                remarks.append(f"{parameter.key}={value} lies outside the space, {nearest} is searched from")
        return inside, remarks

    def _further(self, trial: Trial, chosen: Mapping[str, str]) -> list[str]:
        names = {parameter.name for parameter in self.parameters}
        extra = {name: value for name, value in trial.params.items() if name not in names}
        if clash := extra.keys() & chosen.keys():
            raise ConfigError(f"hydra.sweeper.custom_search_space suggests what is searched already: {sorted(clash)}")
        return [f"{name}={value}" for name, value in extra.items()]


def parse(
    params: Mapping[str, Any], when: Mapping[str, Mapping[str, Any]], arguments: Sequence[str], extend: Any = None
) -> Space:
    """Read a search space.

    Args:
        params: ``hydra.sweeper.params``: override by key; a sweep (``choice(…)``, ``interval(…)``, ``range(…)``)
            makes a dimension, anything else is fixed.
        when: ``hydra.sweeper.when``: further params under a condition, ``optimizer=sgd``.
        arguments: the command line's overrides, which win over `params`. ``~key`` takes a dimension out of the space.

    Raises:
        ConfigError: an impossible range, an unknown grammar, or keys that exclude each other.
    """
    entries = {str(key): f"{key}={value}" for key, value in params.items()}
    conditional = {key for further in (when or {}).values() for key in further}
    removed = set()
    for argument in arguments:
        key = _key(argument)
        if argument.startswith("~") and (key in entries or key in conditional):
            entries.pop(key, None)
            removed.add(key)
        else:
            entries[key] = argument
    parameters, fixed = [], []
    for line in entries.values():
        distributions, _, _ = _parsed(line)
        parameters += [Parameter(name, name, distribution) for name, distribution in distributions.items()]
        fixed += [] if distributions else [line]
    for condition, further in (when or {}).items():
        for key, value in further.items():
            if key in removed or any(_key(argument) == key for argument in arguments):
                continue  # the command line's own value holds under every condition
            distributions, _, _ = _parsed(f"{key}={value}")
            if not distributions:
                raise ConfigError(f"hydra.sweeper.when.{condition}.{key} must be a range or a choice, got {value}")
            parameters += [Parameter(f"{condition}:{key}", key, each, condition) for each in distributions.values()]
    space = Space(tuple(parameters), tuple(fixed), extend)
    _check(space, list(entries))
    return space


def key_of(name: str) -> str:
    """The key that a parameter of Optuna's overrides: its name without condition and version."""
    return name.rpartition(":")[2].partition("#")[0]


def ends(distribution: BaseDistribution) -> Sequence[Any]:
    """All choices of a categorical dimension, the lowest and the highest value of another."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.low, distribution.high


def grid_of(space: Space, choices: Callable[[BaseDistribution], Any]) -> dict[str, list]:
    """The values of each dimension for a grid sampler; `choices` is the official sweeper's own conversion."""
    if space.conditions():
        raise ConfigError("hydra/sweeper/sampler=grid knows no conditions (hydra.sweeper.when)")
    points = math.prod(_values(parameter.distribution) for parameter in space.parameters)
    if _MOST_POINTS < points < math.inf:  # what has no end of values is refused below
        raise ConfigError(f"hydra/sweeper/sampler=grid must have at most {_MOST_POINTS:,} points, got {points:,}")
    try:
        return {parameter.name: list(choices(parameter.distribution)) for parameter in space.parameters}
    except ValueError as error:
        raise ConfigError(f"hydra/sweeper/sampler=grid: {error}") from error


def values_of(config: DictConfig, keys: Sequence[str], choices: Mapping[str, str]) -> dict[str, Any]:
    """The values that a composed config holds for these keys, without those that it lacks; a config group's is the name
    of its choice."""
    values = {key: choices[key] if key in choices else OmegaConf.select(config, key, default=...) for key in keys}
    return {key: value for key, value in values.items() if value is not ...}


def _values(distribution: BaseDistribution) -> float:
    """How many values a dimension has."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    step = distribution.step  # type: ignore[attr-defined]
    width = distribution.high - distribution.low  # type: ignore[attr-defined]
    return math.inf if step is None else math.floor(width / step) + 1


def _check_listed(line: str) -> None:
    """Refuse a range whose values would all be written down, because they are shuffled, where they are too many."""
    value = OverridesParser.create().parse_override(line).value()
    if not (isinstance(value, RangeSweep) and (value.shuffle or value.transformers)):
        return
    count = abs((float(value.stop or 0) - float(value.start or 0)) / float(value.step or 1))
    if count > _MOST_CHOICES:
        raise ConfigError(f"{line}: a shuffled range must have at most {_MOST_CHOICES:,} values")


def _parsed(line: str) -> tuple[dict[str, BaseDistribution], dict[str, Any], list[str]]:
    try:
        _check_listed(line)
        parsed = create_params_from_overrides([line])
    except (HydraException, ValueError, TypeError, ArithmeticError, AssertionError, NotImplementedError) as error:
        said = " ".join(str(error).split()) or "it must be a choice, a range or an interval"
        infinite = isinstance(error, OverflowError) or "NaN" in said
        raise ConfigError(f"{line}: {_FINITE if infinite else said}") from error
    for distribution in parsed[0].values():
        _check_finite(line, distribution)
    return parsed


def _check_finite(line: str, distribution: BaseDistribution) -> None:
    """Refuse bounds between which nothing can be drawn, and NaN, which is equal to nothing, itself included."""
    if isinstance(distribution, CategoricalDistribution):
        if any(isinstance(choice, float) and math.isnan(choice) for choice in distribution.choices):
            raise ConfigError(f"{line}: a choice must not be nan")
        return
    low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(f"{line}: {_FINITE}")
    if isinstance(distribution, IntDistribution) and max(-low, high) > _LARGEST_INT:
        raise ConfigError(f"{line}: the bounds of a range of whole numbers must be at most {_LARGEST_INT}")
    if not math.isfinite(high - low):
        raise ConfigError(f"{line}: its bounds must not be further apart than a number can be large")


def _extend(function: Callable[[Trial], None], trial: Trial) -> None:
    try:
        function(trial)
    except (ConfigError, RunFailed):
        raise
    except Exception as error:  # the user's own code, which may raise whatever it wants
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"hydra.sweeper.custom_search_space: {what}") from error


def _check(space: Space, keys: list[str]) -> None:
    _check_not_empty(space)
    together = [key for key in _SHAPE if key in keys]
    if "model.hidden" in keys and together and not any(line == "model.hidden=null" for line in space.fixed):
        raise ConfigError(
            f"model.hidden replaces {together[0]}: both in one search space (~{together[0]} takes it out of the space)"
        )


def _check_not_empty(space: Space) -> None:
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


def _key(override: str) -> str:
    return str(OverridesParser.create().parse_override(override).key_or_group)


def _applies(parameter: Parameter, chosen: Mapping[str, Any]) -> bool:
    """Is a parameter searched where these values are chosen? ``model.bn=true`` holds where it is True."""
    if parameter.condition is None:
        return True
    key, _, wanted = parameter.condition.partition("=")
    return key in chosen and _same(chosen[key], wanted)


def _texts(chosen: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{key}={value}" for key, value in chosen.items())


def _nearest(distribution: BaseDistribution, value: Any) -> Any:
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
    if distribution.step is None:
        return clipped_float
    return distribution.low + round((clipped_float - distribution.low) / distribution.step) * distribution.step


def _nearest_choice(choices: Sequence[Any], value: Any) -> Any:
    for choice in choices:
        if _same(choice, value):
            return choice
    numbers = [choice for choice in choices if isinstance(choice, int | float) and not isinstance(choice, bool)]
    if numbers and isinstance(value, int | float):
        return min(numbers, key=lambda choice: abs(choice - value))
    return choices[0]


def _same(one: Any, other: Any) -> bool:
    """Are two values the same when they are typed? ``[512,256]``, a choice, is ``[512, 256]``, a config's value."""
    if one == other or _plain(one) == _plain(other):
        return True
    try:
        return float(one) == float(other)  # 1e-4 and 0.0001
    except (TypeError, ValueError):
        return False


def _plain(value: Any) -> str:
    return re.sub(r"[\s'\"]", "", str(value)).lower()
