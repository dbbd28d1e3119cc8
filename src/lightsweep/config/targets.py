"""A config compared with the table: every ``_target_`` in it, at any depth, before anything is imported."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf, flag_override

from lightsweep.config import table
from lightsweep.core import moved
from lightsweep.core.errors import ConfigError

TARGET = "_target_"
_PARTIAL = "_partial_"


def check(node: Any, key: str = "") -> None:
    """Compare a node, plain dicts and lists, and all that is below it.

    Args:
        node: interpolations may be resolved or not; one as a ``_target_`` is refused.
        key: the node's, ``callbacks.checkpoint``; "" for a whole config.

    Raises:
        ConfigError: something may not be called. Nothing was imported.
    """
    _check(node, tuple(key.split(".")) if key else ())


def _check(node: Any, path: tuple[str, ...]) -> None:
    if isinstance(node, Mapping):
        if TARGET in node:
            _check_target(node, path)
        for name, value in node.items():
            _check(value, (*path, str(name)))
    elif isinstance(node, list | tuple):
        for place, value in enumerate(node):
            _check(value, (*path, str(place)))


def _check_target(node: Mapping[str, Any], path: tuple[str, ...]) -> None:
    key, name, slot = ".".join(path), node[TARGET], table.slot(path)
    if not isinstance(name, str):
        raise ConfigError(f"{key}.{TARGET} must be a dotted name, got {name!r}")
    if table.is_trusted(name):
        return
    advice = table.advice(name)
    if slot is None:
        raise ConfigError(f"{key} must not have a {TARGET}: no object may stand there, got {name!r}; {advice}")
    if name not in slot.names:
        raise ConfigError(f"{key}.{TARGET} must be in the table of what may stand there, got {name!r}; {advice}")
    allowed = table.ARGUMENTS.get(name)
    for argument in node:
        if argument == TARGET or (argument == _PARTIAL and slot.partial):
            continue
        if _is_private(argument):
            raise ConfigError(f"{key}.{argument} must be left out: {name} takes keywords only")
        if allowed is not None and argument not in allowed:
            raise ConfigError(f"{key}.{argument} must be left out: {name} takes {', '.join(sorted(allowed))}")


def rename_moved(config: DictConfig) -> None:
    """Give each ``_target_`` of a composed config, in place, its name of today. Nothing is resolved."""
    plain: Any = OmegaConf.to_container(config, resolve=False)
    with flag_override(config, "readonly", False):
        _rename_below(config, plain)


def _rename_below(node: Any, plain: Any) -> None:
    """`plain` says what of the node is a node itself: an interpolation is a text there."""
    for key, value in plain.items() if isinstance(plain, dict) else enumerate(plain):
        if isinstance(value, dict | list):
            _rename_below(node[key], value)
        elif key == TARGET and value in moved.MOVED:
            node[key] = moved.MOVED[value]


def names(node: Any) -> list[str]:
    """Every ``_target_`` in a node of plain dicts and lists."""
    if isinstance(node, Mapping):
        here = [node[TARGET]] if TARGET in node else []
        return here + [name for value in node.values() for name in names(value)]
    if isinstance(node, list | tuple):
        return [name for value in node for name in names(value)]
    return []


def _is_private(argument: Any) -> bool:
    """``_args_`` and its like, by which Hydra would call in another way."""
    return isinstance(argument, str) and argument.startswith("_") and argument.endswith("_")
