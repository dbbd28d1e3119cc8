"""A config compared with the table: every ``_target_`` in it, at any depth, before anything is imported."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import Container, Node, OmegaConf
from omegaconf.resolvers import oc

from lightsweep.config import allowlist, typed
from lightsweep.core.errors import ConfigError
from lightsweep.core.paths import OUTPUTS, is_inside

TARGET = "_target_"
_PARTIAL = "_partial_"


def check_targets(node: Any, key: str = "") -> None:
    """Compare a node, plain dicts and lists, and all that is below it.

    Args:
        node: interpolations may be resolved or not; one as a ``_target_`` is refused.
        key: the node's, ``callbacks.checkpoint``; "" for a whole config.

    Raises:
        ConfigError: something may not be called. Nothing was imported.
    """
    _check_node(node, tuple(key.split(".")) if key else ())


def _check_node(node: Any, path: tuple[str, ...]) -> None:
    if isinstance(node, Mapping):
        if TARGET in node:
            _check_target(node, path)
        for name, value in node.items():
            _check_node(value, (*path, str(name)))
    elif isinstance(node, list | tuple):
        for place, value in enumerate(node):
            _check_node(value, (*path, str(place)))


def _check_target(node: Mapping[str, Any], path: tuple[str, ...]) -> None:
    key, name, slot = ".".join(path), node[TARGET], allowlist.find_node(path)
    if not isinstance(name, str):
        raise ConfigError(f"{key}.{TARGET} must be a dotted name, got {name!r}")
    if allowlist.is_trusted(name):
        return
    advice = allowlist.describe_trust(name)
    if slot is None:
        raise ConfigError(f"{key} must not have a {TARGET}: no object may stand there, got {name!r}; {advice}")
    if name not in slot.names:
        raise ConfigError(f"{key}.{TARGET} must be in the table of what may stand there, got {name!r}; {advice}")
    allowed = allowlist.ARGUMENTS.get(name)
    for argument in node:
        if argument == TARGET or (argument == _PARTIAL and slot.partial):
            continue
        if _is_private(argument):
            raise ConfigError(f"{key}.{argument} must be left out: {name} takes keywords only")
        if allowed is not None and argument not in allowed:
            raise ConfigError(f"{key}.{argument} must be left out: {name} takes {', '.join(sorted(allowed))}")


def find_targets(node: Any) -> list[str]:
    """Every ``_target_`` in a node of plain dicts and lists."""
    if isinstance(node, Mapping):
        here = [node[TARGET]] if TARGET in node else []
        return here + [name for value in node.values() for name in find_targets(value)]
    if isinstance(node, list | tuple):
        return [name for value in node for name in find_targets(value)]
    return []


def _is_private(argument: Any) -> bool:
    """``_args_`` and its like, by which Hydra would call in another way."""
    return isinstance(argument, str) and argument.startswith("_") and argument.endswith("_")


# Of a checkpoint's name: {epoch}, {val/acc:.3f}. Python's format would also reach attributes and items of a value.
_FIELD = re.compile(r"\{\w+(/\w+)?(:[0-9.]*[defg]?)?\}")


def check_paths(values: Mapping[str, Any], key: str, folder: Path) -> None:
    """See that what a target is given leads nowhere outside the run's folder, and to no address.

    Args:
        values: the target's, resolved.
        key: where it stands in the config, ``logger.csv``.
        folder: the run's.

    Raises:
        ConfigError: names the key and the value.
    """
    name = values.get(TARGET)
    for place in allowlist.PATHS.get(str(name), ()):
        _check_path(values, key, place, folder)
    for argument, only in allowlist.FIXED.get(str(name), {}).items():
        if values.get(argument, only) != only and not typed.current().covers(f"{key}.{argument}"):
            raise ConfigError(f"{key}.{argument} must be {only!r} unless it is typed, got {values[argument]!r}")


def _check_path(values: Mapping[str, Any], key: str, place: allowlist.PathArguments, folder: Path) -> None:
    base, path = folder if place.own is None else OUTPUTS / place.own, Path.cwd()
    for argument in place.parts:
        value = values.get(argument)
        if value is None:
            path = path if argument != place.parts[0] else folder  # Lightning's default: below the run's folder
            continue
        path = path / str(value)
        if typed.current().covers(f"{key}.{argument}"):
            base = path
        elif _leads_elsewhere(str(value)) or not is_inside(path, base):
            raise ConfigError(
                f"{key}.{argument} must lie in {base} unless it is typed on the command line, got {value!r}"
            )


def _leads_elsewhere(text: str) -> bool:
    """Is it an address, or would a library make another path of it?"""
    rest = _FIELD.sub("", text)
    return "://" in text or "::" in text or text.startswith("~") or "$" in text or "{" in rest or "}" in rest


READABLE = frozenset({"LIGHTSWEEP_DATA"})  # the environment variables that conf/ reads
_NONE = object()
_TYPES = ("bool", "bytes", "float", "int", "str")
_CALLS = ("_target_", "()")  # by these a mapping is an object: Hydra's, and logging's


def restrict_interpolations() -> None:
    """Replace ``oc.env``, ``oc.create``, ``oc.decode`` and ``oc.coerce``; again does nothing new."""
    for name, resolver in (("env", _env), ("create", _create), ("decode", _decode), ("coerce", _coerce)):
        OmegaConf.register_resolver(f"oc.{name}", resolver, replace=True, annotation_validation="off")


def _env(key: str, default: Any = _NONE) -> str | None:
    """The variable's value, if conf/ reads it or the person typed it: a config must not carry a secret away."""
    if key not in READABLE | typed.current().variables:
        raise ConfigError(
            f"${{oc.env:{key}}} must be typed on the command line: a config file may read {', '.join(sorted(READABLE))}"
        )
    return oc.env(key) if default is _NONE else oc.env(key, default)


def _create(obj: Any, _parent_: Container) -> Any:
    return _harmless(oc.create(obj, _parent_))


def _decode(expr: str | None, _parent_: Container, _node_: Node) -> Any:
    return _harmless(oc.decode(expr, _parent_, _node_))


def _coerce(type_name: str, value: Any) -> Any:
    if type_name not in _TYPES:  # OmegaConf would import its module
        raise ConfigError(f"${{oc.coerce:{type_name}}} must be one of {', '.join(_TYPES)}")
    return oc.coerce(type_name, value)


def _harmless(value: Any) -> Any:
    plain = OmegaConf.to_container(value, resolve=False) if OmegaConf.is_config(value) else value
    if _makes_an_object(plain):
        raise ConfigError("an interpolation must not make a mapping with a _target_")
    return value


def _makes_an_object(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(call in value for call in _CALLS) or any(_makes_an_object(item) for item in value.values())
    return isinstance(value, list | tuple) and any(_makes_an_object(item) for item in value)
