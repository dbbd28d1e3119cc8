"""The keys of a node with a ``_target_`` compared with what that class takes.

Only where a key is not in the class's own file in conf/ is the class imported: the others are known to be right.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from lightsweep.config import table, targets
from lightsweep.core.errors import ConfigError
from lightsweep.core.nearest import guess
from lightsweep.core.paths import ROOT

_OWN = "lightsweep."
_MOST_LISTED = 12


def check(cfg: DictConfig) -> None:
    """Compare every node that the table has a slot for.

    Raises:
        ConfigError: a class has no such argument, or nothing of this kind may stand there; names the key.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=False)
    for key, node in _nodes(plain, ""):
        check_node(key, node)


def check_node(key: str, node: Mapping[str, Any]) -> None:
    """Compare one node, without those below it.

    Raises:
        ConfigError: its class has no such argument.
    """
    target, slot = node.get(targets.TARGET), table.slot(key.split("."))
    if not isinstance(target, str) or not (table.is_trusted(target) or (slot and target in slot.names)):
        return  # nothing is imported that the table does not have
    strange = [str(name) for name in node if not str(name).startswith("_") and name not in _known().get(target, ())]
    if not strange or (taken := parameters_of(target)) is None:
        return
    for name in strange:
        if name not in taken:
            near = guess(f"{key}.{name}", [f"{key}.{each}" for each in taken])
            takes = f"; it takes {', '.join(taken) or 'none'}" if len(taken) <= _MOST_LISTED else ""
            raise ConfigError(f"{key}.{name}: {target} has no such argument{near or takes}")


def parameters_of(name: str) -> Mapping[str, inspect.Parameter] | None:
    """What the class or function of this name takes; None where it takes any name, or cannot be imported."""
    try:
        return _parameters(get_object(name))
    except Exception:  # whatever somebody's module raises: it is said where the object is built
        return None


def _parameters(target: Callable) -> Mapping[str, inspect.Parameter] | None:
    """None also where it does not say."""
    try:
        found = dict(inspect.signature(target).parameters)
    except (TypeError, ValueError):  # written in C
        return None
    if all(each.kind != inspect.Parameter.VAR_KEYWORD for each in found.values()):
        return found
    if not (inspect.isclass(target) and target.__module__.startswith(_OWN)):
        return None
    for base in target.__mro__[1:]:  # ours hand the rest on to their base
        if "__init__" in vars(base):
            further = _parameters(base)
            return None if further is None else {**further, **found}
    return None


def _nodes(node: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, value in node.items() if isinstance(node, Mapping) else ():
        below = f"{key}.{name}" if key else str(name)
        if isinstance(value, Mapping) and below != "hydra":
            yield below, value
            yield from _nodes(value, below)


@cache
def _known() -> Mapping[str, frozenset[str]]:
    """The arguments that the files of conf/ give to each ``_target_``, those that a group shares among them."""
    found: dict[str, set[str]] = {}
    for file in sorted((ROOT / "conf").glob("[!eh]*/*.yaml")):  # neither experiments nor Hydra's
        shared = {name for common in file.parent.glob("_*.yaml") for name in map(str, OmegaConf.load(common))}
        for key, node in _nodes({"": OmegaConf.to_container(OmegaConf.load(file), resolve=False)}, ""):
            if isinstance(target := node.get(targets.TARGET), str):
                found.setdefault(target, set()).update(map(str, node), shared if key == "" else ())
    return {target: frozenset(names) for target, names in found.items()}
