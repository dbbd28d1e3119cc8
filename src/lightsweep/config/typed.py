"""What was typed on the command line: a typed value is allowed more than the value of a config file."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException

_ENVIRONMENT = re.compile(r"oc\.env:\s*([A-Za-z_]\w*)")
_ABSENT = object()


@dataclass(frozen=True)
class Typed:
    """The keys with a typed value, and the environment variables that typed values read.

    Args:
        values: by key, ``hydra.run.dir``, each value that was typed for it, several in a grid. ``optimizer=adam``
            chooses a file, whose values are not typed.
        variables: names in ``${oc.env:NAME}``.
    """

    values: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    variables: frozenset[str] = frozenset()

    def covers(self, key: str) -> bool:
        """Was a value typed for this key?"""
        return key in self.values

    def holding_in(self, config: Mapping[str, Any]) -> "Typed":
        """The typed values that a config has. A trial may have other values of a typed key, from the study.

        Args:
            config: plain dicts with their interpolations, as typed values have them.
        """
        held = {key: values for key, values in self.values.items() if _at(config, key) in values}
        return replace(self, values=held)


def read(arguments: Sequence[str]) -> Typed:
    """What was typed by these arguments; options and unreadable arguments are skipped."""
    parser = OverridesParser.create()
    values: dict[str, tuple[Any, ...]] = {}
    for argument in arguments:
        if argument.startswith(("-", "~")) or "=" not in argument:
            continue
        try:
            override = parser.parse_override(argument)
        except HydraException:  # Hydra reports it
            continue
        for value in _values(override):
            for key, leaf in _leaves(override.key_or_group, value):
                values[key] = (*values.get(key, ()), leaf)
    variables = {name for argument in arguments for name in _ENVIRONMENT.findall(argument)}
    return Typed(values, frozenset(variables))


def _values(override: Override) -> Iterator[Any]:
    value = override.value()
    if isinstance(value, ChoiceSweep):
        yield from value.list
    else:
        yield value


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _leaves(f"{key}.{name}", item)
    else:
        yield key, value


def _at(config: Mapping[str, Any], key: str) -> Any:
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return _ABSENT
        node = node[part]
    return node


_process: dict[str, Typed] = {}


def declare(typed: Typed) -> None:
    """Set what was typed for this process: in a script that starts, or in a worker."""
    _process["typed"] = typed


def current() -> Typed:
    """What was typed; nothing before `declare`."""
    return _process.get("typed", Typed())
