"""What is global in a process and belongs to a job: Hydra's config, the log, the directory, the environment, the trial.
Jobs that run in one process at the same time enter theirs in turn."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core import utils as hydra_utils
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf

from lightsweep.sweeper.job import Job, TrialContext, _current
from lightsweep.sweeper.job_running import JobFunction, JobSetup


class JobScene:
    """A job that Hydra has begun and not ended: its folder, its `.hydra` files and its log are there.

    Args:
        config: composed, with its ``hydra`` node.
        function: the app's.

    Raises:
        Exception: Hydra could not begin it, as its folder cannot be written.
    """

    def __init__(self, config: DictConfig, setup: JobSetup, job: Job, function: Callable[[DictConfig], Any]) -> None:
        self.config, self.job, self.trial = config, job, TrialContext(job)
        self.callbacks: Any = setup.hydra_context.callbacks
        first: Any = _FirstHalf(self.callbacks, JobFunction(function, job, setup.program))
        context = replace(setup.hydra_context, callbacks=first)
        outside, root = Path.cwd(), logging.getLogger()
        handlers, root.handlers = root.handlers, []
        try:
            hydra_utils.run_job(
                hydra_context=context,
                task_function=self._look,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        finally:
            root.handlers, self.handlers = handlers, root.handlers
        self.folder_is_entered = self.directory != outside
        self.returned = first.returned

    def _look(self, cfg: DictConfig) -> None:
        """In place of the app's function: keep what Hydra has set for it."""
        self.cfg, self.directory = cfg, Path.cwd()
        self.hydra: Any = HydraConfig.instance().cfg
        environment: Any = OmegaConf.to_container(HydraConfig.get().job.env_set, resolve=True)
        self.environment = {str(name): str(value) for name, value in environment.items()}

    @contextmanager
    def entered(self) -> Iterator[None]:
        """In the block everything is as in the job's own function."""
        hydra, root = HydraConfig.instance(), logging.getLogger()
        before, handlers, token = hydra.cfg, root.handlers, _current.set(self.trial)
        hydra.cfg, root.handlers = self.hydra, self.handlers
        try:
            with ExitStack() as stack:
                if self.folder_is_entered:
                    stack.enter_context(chdir(self.directory))
                if self.environment:
                    stack.enter_context(_environment(self.environment))
                yield
        finally:
            hydra.cfg, root.handlers = before, handlers
            _current.reset(token)

    def end(self, result: Any) -> None:
        """The second half: Hydra's callbacks see the result, and the log is closed."""
        self.returned.return_value = result
        with self.entered():
            self.callbacks.on_job_end(config=self.config, job_return=self.returned)
        for handler in self.handlers:
            handler.close()


@dataclass
class _FirstHalf:
    """Hydra's callbacks up to the job's function. The end is kept for later."""

    callbacks: Any
    function: JobFunction
    returned: JobReturn = None  # type: ignore[assignment]

    def on_job_start(self, *, config: DictConfig, **_: Any) -> None:
        self.callbacks.on_job_start(config=config, task_function=self.function)

    def on_job_end(self, *, job_return: JobReturn, **_: Any) -> None:
        self.returned = job_return


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
