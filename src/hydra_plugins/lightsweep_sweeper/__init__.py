"""Where Hydra finds the sweeper. This module is imported at every start, so it imports neither Optuna nor torch."""

from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LightsweepSearchPath(SearchPathPlugin):
    """Adds the sweeper's configs to the search path of every app, last: an app's own files win."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("lightsweep", f"pkg://{__name__}.conf")


class LightsweepSweeper(Sweeper):
    """Searches hyperparameters with Optuna: prunes, resumes, runs in parallel, survives.

    The settings are explained in conf/hydra/sweeper/_lightsweep_settings.yaml.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context, self.task_function = config, hydra_context, task_function

    def sweep(self, arguments: list[str]) -> Any:
        from ._impl import run  # Optuna is imported here, and only where a sweep is run

        assert self.config is not None
        assert self.hydra_context is not None
        return run(self.settings, self.config, self.hydra_context, self.task_function, arguments)
