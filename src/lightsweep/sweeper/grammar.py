"""A search space as it is written: Hydra's sweep grammar as Optuna's distributions, alike on all versions of Hydra."""

import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from math import ceil, ulp
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, RangeSweep, Transformer
from hydra.errors import HydraException
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lightsweep.core import overrides
from lightsweep.core.errors import ConfigError
from lightsweep.core.overrides import repair_value
from lightsweep.sweeper.space import Parameter, Space, check_not_empty

_MOST_CHOICES = 10_000  # Optuna writes them all down with each trial
_FINITE = "its bounds must be finite numbers"
_LARGEST_INT = 2**53  # samplers draw integers as floats, which are exact up to here
_CAST = re.compile(r"\b(int|float|bool|str)\s*\(\s*range\b")


def parse(
    params: Mapping[str, Any],
    when: Mapping[str, Mapping[str, Any]],
    arguments: Sequence[str],
    extend: Any = None,
    *,
    may_be_empty: bool = False,
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
    if may_be_empty:
        return space
    if not space.parameters and space.extend is None:
        _check_fixed_lists(space.fixed)
    check_not_empty(space)
    return space


def _check_listed(override: Override) -> None:
    """Refuse a range of too many values where they are listed, because they are shuffled or cast one by one."""
    value: Any = override.value()
    if not (isinstance(value, RangeSweep) and (value.shuffle or _is_cast(override))):
        return
    count = abs((float(value.stop or 0) - float(value.start or 0)) / float(value.step or 1))
    if count > _MOST_CHOICES:
        raise ConfigError(f"{override.input_line}: a range that is listed must have at most {_MOST_CHOICES:,} values")


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
        override = OverridesParser.create().parse_override(line)
        _check_listed(override)
        found = distribution_of(override)
    except (HydraException, ValueError, TypeError, ArithmeticError, AssertionError) as error:
        raise ConfigError(f"{line}: {_describe_error(line, error)}") from error
    key, value = override.get_key_element(), override.value()
    if isinstance(value, dict) and (ours := overrides.translate_mapping(value)):
        raise ConfigError(f"{line}: type {shlex.quote(f'{key}={ours}')} for a search")
    if found is None:
        return {}
    if isinstance(value, ChoiceSweep):
        found = CategoricalDistribution([overrides.encode_choice(each) for each in value.list])
    _check_finite(line, found)
    return {key: found}


def _describe_error(line: str, error: Exception) -> str:
    """What is wrong with an override, and a proposal."""
    reason = " ".join(str(error).split()) or "it must be a choice, a range or an interval"
    if isinstance(error, OverflowError) or "NaN" in reason:
        return _FINITE
    _, _, value = line.partition("=")
    if value.count("(") > value.count(")"):
        return "a ) is missing; between the braces of YAML a comma ends a value that is not in quotes"
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


def distribution_of(override: Override) -> BaseDistribution | None:
    """What a sweep draws from for an override; None where its value is fixed.

    ``choice(…)``, ``a,b``, a shuffled or cast ``range(…)``: a categorical distribution of the values, in their order.
    ``range(…)``: an integer or float distribution with a step; its end is exclusive, as in Hydra. ``interval(…)``: an
    integer distribution between two integers, else a float one; logarithmic with ``tag(log, …)``.

    Raises:
        ValueError: nothing can be drawn from it.
    """
    if override.is_delete() or not override.is_sweep_override():
        return None
    value: Any = override.value()
    if isinstance(value, Glob):
        raise ValueError("a glob must not be searched: list its choices")
    if isinstance(value, IntervalSweep):
        return _interval(value)
    if isinstance(value, RangeSweep) and not (value.shuffle or _is_cast(override)):
        return _range(override, value)
    return _choices(override)


def _choices(override: Override) -> CategoricalDistribution:
    """All values in the order in which they are written: a shuffled order would be another one at each start."""
    value: Any = override.value()
    ordered = replace(override, _value=replace(value, shuffle=False))
    choices: list[Any] = list(ordered.sweep_iterator(transformer=Transformer.encode))
    return CategoricalDistribution(choices)


def _is_cast(override: Override) -> bool:
    """Whether the values of a range are cast one by one; Hydra 1.3 casts its bounds, and keeps no other trace."""
    return _CAST.search(override.input_line or "") is not None


def _interval(value: IntervalSweep) -> BaseDistribution:
    low, high = _plain(value.start), _plain(value.end)
    log = "log" in value.tags
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _range(override: Override, value: RangeSweep) -> BaseDistribution:
    start, stop, step = _plain(value.start), _plain(value.stop), _plain(value.step)
    if step == 0:
        raise ValueError("the step of a range must not be 0")
    if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
        values = range(start, stop, step)
        if not values:
            raise ValueError("a range must hold at least one value")
        return IntDistribution(min(values[0], values[-1]), max(values[0], values[-1]), step=abs(step))
    begin, end, width = (Decimal(str(each)) for each in (start, stop, step))
    count = ceil((Fraction(end) - Fraction(begin)) / Fraction(width))
    if count <= 0:
        raise ValueError("a range must hold at least one value")
    last = begin + (count - 1) * width
    low, high, pace = float(min(begin, last)), float(max(begin, last)), float(abs(width))
    exact = Decimal(str(low)) == min(begin, last) and Decimal(str(high)) == max(begin, last)
    if not exact or Decimal(str(pace)) != abs(width) or (low != high and pace < max(ulp(low), ulp(high))):
        if count > _MOST_CHOICES:
            raise ValueError("floats cannot hold the values of this range")
        return _choices(override)  # they can be listed
    return FloatDistribution(low, high, step=pace)


def _plain(value: Any) -> int | float:
    """A bound as an int or a float: some versions of Hydra hold it as a Decimal."""
    return float(value) if isinstance(value, Decimal) else value
