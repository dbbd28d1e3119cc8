"""A job's function as a reference, so that another process can find it: a worker, or a node of a cluster."""

import functools
import importlib
import importlib.util
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import DictConfig


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
        """The function, without its decorators.

        Raises:
            ImportError: there is no such module or script here, or it cannot be imported.
        """
        sys.path[:0] = [folder for folder in self.path if folder not in sys.path]
        found: Any = importlib.import_module(self.module) if self.script is None else _loaded(self.script)
        for part in self.name.split("."):
            found = getattr(found, part)
        return undecorated(found)


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
        return _found, (reference(self._function),)


def reference(function: Callable[[DictConfig], Any]) -> FunctionReference:
    """The reference of a job's function."""
    function = undecorated(function)
    path = search_path()
    if function.__module__ != "__main__":
        return FunctionReference(function.__module__, function.__qualname__, path)
    main = sys.modules["__main__"]
    if main.__spec__ is not None:  # python -m package.module
        return FunctionReference(main.__spec__.name, function.__qualname__, path)
    file = Path(str(main.__file__)).resolve()
    folders = tuple(dict.fromkeys((str(file.parent), *path)))
    return FunctionReference(file.stem, function.__qualname__, folders, str(file))


@functools.cache
def _loaded(script: str) -> ModuleType:
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


def search_path() -> tuple[str, ...]:
    """The folders where this process finds modules and another one may not: all but those of its Python."""
    installed = [Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)]
    folders = [Path(entry or ".").resolve() for entry in sys.path]
    own = [
        folder for folder in folders if folder.is_dir() and not any(folder.is_relative_to(each) for each in installed)
    ]
    return tuple(dict.fromkeys(map(str, own)))


def undecorated(function: Any) -> Callable[[DictConfig], Any]:
    """The function without the decorators ``hydra.main`` and `Portable`."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


def _found(where: FunctionReference) -> Portable:
    return Portable(where.find())
