"""What ``${…}`` of a config may do: nothing that reads a secret, imports a module or makes an object's node.

OmegaConf's own resolvers are replaced by narrower ones, for the whole process.
"""

from collections.abc import Mapping
from typing import Any

from omegaconf import Container, Node, OmegaConf
from omegaconf.resolvers import oc

from lightsweep.config import typed
from lightsweep.core.errors import ConfigError

READABLE = frozenset({"LIGHTSWEEP_DATA"})  # the environment variables that conf/ reads
_NONE = object()
_TYPES = ("bool", "bytes", "float", "int", "str")
_CALLS = ("_target_", "()")  # by these a mapping is an object: Hydra's, and logging's


def restrict() -> None:
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
