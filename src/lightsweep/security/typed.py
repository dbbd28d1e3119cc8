"""What the person at this command line typed. A value that was typed may do what a config file's may not."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

_ENVIRONMENT = re.compile(r"oc\.env:\s*([A-Za-z_]\w*)")


@dataclass(frozen=True)
class Typed:
    """The keys that have a typed value, and the environment variables that typed values read.

    Args:
        keys: each with exactly this key: ``optimizer=adam`` chooses a file, and says nothing of what is in it.
        mappings: keys that were given a whole mapping, ``hydra.sweep={dir:x}``: they cover what lies below.
        variables: names in ``${oc.env:NAME}``.
    """

    keys: frozenset[str] = frozenset()
    mappings: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()

    def covers(self, key: str) -> bool:
        """Was the value of this key, ``hydra.run.dir``, typed?"""
        parts = key.split(".")
        above = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
        return key in self.keys or any(each in self.mappings for each in above)


def read(arguments: Sequence[str]) -> Typed:
    """What the arguments of a command give; options and what cannot be parsed are passed over."""
    parser = OverridesParser.create()
    keys, mappings = set(), set()
    for argument in arguments:
        if argument.startswith(("-", "~")) or "=" not in argument:
            continue
        try:
            override = parser.parse_override(argument)
        except HydraException:  # Hydra says so itself
            continue
        keys.add(override.key_or_group)
        if isinstance(override.value(), dict):
            mappings.add(override.key_or_group)
    variables = {name for argument in arguments for name in _ENVIRONMENT.findall(argument)}
    return Typed(frozenset(keys), frozenset(mappings), frozenset(variables))


_process: dict[str, Typed] = {}


def declare(typed: Typed) -> None:
    """Set what was typed, for this whole process: by a script that starts, or a worker that is handed its command's."""
    _process["typed"] = typed


def current() -> Typed:
    """What was typed; nothing before `declare`."""
    return _process.get("typed", Typed())
