"""From a node of the config to the object that it names, if the allowlist has it; errors name the key of the node.

The keys of a node are compared with the arguments of its class. Only where a key is not in the file of that class in
conf/ is the class imported for it: those keys are known to be right.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from lightsweep.config import allowlist, permissions
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import ROOT
from lightsweep.core.text import did_you_mean

_OWN = "lightsweep."
_MOST_LISTED = 12
_MISSING = "???"  # Hydra's mark of a value that must be given


def check_arguments(cfg: DictConfig) -> None:
    """Compare the keys of all nodes with the arguments of their classes.

    Raises:
        ConfigError: a class has no such argument; names the key.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=False)
    for path, node in permissions.walk(plain):
        if isinstance(node, Mapping) and path[:1] != ("hydra",):
            check_node_arguments(".".join(path), node)


def check_node_arguments(key: str, node: Mapping[str, Any]) -> None:
    """Compare the keys of one node, without those below it.

    Raises:
        ConfigError: its class has no such argument.
    """
    target, allowed = node.get(permissions.TARGET), allowlist.find_node(key.split("."))
    if not isinstance(target, str) or not (allowlist.is_trusted(target) or (allowed and target in allowed.names)):
        return  # nothing is imported that is not allowed
    known = default_arguments().get(target, ())
    further = [str(name) for name in node if not str(name).startswith("_") and name not in known]
    if not further or (taken := find_parameters(target)) is None:
        return
    for name in further:
        if name not in taken:
            near = did_you_mean(f"{key}.{name}", [f"{key}.{each}" for each in taken])
            takes = f"; it takes {', '.join(taken) or 'none'}" if len(taken) <= _MOST_LISTED else ""
            raise ConfigError(f"{key}.{name}: {target} has no such argument{near or takes}")


def find_parameters(name: str) -> Mapping[str, inspect.Parameter] | None:
    """The parameters of a class or function; None where it takes any name, or cannot be imported."""
    try:
        return _parameters(get_object(name))
    except Exception:  # of a user's module; reported where the object is built
        return None


def _parameters(target: Callable) -> Mapping[str, inspect.Parameter] | None:
    """None also where there is no signature."""
    try:
        found = dict(inspect.signature(target).parameters)
    except (TypeError, ValueError):  # written in C
        return None
    if all(each.kind != inspect.Parameter.VAR_KEYWORD for each in found.values()):
        return found
    if not (inspect.isclass(target) and target.__module__.startswith(_OWN)):
        return None
    for base in target.__mro__[1:]:  # ours pass the rest on to their base
        if "__init__" in vars(base):
            further = _parameters(base)
            return None if further is None else {**further, **found}
    return None


@cache
def default_arguments() -> Mapping[str, Mapping[str, Any]]:
    """The arguments that the files of conf/ give to each ``_target_``, with those that a group shares."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted((ROOT / "conf").glob("[!eh]*/*.yaml")):  # neither experiments nor Hydra's
        shared = {name: value for common in file.parent.glob("_*.yaml") for name, value in _load(common).items()}
        for path, node in permissions.walk(_load(file)):
            if isinstance(node, Mapping) and isinstance(target := node.get(permissions.TARGET), str):
                found.setdefault(target, {}).update({**({} if path else shared), **node})
    return found


def _load(file: Path) -> dict[str, Any]:
    content: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    return {str(key): value for key, value in content.items() if key != "defaults"}


permissions.restrict_interpolations()

# Hydra's advice is for programmers; this is for the command line.
_ADVICE: dict[str, Any] = {
    r"Target '([^']*)'( \(resolved from '[^']*'\))? is not in the Hydra execution whitelist\."
    r" Pass _execution_whitelist_ from trusted code to allow expected targets\.": (
        lambda found: f"{found[1]}{found[2] or ''} must not be called: {allowlist.describe_trust(found[1])}"
    ),
    r"(No module named .*?\)) Are you sure that module .* is installed\?": (
        r"\1: is it installed? PYTHONPATH=. finds the modules of this folder"
    ),
}


def build(node: Mapping[str, Any], key: str, *, folder: Path | None = None, **objects: Any) -> Any:
    """Call the node's ``_target_``, which the allowlist must have for this key, with its values and the given objects.

    Args:
        key: of the node in the config, ``callbacks.checkpoint``; it decides what may be called.
        folder: the run's; files must be in it unless their paths were typed.

    Raises:
        ConfigError: the target may not be called, has another type, or refused its arguments.
    """
    with _errors_with(key):
        values = _plain(node, key)
        permissions.check_targets(values, key)
        if folder is not None:
            permissions.check_paths(values, key, folder)
        targets, names = _import_targets(values, key)
        if _is_simple(values, targets):
            return _call(values, targets, objects)
        allowed = [*names, *allowlist.TRUSTED]
        return instantiate(values, **objects, _convert_="all", _execution_whitelist_=allowed)


def _is_simple(values: Mapping[str, Any], targets: Mapping[str, Any]) -> bool:
    """Whether a node means no more than calls of these targets, so that `_call` does what Hydra does."""
    for _, each in permissions.walk(values):
        if OmegaConf.is_config(each) or each == _MISSING:
            return False
        for name in each if isinstance(each, Mapping) else ():
            special = str(name).startswith("_") and str(name).endswith("_")
            if special and not (name == permissions.PARTIAL or (name == permissions.TARGET and each[name] in targets)):
                return False
    return True


def _call(node: Any, targets: Mapping[str, Any], objects: Mapping[str, Any]) -> Any:
    """What Hydra's ``instantiate`` makes of plain values, in a tenth of its time."""
    if isinstance(node, list):
        return [_call(each, targets, {}) for each in node]
    if not isinstance(node, Mapping):
        return node
    made = {name: _call(each, targets, {}) for name, each in node.items()} | dict(objects)
    if (target := targets.get(made.pop(permissions.TARGET, None))) is None:
        return made
    if made.pop(permissions.PARTIAL, False):
        return partial(target, **made)
    try:
        return target(**made)
    except Exception as error:
        raise InstantiationException(str(error)) from error


def finish(deferred: partial, key: str, **objects: Any) -> Any:
    """Call a partial that `build` returned with the missing objects.

    Raises:
        ConfigError: it refused its arguments.
    """
    with _errors_with(key):
        return deferred(**objects)


def _plain(node: Any, key: str) -> dict[str, Any]:
    """The node as plain values, without interpolations: what is checked is what is called."""
    values = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if not isinstance(values, dict):
        raise ConfigError(f"{key} must be a mapping, got {values!r}")
    for path, value in permissions.walk(values, (key,)):
        if isinstance(value, str) and "${" in value:
            raise ConfigError(f"{'.'.join(path)} must not hold ${{, got {value!r}")
    return {str(name): value for name, value in values.items()}


def _import_targets(node: Mapping[str, Any], key: str) -> tuple[dict[str, Any], list[str]]:
    """Import the targets of a node and of those below it, and check their types.

    Returns:
        The targets by name, and all their names, with those that Python knows them by.
    """
    targets: dict[str, Any] = {}
    names: list[str] = []
    for path, each in permissions.walk(node, tuple(key.split("."))):
        name = each.get(permissions.TARGET) if isinstance(each, Mapping) else None
        allowed = allowlist.find_node(path)
        if name is not None and allowed is not None and not allowlist.is_trusted(name):
            targets[name], own_name = _check_type(name, allowed, ".".join(path))
            names += [name, own_name]
            check_node_arguments(".".join(path), each)
    return targets, names


def _check_type(name: str, allowed: allowlist.AllowedNode, key: str) -> tuple[Any, str]:
    """Import a target; returns it, and the name that Python knows it by."""
    found = get_object(name)
    own_name = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    if name in allowed.functions:
        right = inspect.isfunction(found) and own_name == name
    else:
        right = isinstance(found, type) and issubclass(found, get_object(allowed.base))
    if not right:
        raise ConfigError(f"{key}._target_ must name a {allowed.base}, got {name!r}, which is {own_name}")
    return found, own_name


@contextmanager
def _errors_with(key: str) -> Iterator[None]:
    """Turn errors of libraries, which raise all kinds for a wrong argument, into one line that begins with the key."""
    try:
        yield
    except OSError:  # of a file, not of a value
        raise
    except Exception as error:
        origin = error.__cause__ or error
        if isinstance(origin, OSError):
            raise origin from None
        if isinstance(origin, ConfigError):
            raise ConfigError(_one_line(origin)) from error
        raise config_error(origin, key) from error


def config_error(error: BaseException, key: str) -> ConfigError:
    """The error of a library about its arguments, as one line that begins with the key."""
    return ConfigError(f"{key}: {_one_line(error)}")


def _one_line(error: BaseException) -> str:
    line = " ".join(str(error).partition("\nfull_key:")[0].split())  # without Hydra's addition
    for advice, ours in _ADVICE.items():
        line = re.sub(advice, ours, line)
    return line
