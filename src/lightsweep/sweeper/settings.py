"""What is typed for a sweep: ``hydra.sweeper.*``, checked, and the search space in Hydra's sweep grammar."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from lightsweep.core import checks, overrides
from lightsweep.core.errors import ConfigError
from lightsweep.core.overrides import repair_value
from lightsweep.sweeper.optuna_access import create_params_from_overrides
from lightsweep.sweeper.space import Parameter, Space, check_not_empty

_MOST_CHOICES = 10_000  # Optuna writes them all with each trial
_FINITE = "its bounds must be finite numbers"
_LARGEST_INT = 2**53  # samplers draw integers as floats, which are exact up to here
_MOST_JOBS = 1000  # each has a process or a thread of the sweeper
_MOST_CONFIRMED = 1000  # fresh seeds; the means of 1000 runs differ by a thirtieth of the runs' spread


@dataclass(frozen=True)
class Settings:
    """``hydra.sweeper.*``, explained in conf/hydra/sweeper/lightsweep.yaml."""

    sampler: DictConfig
    pruner: DictConfig
    direction: str | None
    storage: str | None
    study_name: str
    n_trials: int
    n_jobs: int
    executor: str | None
    ray: dict[str, Any]
    batch: int
    on_interrupt: str
    timeout: float | None
    retries: int
    max_failures: int
    seeds: list[int] | None
    confirm: int
    enqueue: list[dict[str, Any]] | None
    allow_changed_space: bool
    custom_search_space: str | None
    preload: list[str]
    params: dict[str, Any] | None
    when: dict[str, dict[str, Any]] | None

    def __post_init__(self) -> None:
        checks.integer("hydra.sweeper.n_trials", self.n_trials, "[1, inf)")
        checks.integer("hydra.sweeper.n_jobs", self.n_jobs, f"[0, {_MOST_JOBS}]")
        checks.require(self.executor in (None, "ray"), "hydra.sweeper.executor", "be null or ray", self.executor)
        checks.integer("hydra.sweeper.batch", self.batch, f"[1, {_MOST_JOBS}]")
        checks.choice("hydra.sweeper.on_interrupt", self.on_interrupt, ("cancel", "leave"))
        checks.integer("hydra.sweeper.retries", self.retries, "[0, inf)")
        checks.integer("hydra.sweeper.max_failures", self.max_failures, "[1, inf)")
        checks.integer("hydra.sweeper.confirm", self.confirm, f"[0, {_MOST_CONFIRMED}]")
        checks.flag("hydra.sweeper.allow_changed_space", self.allow_changed_space)
        if self.timeout is not None:
            checks.number("hydra.sweeper.timeout", self.timeout, "(0, inf)")
        if self.direction is not None:
            checks.choice("hydra.sweeper.direction", self.direction, ("minimize", "maximize"))
        for name, node in (("sampler", self.sampler), ("pruner", self.pruner)):
            chosen = isinstance(node, DictConfig) and "_target_" in node
            checks.require(chosen, f"hydra.sweeper.{name}", f"be chosen by hydra/sweeper/{name}=NAME", node)
        checks.require(_is_text(self.study_name), "hydra.sweeper.study_name", "be a name", self.study_name)
        storage, extension, params = self.storage, self.custom_search_space, self.params
        rule = "be null, a path or an Optuna URL"
        checks.require(storage is None or _is_text(storage), "hydra.sweeper.storage", rule, storage)
        rule = "be null or a function's name"
        checks.require(extension is None or _is_text(extension), "hydra.sweeper.custom_search_space", rule, extension)
        rule = "be a mapping of keys to values"
        checks.require(params is None or _is_keyed(params), "hydra.sweeper.params", rule, params)
        points = [] if self.enqueue is None else self.enqueue
        keyed = isinstance(points, list) and all(_is_keyed(point) for point in points)
        rule = "be a list of points, [{optimizer.lr: 0.01}, …]"
        checks.require(keyed, "hydra.sweeper.enqueue", rule, self.enqueue)
        _check_resources(self.ray)
        _check_seeds(self.seeds)
        _check_preload(self.preload)
        _check_when(self.when)


def _check_resources(resources: Any) -> None:
    names = ("num_cpus", "num_gpus")
    known = isinstance(resources, dict) and sorted(resources) == sorted(names)
    checks.require(known, "hydra.sweeper.ray", f"have the keys {' and '.join(names)}", resources)
    for name in names:
        checks.number(f"hydra.sweeper.ray.{name}", resources[name], "[0, inf)")


def _check_seeds(seeds: Any) -> None:
    if seeds is not None:
        listed = isinstance(seeds, list) and seeds and all(type(seed) is int and seed >= 0 for seed in seeds)
        unique = bool(listed) and len(set(seeds)) == len(seeds)
        checks.require(unique, "hydra.sweeper.seeds", "be a list of different integers >= 0", seeds)


def _check_preload(modules: Any) -> None:
    key = "hydra.sweeper.preload"
    named = isinstance(modules, list) and all(_is_text(name) and name.strip(".") == name for name in modules)
    checks.require(named, key, "be a list of modules, [] for none", modules)
    for name in modules:  # only the outermost package is looked for: a search for an inner one would import it
        checks.require(find_spec(name.partition(".")[0]) is not None, key, "name modules that can be imported", name)


def _check_when(when: Any) -> None:
    key = "hydra.sweeper.when"
    checks.require(when is None or _is_keyed(when), key, "be a mapping of conditions to params", when)
    for condition, params in (when or {}).items():
        chosen, _, choice = condition.partition("=")
        checks.require(bool(chosen and choice), key, "have conditions KEY=CHOICE", condition)
        checks.require(_is_keyed(params), f"{key}.{condition}", "be a mapping of keys to ranges or choices", params)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_keyed(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def parse(
    params: Mapping[str, Any], when: Mapping[str, Mapping[str, Any]], arguments: Sequence[str], extend: Any = None
) -> Space:
    """Read a search space.

    Args:
        params: ``hydra.sweeper.params``: override by key; a sweep (``choice(…)``, ``interval(…)``, ``range(…)``)
            makes a parameter, anything else is fixed.
        when: ``hydra.sweeper.when``: further params under a condition, ``optimizer=sgd``.
        arguments: the command line's overrides, which win over `params`. ``~key`` removes a parameter.

    Raises:
        ConfigError: an impossible range, an unknown grammar, or keys that exclude each other.
    """
    entries = {key: _as_override(key, value, f"hydra.sweeper.params.{key}") for key, value in params.items()}
    conditional = {key for further in when.values() for key in further}
    typed = set()
    for argument in arguments:
        key = _override_key(argument)
        typed.add(key)
        if argument.startswith("~") and (key in entries or key in conditional):
            entries.pop(key, None)
        else:
            entries[key] = argument
    parameters, fixed = [], []
    for line in entries.values():
        distributions = _parse_override(line)
        parameters += [Parameter(name, name, distribution) for name, distribution in distributions.items()]
        fixed += [] if distributions else [line]
    for condition, further in when.items():
        for key, value in further.items():
            if key not in typed:  # the command line's value holds under every condition
                parameters += _parse_conditional(condition, key, value)
    space = Space(tuple(parameters), tuple(fixed), extend)
    if not space.parameters and space.extend is None:
        _check_fixed_lists(space.fixed)
    check_not_empty(space)
    return space


def _check_shuffled(line: str) -> None:
    """Refuse a shuffled range of too many values, which are all listed."""
    value = OverridesParser.create().parse_override(line).value()
    if not (isinstance(value, RangeSweep) and (value.shuffle or value.transformers)):
        return
    count = abs((float(value.stop or 0) - float(value.start or 0)) / float(value.step or 1))
    if count > _MOST_CHOICES:
        raise ConfigError(f"{line}: a shuffled range must have at most {_MOST_CHOICES:,} values")


def _parse_conditional(condition: str, key: str, value: Any) -> Iterator[Parameter]:
    typed = f"hydra.sweeper.when.{condition}.{key}"
    distributions = _parse_override(_as_override(key, value, typed))
    if not distributions:
        hint = f"; {overrides.format_choice(value)} searches these" if isinstance(value, list) else ""
        raise ConfigError(f"{typed} must be a range or a choice, got {value}{hint}")
    for each in distributions.values():
        yield Parameter(f"{condition}:{key}", key, each, condition)


def _as_override(key: str, value: Any, typed: str) -> str:
    """A value of a YAML file as an override: a text is in the grammar already.

    Args:
        typed: the key in the file.

    Raises:
        ConfigError: it is a mapping, as other tools write a range, or as YAML nests keys.
    """
    if not isinstance(value, dict):
        return f"{key}={value if isinstance(value, str) else overrides.format_value(value)}"
    if ours := overrides.translate_mapping(value):
        raise ConfigError(f"{typed} must be written {ours}, got {value}")
    inner = next(iter(value), "KEY")
    raise ConfigError(f"{typed} must not be a mapping: write {key}.{inner}: {value.get(inner)}, got {value}")


def _parse_override(line: str) -> dict[str, BaseDistribution]:
    """The distribution of an override, by its key; none where its value is fixed.

    Raises:
        ConfigError: it cannot be read, or nothing can be drawn from it.
    """
    try:
        _check_shuffled(line)
        found, _, _ = create_params_from_overrides([line])
    except (HydraException, ValueError, TypeError, ArithmeticError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"{line}: {_describe_error(line, error)}") from error
    override = OverridesParser.create().parse_override(line)
    value = override.value()
    if isinstance(value, ChoiceSweep):
        found = {key: CategoricalDistribution([overrides.encode_choice(each) for each in value.list]) for key in found}
    if isinstance(value, dict) and (ours := overrides.translate_mapping(value)):
        raise ConfigError(f"{line}: type {shlex.quote(f'{override.get_key_element()}={ours}')} for a search")
    for distribution in found.values():
        _check_finite(line, distribution)
    return found


def _describe_error(line: str, error: Exception) -> str:
    """What is wrong with an override, and a proposal."""
    reason = " ".join(str(error).split()) or "it must be a choice, a range or an interval"
    if isinstance(error, OverflowError) or "NaN" in reason:
        return _FINITE
    _, _, value = line.partition("=")
    meant = overrides.translate_call(value) or repair_value(value)
    if isinstance(error, HydraException) and meant and meant != value:
        return f"it cannot be read; write {meant}"
    return reason.partition(". See https://")[0] if isinstance(error, HydraException) else reason


def _check_finite(line: str, distribution: BaseDistribution) -> None:
    """Refuse bounds between which nothing can be drawn, and NaN, which does not even equal itself."""
    if isinstance(distribution, CategoricalDistribution):
        if any(isinstance(choice, float) and math.isnan(choice) for choice in distribution.choices):
            raise ConfigError(f"{line}: a choice must not be nan")
        return
    low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(f"{line}: {_FINITE}")
    if isinstance(distribution, IntDistribution) and max(-low, high) > _LARGEST_INT:
        raise ConfigError(f"{line}: the bounds of a range of integers must be at most {_LARGEST_INT}")
    if not math.isfinite(high - low):
        raise ConfigError(f"{line}: its bounds must not be further apart than a number can be large")


def _check_fixed_lists(fixed: Sequence[str]) -> None:
    """Where nothing is searched, a list was meant as values to search."""
    for override in OverridesParser.create().parse_overrides(list(fixed)):
        value, name = override.value(), override.key_or_group
        if isinstance(value, list) and value and "." in name and not name.startswith("hydra."):  # no config group
            key, ours = override.get_key_element(), overrides.format_choice(value)
            raise ConfigError(
                f"{name} is the list {value} in every trial, and nothing is searched:"
                f" {shlex.quote(f'{key}={ours}')} searches these values"
            )


def _override_key(override: str) -> str:
    return str(OverridesParser.create().parse_override(override).key_or_group)
