"""A job's function as it is sent to workers: where they import it from, and what they may lack then.

A worker imports the script: what only its main part does, below ``if __name__ == "__main__"``, does not happen there.
"""

import functools
import importlib
import importlib.util
import inspect
import pickle
import platform
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from lightsweep.core.errors import ConfigError
from lightsweep.core.text import first_line

IN_THIS_PROCESS = "hydra.sweeper.n_jobs=0 runs trials in this process"
MAIN_ONLY = (
    "what runs only below `if __name__ == '__main__'` does not run in it; move it to the top of the module, or"
    f" {IN_THIS_PROCESS}"
)
_RESOLVERS = re.compile(r"\$\{([\w.]+):")


class Portable:
    """A job's function that is pickled as a `FunctionReference`, without anything of ``__main__``.

    Use it below ``hydra.main``, so that Hydra's launchers get it: they would pickle a script's function with all the
    names that it uses.
    """

    def __init__(self, function: Callable[[DictConfig], Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function

    def __call__(self, cfg: DictConfig) -> Any:
        return self._function(cfg)

    def __reduce__(self) -> tuple[Callable, tuple]:
        return _find_portable, (reference(self._function),)


@dataclass(frozen=True)
class FunctionReference:
    """Where a function is found by a process that has the same files, or the same installation.

    Args:
        module: the name of its module; of a script the file's name.
        name: of the function in it.
        path: folders to search for modules, besides those of the installation.
        script: the file of a script, which cannot be imported by its name; None for a module.
    """

    module: str
    name: str
    path: tuple[str, ...]
    script: str | None = None

    def find(self) -> Callable[[DictConfig], Any]:
        """The function as Hydra calls it, without the decorator ``hydra.main``.

        Raises:
            ImportError: there is no such module or script here, or it cannot be imported.
            AttributeError: it has no such function.
        """
        sys.path[:0] = [folder for folder in self.path if folder not in sys.path]
        found: Any = _load_module(self.module) if self.script is None else _load_script(self.script)
        for part in self.name.split("."):
            found = getattr(found, part)
        return task_function(found)


@dataclass(frozen=True)
class FunctionHere:
    """A function that is called in this process, wherever it was defined."""

    function: Callable[[DictConfig], Any]

    def find(self) -> Callable[[DictConfig], Any]:
        return task_function(self.function)


def reference(function: Callable[[DictConfig], Any]) -> FunctionReference:
    """The reference of a job's function.

    Raises:
        ConfigError: other processes cannot find it.
    """
    main, path, file = sys.modules["__main__"], search_path(), None
    module = sys.modules.get(function.__module__)
    name = function.__qualname__
    if "<locals>" in name:  # of a decorator; else its module has it
        module, name = next(_places(task_function(function), (main, module)), (None, ""))
    if module is main:
        file = getattr(main, "__file__", None)
    if not isinstance(getattr(function, "__self__", main), ModuleType | type):
        raise ConfigError(
            f"{function.__qualname__} is a method of an object, which no worker has: make it a function at the top of"
            f" a module, or {IN_THIS_PROCESS}"
        )
    if module is None or (module is main and file is None):
        raise ConfigError(
            f"{function.__qualname__} was defined in another function or in a notebook, where no worker finds it: move"
            f" it to the top of a module, or {IN_THIS_PROCESS}"
        )
    if file is None:
        return FunctionReference(module.__name__, name, path)
    if main.__spec__ is not None:  # python -m package.module
        return FunctionReference(main.__spec__.name, name, path)
    script = Path(file).resolve()
    return FunctionReference(script.stem, name, tuple(dict.fromkeys((str(script.parent), *path))), str(script))


def task_function(found: Any) -> Callable[[DictConfig], Any]:
    """What Hydra calls of a function as its module has it: what is below ``hydra.main`` and `Portable`, with any other
    decorators that it has there."""
    chain = [found]
    while hasattr(chain[-1], "__wrapped__"):
        chain.append(chain[-1].__wrapped__)
    for above, below in reversed(list(pairwise(chain))):
        if isinstance(above, Portable) or getattr(above, "__globals__", None) is hydra.main.__globals__:
            return below
    return found


def search_path(
    entries: Iterable[str] | None = None, prefixes: Iterable[str] = (sys.prefix, sys.base_prefix)
) -> tuple[str, ...]:
    """The folders where this process finds modules and another one may not: all but those of its Python.

    Args:
        entries: those of sys.path by default.
        prefixes: of this Python's installation.
    """
    installed = [Path(prefix).resolve() for prefix in prefixes]
    folders = [Path(entry or ".").resolve() for entry in (sys.path if entries is None else entries)]
    own = [each for each in folders if each.is_dir() and not any(map(each.is_relative_to, installed))]
    return tuple(dict.fromkeys(map(str, own)))


def _find_portable(found_by: FunctionReference) -> Portable:
    return Portable(found_by.find())


def _places(function: Any, modules: Iterable[ModuleType | None]) -> Iterator[tuple[ModuleType, str]]:
    """Where modules have a function, under whatever name."""
    for module in filter(None, modules):
        for name, value in list(vars(module).items()):
            if (inspect.isfunction(value) or isinstance(value, Portable)) and task_function(value) is function:
                yield module, name


def _load_module(name: str) -> ModuleType:
    """A module; where this process runs it, as with ``python -m``, it is not executed again."""
    main = sys.modules["__main__"]
    return main if main.__spec__ is not None and main.__spec__.name == name else importlib.import_module(name)


@functools.cache
def _load_script(script: str) -> ModuleType:
    """The module of a script's file; loaded once a process."""
    for module in list(sys.modules.values()):
        if (file := getattr(module, "__file__", None)) and Path(file).resolve() == Path(script):
            return module
    if not Path(script).is_file():
        raise ImportError(f"{script} is not on {platform.node()}: its machine needs the same files")
    name = f"lightsweep_script_{Path(script).stem}"
    spec = importlib.util.spec_from_file_location(name, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def registered(config: DictConfig) -> frozenset[str]:
    """What code has registered in this process: each ``config PATH`` of Hydra's ConfigStore, and each ``resolver NAME``
    of OmegaConf that a config uses."""
    resolvers = filter(OmegaConf.has_resolver, set(_RESOLVERS.findall(OmegaConf.to_yaml(config))))
    configs, groups = set[str](), [("", ConfigStore.instance().repo)]
    while groups:
        above, entries = groups.pop()
        for name, entry in entries.items():
            if isinstance(entry, dict):
                groups.append((f"{above}{name}/", entry))
            else:
                configs.add(f"config {above}{name.removesuffix('.yaml')}")
    return frozenset({f"resolver {name}" for name in resolvers} | configs)


def find_lost(needed: frozenset[str], config: DictConfig, error: str) -> str | None:
    """What an error is about that the sweeper's process has, and this one has not; None where it is another error.

    Args:
        needed: as `registered` there.
        error: its text.
    """
    lost = sorted(needed - registered(config))
    configs = [name for name in lost if name.startswith("config ") and f"'{name.removeprefix('config ')}'" in error]
    if configs:
        return f"the config store has the {configs[0]}"
    resolvers = [name for name in lost if error.endswith(f"nsupported interpolation type {name.rpartition(' ')[2]}")]
    return f"the config uses the {resolvers[0]}" if resolvers else None


def why_not_started(end: Exception | int) -> str:
    """Why no worker can start.

    Args:
        end: what a worker's imports have raised, or its exit code.
    """
    if isinstance(end, int):
        rule = "only below `if __name__ == '__main__'` may it start the app"
        return f"a worker ended with exit code {end} as it imported the script: {rule}; {IN_THIS_PROCESS}"
    hint = f": {MAIN_ONLY}" if isinstance(end, AttributeError) else f"; {IN_THIS_PROCESS}"  # of a pickle
    return f"a worker cannot start ({describe(end)}){hint}"


def check_pickles(named: Mapping[str, Any]) -> None:
    """See that workers can be given what they need, by the name that a message has for it.

    Raises:
        ConfigError: one cannot be pickled.
    """
    for name, value in named.items():
        try:
            pickle.dumps(value)
        except Exception as error:  # any that its own methods raise
            raise ConfigError(f"{name} cannot be sent to workers ({describe(error)}); {IN_THIS_PROCESS}") from error


def describe(error: BaseException) -> str:
    """The type and the first line of an error; the type alone where it says nothing."""
    return f"{type(error).__name__}: {first_line(str(error))}".removesuffix(": ")
