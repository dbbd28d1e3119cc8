"""What the sweeper asks of the program that it sweeps: `Application`, whose answers suit any Hydra app.

A program with other answers marks its job's function: ``@sweepable(application)`` below ``@hydra.main``. Other
processes find that function by a `FunctionReference`. Imported at every start, so neither Optuna nor torch is.
"""

import functools
import importlib
import importlib.util
import platform
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig

from lightsweep.core.errors import ConfigError
from lightsweep.core.text import first_line

if TYPE_CHECKING:
    from lightsweep.sweeper.plan import Plan
    from lightsweep.sweeper.space import Space

_ATTRIBUTE = "lightsweep_application"


class Application:
    """The program that is swept: what is code, not a setting of ``hydra.sweeper``. This class is any Hydra app's.

    Any app gets: all that its trials record as columns, and all numbers of its results in a confirmation; minimize
    where no direction is set; samplers, pruners and functions of any importable name, as in Hydra; no check of the
    config beyond Hydra's own and the function ``hydra.sweeper.validate``; trials that may each read other data.

    Attributes:
        columns: recorded names that the leaderboard shows, in this order; none for all that trials have recorded.
        scores: entries of a job's result that a confirmation keeps, the most telling first; none for all numbers.
        result_file: in a job's folder, a JSON object with the job's result: ``status``, as a `JobState` is written,
            ``overrides`` and what was recorded, by name. The sweeper writes one where the program has not.
        records: further files of that folder that come back from another machine.
        data_file: the one of them that describes the data which the job has read; None where there is none.
    """

    columns: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    result_file: str = "job_result.json"
    records: tuple[str, ...] = ()
    data_file: str | None = None

    @property
    def program(self) -> str:
        """The command that runs it, without arguments."""
        return f"python {shlex.quote(sys.argv[0])}"

    def report_command(self, folder: Path, storage: str | None) -> str | None:
        """The command that writes a page of a sweep; None where there is none.

        Args:
            storage: the study's, where it is not in the folder.
        """
        return None

    def objective(self, config: DictConfig) -> tuple[str, str | None]:
        """The name of the value that a job returns, where ``hydra.sweeper.metric`` has none, and minimize or maximize,
        where the config decides it; in any app "value", and None: only the user can say."""
        return "value", None

    def build(self, node: DictConfig, key: str) -> Any:
        """The sampler or pruner that a node describes; in any app whatever the node names.

        Raises:
            ConfigError: it cannot be built; names the key.
        """
        try:
            with warnings.catch_warnings():  # Hydra 1.4 warns where the app gives `hydra.main` no execution whitelist
                warnings.filterwarnings("ignore", message=r"[\s\S]*_execution_whitelist_", category=UserWarning)
                return instantiate(node, _convert_="all")
        except HydraException as error:
            raise ConfigError(f"{key}: {first_line(str(error.__cause__ or error))}") from error

    def find_function(self, name: str, key: str) -> Callable[..., Any]:
        """The function of this name, which the user gave under a key of ``hydra.sweeper``.

        Raises:
            ConfigError: there is none, or it must not be called.
        """
        try:
            return get_method(name)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"{key}: there is no function {name} ({first_line(str(error))})") from error

    def takes_list(self, config: Mapping[str, Any], key: str) -> bool:
        """Whether a list can be the value of this key, which has none in the config."""
        return True

    def check_space(self, space: "Space", metric: str) -> None:
        """Refuse a search space, before any config is composed.

        Raises:
            ConfigError: trials could not be compared, or keys exclude each other.
        """

    def check_config(self, config: DictConfig, overrides: Sequence[str], *, in_this_process: bool) -> None:
        """Refuse the config that all trials share.

        Args:
            overrides: that were typed for it.
            in_this_process: the jobs run in the sweeper's process.

        Raises:
            ConfigError: names the key.
        """

    def check_drawn(self, config: DictConfig, overrides: Sequence[str]) -> None:
        """Refuse a drawn trial's config.

        Args:
            overrides: of the trial.

        Raises:
            ConfigError: names the key.
        """

    def check_plan(self, plan: "Plan", *, in_this_process: bool) -> None:
        """Refuse what shows only over many trials; the last check before the study is opened.

        Raises:
            ConfigError: names the key.
        """

    def kept_overrides(
        self, started_with: Mapping[str, Any], config: DictConfig, typed: Sequence[str]
    ) -> tuple[str, ...]:
        """Overrides with which a study keeps the values that it was started with, where a default has changed since.

        Args:
            started_with: what was fixed then, by key.
        """
        return ()

    def own_config(self, config: DictConfig) -> DictConfig:
        """The part of a composed config that does not depend on the run's folder."""
        return config

    def reads_same_data(self, space: "Space", config: DictConfig) -> bool:
        """Whether all trials read the same data, so that `data_digest` can be compared."""
        return False

    def allows_changed_data(self, config: DictConfig) -> bool:
        """Whether a study may be resumed where the data have changed."""
        return False

    def data_digest(self, folder: Path) -> str | None:
        """The digest of the data that the run in a folder has read, from its `data_file`; None where it is unknown."""
        return None


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


def sweepable(application: Application) -> Callable[[Callable[[DictConfig], Any]], Portable]:
    """Give the sweeper this application with a job's function. Use it below ``hydra.main``."""

    def mark(function: Callable[[DictConfig], Any]) -> Portable:
        setattr(function, _ATTRIBUTE, application)
        return Portable(function)

    return mark


def application_of(function: Callable[..., Any]) -> Application:
    """The application that a job's function was marked with, whatever its decorators."""
    return getattr(undecorated(function), _ATTRIBUTE, None) or Application()


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
        found: Any = importlib.import_module(self.module) if self.script is None else _load_script(self.script)
        for part in self.name.split("."):
            found = getattr(found, part)
        return undecorated(found)


def reference(function: Callable[[DictConfig], Any]) -> FunctionReference:
    """The reference of a job's function."""
    function, path = undecorated(function), search_path()
    if function.__module__ != "__main__":
        return FunctionReference(function.__module__, function.__qualname__, path)
    main = sys.modules["__main__"]
    if main.__spec__ is not None:  # python -m package.module
        return FunctionReference(main.__spec__.name, function.__qualname__, path)
    file = Path(str(main.__file__)).resolve()
    folders = tuple(dict.fromkeys((str(file.parent), *path)))
    return FunctionReference(file.stem, function.__qualname__, folders, str(file))


def _find_portable(found_by: FunctionReference) -> Portable:
    return Portable(found_by.find())


def undecorated(function: Any) -> Callable[[DictConfig], Any]:
    """The function without the decorators ``hydra.main`` and `Portable`."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


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
