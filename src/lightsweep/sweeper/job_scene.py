"""What is global in a process and belongs to a job: Hydra's config, the log, the directory, the environment, the trial.
Jobs that run in one process at the same time enter theirs in turn."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, chdir, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.core import utils as hydra_utils
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf

from lightsweep.sweeper.job import Job, TrialContext, entered_trial
from lightsweep.sweeper.job_running import JobFunction, JobSetup


@dataclass
class JobScene:
    """A job that has begun and not ended: its folder, its `.hydra` files and its log are there.

    Args:
        config: composed, with its ``hydra`` node.
        cfg: what the app's function gets of it.
        hydra: what `HydraConfig` holds.
        returned: what Hydra's callbacks see at the job's end.
        callbacks: Hydra's.
        handlers: of the root logger.
        directory: that the job works in; None for that of the process.
        environment: variables that the config sets.
        whitelist: what the app lets Hydra call; None for whatever Hydra allows.
    """

    config: DictConfig
    cfg: DictConfig
    hydra: Any
    job: Job
    returned: JobReturn
    callbacks: Any
    handlers: list[logging.Handler]
    directory: Path | None
    environment: dict[str, str]
    whitelist: Any
    trial: TrialContext = field(init=False)

    def __post_init__(self) -> None:
        self.trial = TrialContext(self.job)

    @property
    def folder(self) -> Path:
        """The job's."""
        return Path(self.hydra.hydra.runtime.output_dir)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """In the block everything is as in the job's own function."""
        hydra, root = HydraConfig.instance(), logging.getLogger()
        before, handlers = hydra.cfg, root.handlers
        hydra.cfg, root.handlers = self.hydra, self.handlers
        try:
            with entered_trial(self.trial), ExitStack() as stack:
                stack.enter_context(_allowing(self.whitelist))
                if self.directory is not None and self.directory.is_dir():  # nobody has deleted it
                    stack.enter_context(chdir(self.directory))
                if self.environment:
                    stack.enter_context(_environment(self.environment))
                yield
        finally:
            hydra.cfg, root.handlers = before, handlers

    def end(self, result: Any) -> None:
        """Hydra's callbacks see the result, and the log is closed."""
        self.returned.return_value = result
        with self.entered():
            self.callbacks.on_job_end(config=self.config, job_return=self.returned)
        for handler in self.handlers:
            with suppress(OSError):  # of a full disk, which the job's own error names
                handler.close()


def begin(config: DictConfig, setup: JobSetup, job: Job, function: Callable[[DictConfig], Any]) -> JobScene:
    """Have Hydra itself begin a job, up to the call of the app's function.

    Args:
        config: composed, with its ``hydra`` node.
        function: the app's.

    Raises:
        Exception: Hydra could not, as the job's folder cannot be written.
    """
    seen: dict[str, Any] = {}

    def look(cfg: DictConfig) -> None:
        variables: Any = OmegaConf.to_container(HydraConfig.get().job.env_set, resolve=True)
        seen["environment"] = {str(name): str(value) for name, value in variables.items()}
        seen.update(cfg=cfg, hydra=HydraConfig.instance().cfg, directory=Path.cwd())

    callbacks: Any = _FirstHalf(setup.hydra_context.callbacks, JobFunction(function, job, setup.program))
    outside, root = Path.cwd(), logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        hydra_utils.run_job(
            hydra_context=replace(setup.hydra_context, callbacks=callbacks),
            task_function=look,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    finally:
        root.handlers, handlers = before, root.handlers
    if seen["directory"] == outside:
        seen["directory"] = None
    whitelist = getattr(setup.hydra_context, "execution_whitelist", None)  # Hydra 1.3 has none
    made: Any = {"returned": callbacks.returned, "callbacks": callbacks.all, "handlers": handlers, **seen}
    return JobScene(config, job=job, whitelist=whitelist, **made)


@dataclass
class _FirstHalf:
    """Hydra's callbacks up to the job's function. The end is kept for later."""

    all: Any
    function: JobFunction
    returned: JobReturn | None = None

    def on_job_start(self, *, config: DictConfig, **_: Any) -> None:
        self.all.on_job_start(config=config, task_function=self.function)

    def on_job_end(self, *, job_return: JobReturn, **_: Any) -> None:
        self.returned = job_return


def _allowing(whitelist: Any) -> AbstractContextManager:
    """In the block Hydra's `instantiate` calls what the app allows, as in a job of its own."""
    try:
        from hydra._internal.execution_policy import execution_whitelist
    except ImportError:  # Hydra 1.3
        return nullcontext()
    return execution_whitelist(whitelist, reset=True)


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
