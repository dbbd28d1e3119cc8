"""Hydra's config loader with checks of all that it composes: a run, a job of a grid, a trial, on any launcher.

It is the only place that every config passes before its logging, its callbacks and its folders exist. Hydra 1.4 has no
hook there (a Hydra callback comes from the config itself, which could leave it out), so the class of the loader is
replaced, once a process. The private names are those of ``hydra-core>=1.4,<1.5``; `install` refuses others.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import hydra._internal.hydra as hydra_application
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightsweep.config import hydra_keys, keys, mistakes, permissions
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
        rename_moved(config)
        plain: Any = OmegaConf.to_container(config, resolve=False)
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
        rename_moved(config)  # also what was typed
        raw: Any = OmegaConf.to_container(config, resolve=False)
        if raw["hydra"]["mode"] == RunMode.MULTIRUN and config.hydra.runtime.choices.get("hydra/sweeper") == "basic":
            mistakes.check_grid(raw["hydra"]["overrides"]["task"])
        permissions.check_targets(raw)
        held = self.typed.holding_in(raw)
        hydra_keys.check_hydra_keys(raw, held)
        permissions.declare_typed(
            held
        )  # for the job that runs with this config: its other paths are looked at when it is built
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
