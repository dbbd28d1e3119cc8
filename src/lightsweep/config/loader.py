"""Hydra's config loader with checks of all that it composes: a run, a job of a grid, a trial, on any launcher.

The checks of logging configs are here too: handlers of the console and of files in the run's folder, no others.

Every config passes this loader before its logging, its callbacks and its folders exist, and no other code. Hydra 1.4
has no hook there (a Hydra callback comes from the config itself, which could leave it out), so the class of the loader
is replaced, once a process. The private names are those of ``hydra-core>=1.4,<1.5``; `install` refuses others.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import hydra._internal.hydra as hydra_application
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightsweep.config import allowlist, hydra_keys, keys, mistakes, permissions
from lightsweep.config.permissions import Typed
from lightsweep.core.errors import ConfigError
from lightsweep.core.moved import rename_moved


class CheckedLoader(ConfigLoaderImpl):
    """Composes as Hydra does, and refuses a config that does what only the command line may ask for.

    It is pickled for workers and jobs of a cluster, together with what was typed.

    Attributes:
        read_saved_config: reads the config of a run that is resumed, from its folder.

    Raises:
        ConfigError: names the key.
    """

    read_saved_config: ClassVar[Callable[[Path], DictConfig] | None] = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.typed = permissions.typed_here()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        permissions.declare_typed(self.typed)  # this is a process without that command line

    def _process_config_searchpath(self, config_name: Any, parsed_overrides: Any, repo: Any) -> None:
        loaded = repo.load_config(config_path=config_name) if config_name is not None else None
        if loaded is not None and isinstance(loaded.config, DictConfig):
            plain: Any = OmegaConf.to_container(loaded.config, resolve=False)
            hydra = plain.get("hydra")
            hydra_keys.check_search_path(hydra.get("searchpath") if isinstance(hydra, dict) else hydra, self.typed)
        for override in parsed_overrides:  # which a sweep makes of a study's parameters, too
            if override.key_or_group == "hydra.searchpath":
                hydra_keys.check_search_path(override.value(), self.typed)
        super()._process_config_searchpath(config_name, parsed_overrides, repo)
        repo.typed = parsed_overrides  # for the next step, which is not handed them

    def _compose_config_from_defaults_list(self, defaults: Any, repo: Any) -> DictConfig:
        config = super()._compose_config_from_defaults_list(defaults=defaults, repo=repo)
        plain = rename_moved(config)
        hydra_keys.check_hydra_of_files(plain)
        files = keys.Files(plain, repo)
        keys.check_files(files, defaults)
        folder = next((each.value() for each in repo.typed if each.key_or_group == "resume"), None)
        read = CheckedLoader.read_saved_config
        if folder is not None and read is not None:
            own: Any = OmegaConf.to_container(read(Path(str(folder))), resolve=False)
            files = keys.Files(keys.merge_keys(plain, own), repo)
        keys.check_keys(repo.typed, files)
        return config

    @staticmethod
    def validate_sweep_overrides_legal(overrides: Any, run_mode: RunMode, from_shell: bool) -> None:
        if run_mode == RunMode.RUN:
            mistakes.check_single(overrides)
        ConfigLoaderImpl.validate_sweep_overrides_legal(overrides, run_mode, from_shell)

    def _load_configuration_impl(self, *arguments: Any, **named: Any) -> DictConfig:
        try:
            config = super()._load_configuration_impl(*arguments, **named)
        except (HydraException, OmegaConfBaseException, ConfigError):
            raise
        except (AssertionError, AttributeError, KeyError, TypeError) as error:  # of a file that is no config of Hydra's
            raise ConfigError(f"the config cannot be composed ({type(error).__name__}: {error})") from error
        raw = rename_moved(config)  # also what was typed
        if raw["hydra"]["mode"] == RunMode.MULTIRUN and config.hydra.runtime.choices.get("hydra/sweeper") == "basic":
            mistakes.check_grid(raw["hydra"]["overrides"]["task"])
        permissions.check_targets(raw)
        held = self.typed.holding_in(raw)
        hydra_keys.check_hydra_keys(raw, held)
        check_logging(raw["hydra"], held)
        permissions.declare_typed(held)  # for the job with this config: its other paths are checked when it is built
        return config


def install(read_saved_config: Callable[[Path], DictConfig]) -> None:
    """Let Hydra use the checked loader in this process.

    Args:
        read_saved_config: reads the config of a run that is resumed, from its folder.

    Raises:
        ConfigError: this version of Hydra composes in another way.
    """
    methods = ("_process_config_searchpath", "_compose_config_from_defaults_list", "_load_configuration_impl")
    if not all(hasattr(ConfigLoaderImpl, name) for name in methods) or not hasattr(
        hydra_application, "ConfigLoaderImpl"
    ):
        raise ConfigError("this version of hydra-core is not supported, it composes in another way: pip install -e .")
    CheckedLoader.read_saved_config = staticmethod(read_saved_config)
    hydra_application.ConfigLoaderImpl = CheckedLoader  # type: ignore[misc]


_PARTS = {"formatters", "filters", "handlers", "loggers"}
_LOGGING = _PARTS | {"version", "root", "disable_existing_loggers", "incremental"}
_STREAMS = ("ext://sys.stdout", "ext://sys.stderr", None)
_CONSOLE, _FILE, _NONE = "logging.StreamHandler", "logging.FileHandler", "logging.NullHandler"
_HANDLER = {"class", "formatter", "level", "filters"}
_HANDLERS = {
    _CONSOLE: _HANDLER | {"stream"},
    _FILE: _HANDLER | {"filename", "mode", "delay", "encoding"},
    _NONE: _HANDLER,
}
_FORMATTER = {"format", "datefmt", "validate"}  # no style: that of str.format reaches every attribute of a record
_COLORLOG = _FORMATTER | {"()", "log_colors", "reset"}  # Hydra's own plugin for colours


def check_logging(hydra: Mapping[str, Any], typed: Typed) -> None:
    """See that the logging configs name no handler, formatter or file that only the command line may name.

    Python's logging calls what its config names: ``class``, ``()`` and ``ext://module.name``.

    Args:
        hydra: the node of the config, in plain dicts with its interpolations.

    Raises:
        ConfigError: names the key.
    """
    for name in ("job_logging", "hydra_logging"):
        key, node = f"hydra.{name}", hydra.get(name) or {}
        _check_names(key, node, _LOGGING)
        parts = {part: node.get(part) or {} for part in _PARTS}
        for part, entries in parts.items():
            nodes = entries.values() if isinstance(entries, Mapping) else [entries]
            if not all(isinstance(each, Mapping | None) for each in nodes):
                raise ConfigError(f"{key}.{part} must be a mapping, got {entries!r}")
        for each, formatter in parts["formatters"].items():
            _check_formatter(f"{key}.formatters.{each}", formatter or {})
        for each, filter_ in parts["filters"].items():
            _check_names(f"{key}.filters.{each}", filter_ or {}, {"name"})
        for each, handler in parts["handlers"].items():
            _check_handler(f"{key}.handlers.{each}", handler or {}, hydra, typed)
        _check_references(key, {part: value for part, value in node.items() if part != "handlers"})


def _check_handler(key: str, handler: Mapping[str, Any], hydra: Mapping[str, Any], typed: Typed) -> None:
    if typed.covers(f"{key}.class"):
        return
    kind = handler.get("class")
    if kind not in _HANDLERS:
        raise ConfigError(f"{key}.class must be one of {', '.join(_HANDLERS)} unless it is typed, got {kind!r}")
    _check_names(key, handler, _HANDLERS[kind])
    _check_references(key, {name: value for name, value in handler.items() if name != "stream"})
    if kind == _CONSOLE and handler.get("stream") not in _STREAMS:
        raise ConfigError(f"{key}.stream must be ext://sys.stdout or ext://sys.stderr, got {handler['stream']!r}")
    file, path = f"{key}.filename", handler.get("filename")
    if kind == _FILE and not typed.covers(file) and not hydra_keys.is_in_run_folder(hydra, file, path):
        raise ConfigError(
            f"{file} must lie in the run's folder, ${{hydra.runtime.output_dir}}, unless it is typed, got {path!r}"
        )


def _check_references(key: str, node: Mapping[str, Any]) -> None:
    """Logging would look up ``ext://module.name``."""
    for path, value in permissions.walk(node, (key,)):
        if isinstance(value, str) and value.startswith(("ext://", "cfg://")):
            raise ConfigError(f"{'.'.join(path)} must not refer to an object, got {value!r}")


def _check_names(key: str, node: Mapping[str, Any], allowed: set[str]) -> None:
    if others := sorted(map(str, set(node) - allowed)):
        raise ConfigError(f"{key}.{others[0]} must be left out: in a config file only {', '.join(sorted(allowed))}")


def _check_formatter(key: str, formatter: Mapping[str, Any]) -> None:
    """Texts only: ``()`` and ``class`` would call something with them."""
    factory = formatter.get("()")
    if factory is not None and factory != "colorlog.ColoredFormatter" and not allowlist.is_trusted(str(factory)):
        raise ConfigError(f"{key}.() must be left out, or be named by LIGHTSWEEP_TRUST, got {factory!r}")
    if factory is None or factory == "colorlog.ColoredFormatter":
        _check_names(key, formatter, _FORMATTER if factory is None else _COLORLOG)
