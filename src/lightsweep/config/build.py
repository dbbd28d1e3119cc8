"""From a node of the config to the object it names, if the table lets it, with errors that name the node's key."""

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from lightsweep.config import class_arguments, interpolations, paths, table, targets
from lightsweep.core.errors import ConfigError

interpolations.restrict()

# What Hydra advises is for programmers; a person at the command line can do this.
_ADVICE: dict[str, Any] = {
    r"Target '([^']*)'( \(resolved from '[^']*'\))? is not in the Hydra execution whitelist\."
    r" Pass _execution_whitelist_ from trusted code to allow expected targets\.": (
        lambda found: f"{found[1]}{found[2] or ''} must not be called: {table.advice(found[1])}"
    ),
    r"(No module named .*?\)) Are you sure that module .* is installed\?": (
        r"\1: is it installed? PYTHONPATH=. finds the modules of this folder"
    ),
}


def build(node: DictConfig, key: str, *, folder: Path | None = None, **objects: Any) -> Any:
    """Call the node's ``_target_``, which the table must have for this key, with its values and the given objects.

    Args:
        key: where the node stands in the config, ``callbacks.checkpoint``, which says what may be called.
        folder: the run's, outside which no file may lie unless its path was typed.

    Raises:
        ConfigError: the target may not be called, is not what belongs there, or refused its arguments.
    """
    with _naming(key):
        values = _plain(node, key)
        targets.check(values, key)
        if folder is not None:
            paths.check(values, key, folder)
        allowed = [*_locate(values, key), *table.TRUSTED]
        return instantiate(values, **objects, _convert_="all", _execution_whitelist_=allowed)


def finish(deferred: partial, key: str, **objects: Any) -> Any:
    """Call what was built with ``_partial_`` with the objects that it lacks.

    Raises:
        ConfigError: it refused its arguments, or made something that nobody trusts.
    """
    with _naming(key):
        return deferred(**objects)


def _plain(node: DictConfig, key: str) -> dict[str, Any]:
    """The node as plain values. What is checked is what is called: nothing is left that could become something else."""
    values = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if not isinstance(values, dict):
        raise ConfigError(f"{key} must have keys of its own, got {values!r}")
    _refuse_interpolations(values, key)
    return {str(name): value for name, value in values.items()}


def _refuse_interpolations(value: Any, key: str) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            _refuse_interpolations(item, f"{key}.{name}")
    elif isinstance(value, list):
        for item in value:
            _refuse_interpolations(item, key)
    elif isinstance(value, str) and "${" in value:
        raise ConfigError(f"{key} must not hold ${{, got {value!r}")


def _locate(node: Any, key: str) -> list[str]:
    """Import what a node and those below it name, and see that it is what the table says; returns their names, also
    those under which Python knows them."""
    if not isinstance(node, dict):
        return []
    found: list[str] = []
    name = node.get(targets.TARGET)
    slot = table.slot(key.split("."))
    if name is not None and slot is not None and not table.is_trusted(name):
        found += _as_listed(name, slot, key)
        class_arguments.check_node(key, node)
    for argument, value in node.items():
        found += _locate(value, f"{key}.{argument}")
    return found


def _as_listed(name: str, slot: table.Slot, key: str) -> list[str]:
    thing = get_object(name)
    own_name = f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"
    if name in slot.functions:
        right = inspect.isfunction(thing) and own_name == name
    else:
        right = isinstance(thing, type) and issubclass(thing, get_object(slot.base))
    if not right:
        raise ConfigError(f"{key}._target_ must name a {slot.base}, got {name!r}, which is {own_name}")
    return [name, own_name]


@contextmanager
def _naming(key: str) -> Iterator[None]:
    try:
        yield
    except OSError:  # about a file, not about a value
        raise
    except Exception as error:  # each library has its own for an argument that it cannot use
        raise _config_error(error, key) from error


def explain(error: BaseException, key: str) -> ConfigError:
    """A library's complaint about its arguments, as one line that begins with the key."""
    return ConfigError(f"{key}: {_one_line(error)}")


def _config_error(error: BaseException, key: str) -> ConfigError:
    origin = error.__cause__ or error
    if isinstance(origin, OSError):
        raise origin
    return ConfigError(_one_line(origin)) if isinstance(origin, ConfigError) else explain(origin, key)


def _one_line(error: BaseException) -> str:
    said = " ".join(str(error).partition("\nfull_key:")[0].split())  # without Hydra's addition
    for advice, ours in _ADVICE.items():
        said = re.sub(advice, ours, said)
    return said
