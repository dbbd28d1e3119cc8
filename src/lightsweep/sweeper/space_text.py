"""A search space as it is written, in Hydra's sweep grammar, read by the official sweeper's own parser."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, RangeSweep
from hydra.errors import HydraException
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from lightsweep.core import overrides
from lightsweep.core.errors import ConfigError
from lightsweep.core.overrides import repair_value
from lightsweep.sweeper.optuna_private import create_params_from_overrides
from lightsweep.sweeper.space import Parameter, Space, check_not_empty

_MOST_CHOICES = 10_000  # Optuna writes them all down with each trial
_FINITE = "its bounds must be finite numbers"
_LARGEST_INT = 2**53  # samplers draw integers as floats, which are exact up to here


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
    entries = {str(key): _line(str(key), value, f"hydra.sweeper.params.{key}") for key, value in params.items()}
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
        distributions = _parsed(line)
        parameters += [Parameter(name, name, distribution) for name, distribution in distributions.items()]
        fixed += [] if distributions else [line]
    for condition, further in (when or {}).items():
        for key, value in further.items():
            if key in removed or any(_key(argument) == key for argument in arguments):
                continue  # the command line's own value holds under every condition
            parameters += _conditional(condition, key, value)
    space = Space(tuple(parameters), tuple(fixed), extend)
    if not space.parameters and space.extend is None:
        _check_lists(space.fixed)
    check_not_empty(space)
    return space


def _check_listed(line: str) -> None:
    """Refuse a range whose values would all be written down, because they are shuffled, where they are too many."""
    value = OverridesParser.create().parse_override(line).value()
    if not (isinstance(value, RangeSweep) and (value.shuffle or value.transformers)):
        return
    count = abs((float(value.stop or 0) - float(value.start or 0)) / float(value.step or 1))
    if count > _MOST_CHOICES:
        raise ConfigError(f"{line}: a shuffled range must have at most {_MOST_CHOICES:,} values")


def _conditional(condition: str, key: str, value: Any) -> Iterator[Parameter]:
    typed = f"hydra.sweeper.when.{condition}.{key}"
    distributions = _parsed(_line(key, value, typed))
    if not distributions:
        hint = f"; {overrides.format_choice(value)} searches these" if isinstance(value, list) else ""
        raise ConfigError(f"{typed} must be a range or a choice, got {value}{hint}")
    for each in distributions.values():
        yield Parameter(f"{condition}:{key}", key, each, condition)


def _line(key: str, value: Any, typed: str) -> str:
    """A value of a YAML file as an override: a text is in the grammar already.

    Args:
        typed: the key in the file.

    Raises:
        ConfigError: it is a mapping, as other tools have it, or as YAML nests keys.
    """
    if not isinstance(value, dict):
        return f"{key}={value if isinstance(value, str) else overrides.format_value(value)}"
    if ours := overrides.translate_mapping(value):
        raise ConfigError(f"{typed} must be written {ours}, got {value}")
    inner = next(iter(value), "KEY")
    raise ConfigError(f"{typed} must not be a mapping: write {key}.{inner}: {value.get(inner)}, got {value}")


def _parsed(line: str) -> dict[str, BaseDistribution]:
    """The dimension of an override, by its key; none where its value is fixed.

    Raises:
        ConfigError: it cannot be read, or nothing can be drawn from it.
    """
    try:
        _check_listed(line)
        found, _, _ = create_params_from_overrides([line])
    except (HydraException, ValueError, TypeError, ArithmeticError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"{line}: {_said(line, error)}") from error
    override = OverridesParser.create().parse_override(line)
    value = override.value()
    if isinstance(value, ChoiceSweep):
        found = {key: CategoricalDistribution([overrides.encode_choice(each) for each in value.list]) for key in found}
    if isinstance(value, dict) and (ours := overrides.translate_mapping(value)):
        raise ConfigError(f"{line}: type {shlex.quote(f'{override.get_key_element()}={ours}')} for a search")
    for distribution in found.values():
        _check_finite(line, distribution)
    return found


def _said(line: str, error: Exception) -> str:
    """What is wrong with a line, and what may have been meant."""
    said = " ".join(str(error).split()) or "it must be a choice, a range or an interval"
    if isinstance(error, OverflowError) or "NaN" in said:
        return _FINITE
    _, _, value = line.partition("=")
    meant = overrides.translate_call(value) or repair_value(value)
    if isinstance(error, HydraException) and meant and meant != value:
        return f"it cannot be read; write {meant}"
    return said.partition(". See https://")[0] if isinstance(error, HydraException) else said


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
        raise ConfigError(f"{line}: the bounds of a range of integers must be at most {_LARGEST_INT}")
    if not math.isfinite(high - low):
        raise ConfigError(f"{line}: its bounds must not be further apart than a number can be large")


def _check_lists(fixed: Sequence[str]) -> None:
    """Where nothing is searched, a list was meant as values to search."""
    for override in OverridesParser.create().parse_overrides(list(fixed)):
        value = override.value()
        if isinstance(value, list) and value and _is_config_key(override.key_or_group):
            key, ours = override.get_key_element(), overrides.format_choice(value)
            raise ConfigError(
                f"{override.key_or_group} is the list {value} in every trial, and nothing is searched:"
                f" {shlex.quote(f'{key}={ours}')} searches these values"
            )


def _key(override: str) -> str:
    return str(OverridesParser.create().parse_override(override).key_or_group)


def _is_config_key(key: str) -> bool:
    """Is it the key of a value, neither a config group nor one of Hydra's?"""
    return "." in key and not key.startswith("hydra.")
