"""What a config may do: the targets that it may call, the paths that it may name, the interpolations that it may use.

Targets are compared with the allowlist at any depth, before anything is imported. Paths must be below the run's folder
unless they were typed. Interpolations must not read a secret, import a module or make a node with a target: OmegaConf's
own resolvers are replaced by narrower ones, in this process.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep
from hydra.errors import HydraException
from omegaconf import Container, Node, OmegaConf
from omegaconf.resolvers import oc

from lightsweep.config import allowlist
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import OUTPUTS, is_inside

_ENVIRONMENT = re.compile(r"oc\.env:\s*([A-Za-z_]\w*)")
_ABSENT = object()
_typed_values: dict[str, "Typed"] = {}  # of this process


def walk(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A node of plain dicts and lists and all that is below it, each with its path."""
    yield path, node
    below = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list | tuple) else ()
    for name, value in below:
        yield from walk(value, (*path, str(name)))


def find_value(config: Any, path: Sequence[str], default: Any = None) -> Any:
    """The value at a path of plain dicts, as it is written; the default where there is none."""
    for part in path:
        if not isinstance(config, Mapping) or part not in config:
            return default
        config = config[part]
    return config


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
        kept = {
            key: values for key, values in self.values.items() if find_value(config, key.split("."), _ABSENT) in values
        }
        return replace(self, values=kept)


def read_typed(arguments: Sequence[str]) -> Typed:
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
        typed = override.value()
        for value in typed.list if isinstance(typed, ChoiceSweep) else [typed]:
            for key, leaf in _leaves(override.key_or_group, value):
                values[key] = (*values.get(key, ()), leaf)
    variables = {name for argument in arguments for name in _ENVIRONMENT.findall(argument)}
    return Typed(values, frozenset(variables))


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _leaves(f"{key}.{name}", item)
    else:
        yield key, value


def declare_typed(typed: Typed) -> None:
    """Set what was typed for this process: in a script that starts, or in a worker."""
    _typed_values["typed"] = typed


def typed_here() -> Typed:
    """What was typed; nothing before `declare_typed`."""
    return _typed_values.get("typed", Typed())


TARGET = "_target_"
PARTIAL = "_partial_"


def check_targets(node: Any, key: str = "") -> None:
    """Compare a node of plain dicts and lists, and all below it, with the allowlist.

    Args:
        node: interpolations may be resolved or not; one as a ``_target_`` is refused.
        key: of the node, ``callbacks.checkpoint``; "" for the root of a config.

    Raises:
        ConfigError: a target is not allowed. Nothing was imported.
    """
    for path, each in walk(node, tuple(key.split(".")) if key else ()):
        if isinstance(each, Mapping) and TARGET in each:
            _check_target(each, path)


def _check_target(node: Mapping[str, Any], path: tuple[str, ...]) -> None:
    key, name, slot = ".".join(path), node[TARGET], allowlist.find_node(path)
    if not isinstance(name, str):
        raise ConfigError(f"{key}.{TARGET} must be a dotted name, got {name!r}")
    if allowlist.is_trusted(name):
        return
    advice = allowlist.describe_trust(name)
    if slot is None:
        raise ConfigError(f"{key} must not have a {TARGET}: no object is allowed here, got {name!r}; {advice}")
    if name not in slot.names:
        raise ConfigError(f"{key}.{TARGET} must be in the allowlist of this key, got {name!r}; {advice}")
    allowed = allowlist.ARGUMENTS.get(name)
    for argument in node:
        if argument == TARGET or (argument == PARTIAL and slot.partial):
            continue
        if key == "hydra.sweeper" and argument == "_recursive_" and node[argument] is False:  # it builds its own parts
            continue
        if str(argument).startswith("_") and str(argument).endswith("_"):  # by such keys Hydra would call differently
            raise ConfigError(f"{key}.{argument} must be left out: {name} takes keywords only")
        if allowed is not None and argument not in allowed:
            raise ConfigError(f"{key}.{argument} must be left out: {name} takes {', '.join(sorted(allowed))}")


def find_targets(node: Any) -> list[str]:
    """Every ``_target_`` in a node of plain dicts and lists."""
    return [each[TARGET] for _, each in walk(node) if isinstance(each, Mapping) and TARGET in each]


# In the name of a checkpoint: {epoch}, {val/acc:.3f}. Python's format would also reach attributes and items of a value.
_FIELD = re.compile(r"\{\w+(/\w+)?(:[0-9.]*[defg]?)?\}")


def check_paths(values: Mapping[str, Any], key: str, folder: Path) -> None:
    """See that no argument of a target leads out of the run's folder, or to a network address.

    Args:
        values: the target's, resolved.
        key: of the node in the config, ``logger.csv``.
        folder: the run's.

    Raises:
        ConfigError: names the key and the value.
    """
    name = values.get(TARGET)
    for arguments in allowlist.PATHS.get(str(name), ()):
        _check_path(values, key, arguments, folder)
    for argument, only in allowlist.FIXED.get(str(name), {}).items():
        if values.get(argument, only) != only and not typed_here().covers(f"{key}.{argument}"):
            raise ConfigError(f"{key}.{argument} must be {only!r} unless it is typed, got {values[argument]!r}")


def _check_path(values: Mapping[str, Any], key: str, arguments: allowlist.PathArguments, folder: Path) -> None:
    base, path = folder if arguments.own is None else OUTPUTS / arguments.own, Path.cwd()
    for argument in arguments.parts:
        value = values.get(argument)
        if value is None:
            path = path if argument != arguments.parts[0] else folder  # Lightning's default: below the run's folder
            continue
        path = path / str(value)
        if typed_here().covers(f"{key}.{argument}"):
            base = path
        elif _leads_elsewhere(str(value)) or not is_inside(path, base):
            raise ConfigError(
                f"{key}.{argument} must lie in {base} unless it is typed on the command line, got {value!r}"
            )


def _leads_elsewhere(text: str) -> bool:
    """Is it a network address, or would a library make another path of it?"""
    rest = _FIELD.sub("", text)
    return "://" in text or "::" in text or text.startswith("~") or "$" in text or "{" in rest or "}" in rest


READABLE = frozenset({"LIGHTSWEEP_DATA"})  # the environment variables that conf/ reads
_NONE = object()
_TYPES = ("bool", "bytes", "float", "int", "str")
_CALLS = ("_target_", "()")  # by these a mapping is an object: Hydra's, and logging's


def restrict_interpolations() -> None:
    """Replace ``oc.env``, ``oc.create``, ``oc.decode`` and ``oc.coerce``; idempotent."""
    for name, resolver in (("env", _env), ("create", _create), ("decode", _decode), ("coerce", _coerce)):
        OmegaConf.register_resolver(f"oc.{name}", resolver, replace=True, annotation_validation="off")


def _env(key: str, default: Any = _NONE) -> str | None:
    """The value of an environment variable that conf/ reads, or that was typed: others may be secrets."""
    if key not in READABLE | typed_here().variables:
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
    if any(isinstance(each, Mapping) and any(call in each for call in _CALLS) for _, each in walk(plain)):
        raise ConfigError("an interpolation must not make a mapping with a _target_")
    return value
