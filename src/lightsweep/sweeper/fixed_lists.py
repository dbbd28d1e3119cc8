"""A list that is fixed where one value is taken: it was meant as values to search."""

import shlex
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from lightsweep.config import build, permissions
from lightsweep.config.keys import has_key
from lightsweep.core import overrides
from lightsweep.core.errors import ConfigError
from lightsweep.sweeper.plan import Plan

_LISTS = ("Sequence", "list", "List", "tuple", "Tuple", "Iterable", "Collection", "Any")


def check(plan: Plan) -> None:
    """See that a fixed list stands where a list is taken. Every trial would be refused for it otherwise.

    Raises:
        ConfigError: names the key and the choice to write.
    """
    parsed = OverridesParser.create().parse_overrides(list(plan.space.fixed))
    for override in parsed:
        if isinstance(value := override.value(), list) and value and not override.is_delete():
            _check(override, value, plan)


def _check(override: Override, value: list[Any], plan: Plan) -> None:
    key = override.key_or_group
    if plan.context.config_loader.get_group_options(key):  # callbacks=[default,ema]
        return
    config: Any = OmegaConf.to_container(plan.compose(_without(override, plan)), resolve=False)
    stands = _at(config, key)
    if isinstance(stands, list):
        taken = isinstance(value[0], list) == bool(stands and isinstance(stands[0], list))
    else:
        taken = not isinstance(value[0], list) and _takes_a_list(config, key)
    if not taken:
        typed = f"{override.get_key_element()}={overrides.format_choice(value)}"
        raise ConfigError(
            f"{key} must be one value in each trial, got the list {value}: {shlex.quote(typed)} searches these"
            f" (in a file, hydra.sweeper.params.{key}: {overrides.format_choice(value)})"
        )


def _without(override: Override, plan: Plan) -> list[str]:
    return [line for line in plan.space.fixed if line != override.input_line]


def _takes_a_list(config: dict[str, Any], key: str) -> bool:
    """Whether the class that the value goes to says that it takes a list, or does not say."""
    above, _, name = key.rpartition(".")
    target = _at(config, f"{above}.{permissions.TARGET}") if above else None
    if not isinstance(target, str):
        return False
    parameters = build.find_parameters(target)
    if parameters is None or name not in parameters:
        return True
    said = parameters[name].annotation
    return said is parameters[name].empty or any(word in str(said) for word in _LISTS)


def _at(config: Any, key: str) -> Any:
    if not has_key(config, tuple(key.split("."))):
        return None
    node = config
    for part in key.split("."):
        node = node[int(part)] if isinstance(node, list) else node[part]
    return node
