"""What a config file from somebody else may set of Hydra itself: where files lie, what is logged, what a cluster runs.

A value that was typed is the person's own, and passes.
"""

import os
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from lightsweep.errors import ConfigError
from lightsweep.security import table
from lightsweep.security.paths import ROOT, is_inside
from lightsweep.security.typed import Typed

_RUN = "/the/run's/folder"  # stands for it while a config is looked at: it is known only when the job begins
_STREAMS = ("ext://sys.stdout", "ext://sys.stderr", None)
_CONSOLE, _FILE, _NONE = "logging.StreamHandler", "logging.FileHandler", "logging.NullHandler"
_HANDLER = {"class", "formatter", "level", "filters"}
_HANDLERS = {
    _CONSOLE: _HANDLER | {"stream"},
    _FILE: _HANDLER | {"filename", "mode", "delay", "encoding"},
    _NONE: _HANDLER,
}
_PRELOADED = ("pytorch_lightning",)
# Of a cluster's launcher: amounts, and words without spaces, quotes and line ends. All else could be a command.
_AMOUNTS = (
    *("timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "cpus_per_gpu"),
    *("gpus_per_task", "signal_delay_s", "max_num_timeout", "array_parallelism", "stderr_to_stdout", "use_srun"),
)
_WORDS = (
    *("name", "partition", "qos", "constraint", "exclude", "gres", "mem_per_gpu", "mem_per_cpu"),
    *("account", "comment"),
)
_WORD = re.compile(r"[\w.,:@+/%=\[\]&|*-]*")


def check(config: DictConfig, raw: Mapping[str, Any], typed: Typed) -> None:
    """See that no key below ``hydra`` does what only the person at the command line may ask for.

    Args:
        config: as Hydra composed it.
        raw: the same as plain dicts, with its interpolations.

    Raises:
        ConfigError: names the key.
    """
    if raw["hydra"]["job"]["env_set"]:  # PATH, LD_PRELOAD and others choose what code runs
        raise ConfigError("hydra.job.env_set and env_copy must be empty: set environment variables in the shell")
    look = _Look(config, typed)
    look.folders()
    look.logging("hydra.job_logging")
    look.logging("hydra.hydra_logging")
    look.launcher()
    look.sweeper(raw["hydra"]["sweeper"])


class _Look:
    """A look at a composed config whose run lies in `_RUN`."""

    def __init__(self, config: DictConfig, typed: Typed) -> None:
        self.typed = typed
        self.config = deepcopy(config)
        with flag_override(self.config, ["readonly", "struct"], [False, False]):
            hydra = self.config.hydra
            with flag_override(hydra, ["readonly", "struct"], [False, False]):
                hydra.runtime.output_dir = _RUN
                hydra.job.num, hydra.job.id = 0, "0"

    def value(self, key: str) -> Any:
        """The value of a key as plain Python, interpolations resolved.

        Raises:
            ConfigError: it cannot be resolved, so that nobody can say what it will be.
        """
        try:
            node = OmegaConf.select(self.config, key, throw_on_missing=False)
            return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
        except (OmegaConfBaseException, ValueError) as error:
            raise ConfigError(f"{key} must be typed, its value is not known yet ({_line(error)})") from error

    def folders(self) -> None:
        for key in ("hydra.run.dir", "hydra.sweep.dir"):
            if self.typed.covers(key):
                continue
            folder = self.value(key)
            if folder is not None and not _in_outputs(str(folder)):
                raise ConfigError(f"{key} must lie in {ROOT / 'outputs'} unless it is typed, got {str(folder)!r}")
        for key in ("hydra.sweep.subdir", "hydra.output_subdir"):
            below = None if self.typed.covers(key) else self.value(key)
            if below is not None and not _stays_inside(str(below)):
                raise ConfigError(f"{key} must lie in the folder above it unless it is typed, got {str(below)!r}")

    def logging(self, key: str) -> None:
        """Only console handlers, and files in the run's folder."""
        handlers = self.value(f"{key}.handlers")
        if handlers is None:
            return
        for name, handler in handlers.items() if isinstance(handlers, Mapping) else []:
            here = f"{key}.handlers.{name}"
            if not self.typed.covers(f"{here}.class"):
                _check_handler(here, handler, anywhere=self.typed.covers(f"{here}.filename"))

    def launcher(self) -> None:
        node = self.value("hydra.launcher")
        for name, value in node.items() if isinstance(node, Mapping) else []:
            key = f"hydra.launcher.{name}"
            if name == "_target_" or value in (None, {}, []) or self.typed.covers(key):
                continue
            if name == "submitit_folder":
                self._check_submitit_folder(key, str(value))
            elif not _is_harmless(name, value):
                raise ConfigError(f"{key} must be typed on the command line, since it can run commands, got {value!r}")

    def _check_submitit_folder(self, key: str, folder: str) -> None:
        sweep = str(self.value("hydra.sweep.dir"))
        if not is_inside(Path(folder), Path(sweep)):
            raise ConfigError(f"{key} must lie in hydra.sweep.dir unless it is typed, got {folder!r}")

    def sweeper(self, raw: Any) -> None:
        if not isinstance(raw, Mapping):
            return
        for key in _keys_of_jobs(raw):
            if key.lstrip("+~").startswith("hydra") or "@hydra" in key:
                raise ConfigError(f"hydra.sweeper.params must name keys of the run, not of Hydra, got {key!r}")
        self._check_storage(raw)
        self._check_preload()
        function = self.value("hydra.sweeper.custom_search_space")
        if function is not None and not table.is_trusted(str(function)):
            raise ConfigError(
                f"hydra.sweeper.custom_search_space must be a function that LIGHTSWEEP_TRUST names, got {function!r}"
            )

    def _check_storage(self, raw: Mapping[str, Any]) -> None:
        storage = raw.get("storage")
        if storage not in (None, "${lightsweep.storage:}") and not self.typed.covers("hydra.sweeper.storage"):
            raise ConfigError("hydra.sweeper.storage must be typed, or be given by LIGHTSWEEP_STORAGE")
        sampler = raw.get("sampler")
        restores = isinstance(sampler, Mapping) and str(sampler.get("_target_")).endswith("CmaEsSampler")
        official = str(raw.get("_target_")).endswith(".OptunaSweeper")
        if official and restores and storage is not None:
            raise ConfigError(
                "hydra/sweeper/sampler=cmaes keeps pickles in a study, which hydra/sweeper=optuna would run:"
                " leave hydra.sweeper.storage out, or take hydra/sweeper=lightsweep"
            )

    def _check_preload(self) -> None:
        modules = self.value("hydra.sweeper.preload")
        if self.typed.covers("hydra.sweeper.preload") or not isinstance(modules, list):
            return
        for module in modules:
            if module not in _PRELOADED and not table.is_trusted(str(module)):
                raise ConfigError(
                    f"hydra.sweeper.preload must be typed, or hold modules that LIGHTSWEEP_TRUST names, got {module!r}"
                )


def check_search_path(entries: Any, typed: Typed) -> None:
    """Hydra imports a package that its search path names, before anything else of a config is looked at.

    Raises:
        ConfigError: a config file names a package that nobody trusts, or another kind of source than a folder.
    """
    if typed.covers("hydra.searchpath") or not isinstance(entries, list):
        return
    for entry in entries:
        scheme, separator, rest = str(entry).partition("://")
        package = rest.replace("/", ".").strip(".")
        if separator and scheme != "file" and not (scheme == "pkg" and table.is_trusted(package)):
            raise ConfigError(
                f"hydra.searchpath must hold folders, or packages that LIGHTSWEEP_TRUST names, got {entry!r}"
            )


def _check_handler(key: str, handler: Any, *, anywhere: bool) -> None:
    """See that a handler writes to the console, or to a file in the run's folder (or `anywhere`)."""
    kind = handler.get("class") if isinstance(handler, Mapping) else None
    if kind not in _HANDLERS:
        raise ConfigError(f"{key}.class must be one of {', '.join(_HANDLERS)} unless it is typed, got {kind!r}")
    if strange := sorted(map(str, set(handler) - _HANDLERS[kind])):
        raise ConfigError(f"{key}.{strange[0]} must be left out, {kind} in a config file takes no such key")
    if kind == _CONSOLE and handler.get("stream") not in _STREAMS:
        raise ConfigError(f"{key}.stream must be ext://sys.stdout or ext://sys.stderr, got {handler['stream']!r}")
    if kind == _FILE and not anywhere and not _stays_inside(str(handler.get("filename")), _RUN):
        raise ConfigError(
            f"{key}.filename must lie in the run's folder, ${{hydra.runtime.output_dir}}, unless it is typed,"
            f" got {handler.get('filename')!r}"
        )


def _in_outputs(folder: str) -> bool:
    outputs = (ROOT / "outputs", Path("outputs"))
    return "://" not in folder and any(is_inside(Path(folder), each) for each in outputs)


def _stays_inside(path: str, folder: str = "") -> bool:
    """Whether a relative path stays below where it begins; or a path with `folder` in front, below that."""
    inside = os.path.normpath(path)
    if folder:
        return inside.startswith(folder + os.sep)
    return not (Path(inside).is_absolute() or inside == ".." or inside.startswith(".." + os.sep))


def _is_harmless(name: str, value: Any) -> bool:
    if name in _AMOUNTS:
        return isinstance(value, bool | int | float)
    if name == "ray":  # the plugin's own default
        return value in ({"init": {"address": None}, "remote": {}}, {"init": {}, "remote": {}})
    return name in _WORDS and isinstance(value, str | int) and _WORD.fullmatch(str(value)) is not None


def _keys_of_jobs(sweeper: Mapping[str, Any]) -> Iterator[str]:
    """Every key that a sweeper's settings would override in its jobs."""
    params, when = sweeper.get("params"), sweeper.get("when")
    if isinstance(params, Mapping):
        yield from map(str, params)
    for condition, further in when.items() if isinstance(when, Mapping) else []:
        yield str(condition)
        if isinstance(further, Mapping):
            yield from map(str, further)


def _line(error: BaseException) -> str:
    return " ".join(str(error).partition("\n")[0].split())
