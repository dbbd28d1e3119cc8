"""How a job of a sweep is run, here or in another process."""

import json
import logging
import math
import time
from collections.abc import Callable
from contextlib import chdir, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra import version
from hydra.core import utils as hydra_utils
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from lightsweep.core import signals
from lightsweep.core.errors import ConfigError, Diverged, Interrupted, JobState, RunFailed, StorageLost
from lightsweep.core.files import write_atomic
from lightsweep.core.text import printable
from lightsweep.sweeper.application import Application, application_of
from lightsweep.sweeper.config_differences import REPEAT_FILE, write_config
from lightsweep.sweeper.job import Job, JobResult, TrialContext, entered_trial, values_of
from lightsweep.sweeper.lightning import as_plain_run, program
from lightsweep.sweeper.references import MAIN_ONLY, FunctionHere, FunctionReference, describe, find_lost

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobFunction:
    """An application's function in a job's context. However it ends, a `JobResult` comes back: a trial that is pruned
    or fails is no error of the sweep."""

    function: Callable[[DictConfig], Any]
    job: Job
    program: tuple[str, str | None] = field(default_factory=program)  # of the sweeper

    def __call__(self, cfg: DictConfig) -> JobResult:
        """Run the job. It leaves a file with its result, where it has not written it itself."""
        hydra_cfg, started = HydraConfig.get(), time.monotonic()
        trial = TrialContext(self.job)
        with entered_trial(trial), signals.as_exceptions():
            result = _call(as_plain_run(cfg, self.program)(self.function), cfg, trial, self.job)
        result = replace(result, seconds=time.monotonic() - started)
        leave_result(result, self.job, hydra_cfg, application_of(self.function).result_file)
        return result


def leave_result(result: JobResult, job: Job, hydra_cfg: Any, name: str) -> None:
    """Leave a file with the result in the job's folder, where there is none.

    Args:
        hydra_cfg: of the job.
        name: of the file.
    """
    file = Path(hydra_cfg.runtime.output_dir) / name
    if result.state == JobState.INTERRUPTED or file.exists():  # an interrupted one may go on in this folder
        return
    content = {
        "status": result.state,
        "kind": job.kind,
        **result.facts,
        **dict(zip(job.objectives, result.values, strict=False)),
        "overrides": list(hydra_cfg.overrides.task),
        "seconds": result.seconds,
        **({"error": result.error} if result.error else {}),
    }
    with suppress(OSError):
        write_atomic(file, json.dumps(content, indent=1) + "\n")


def _call(function: Callable[[DictConfig], Any], cfg: DictConfig, trial: TrialContext, job: Job) -> JobResult:
    limit = trial.limit
    try:
        try:
            limit.start()
            returned = function(cfg)
        finally:
            limit.is_closed = True  # before any call, in which a signal could be handled
            limit.stop()
    except (Exception, KeyboardInterrupt, SystemExit, Interrupted) as error:  # it must not end the sweep
        return result_of_error(error, trial)
    if trial.is_pruned or limit.has_ended_job:  # the app has caught the exception
        return _ended(trial, JobState.PRUNED)
    return result_of_value(returned, job, trial, getattr(function, "__name__", str(function)))


def result_of_error(error: BaseException, trial: TrialContext) -> JobResult:
    """The result of a job that ended with an error, which is logged where it is the app's own."""
    state = signals.state_of(error)
    if state == JobState.FAILED and (trial.is_pruned or trial.limit.has_ended_job):  # another error was made of it
        state = JobState.PRUNED
    if state == JobState.PRUNED or (state == JobState.INTERRUPTED and not isinstance(error, StorageLost)):
        return _ended(trial, state, by_signal=state == JobState.INTERRUPTED)
    if isinstance(error, ConfigError | Diverged | RunFailed):
        return _ended(trial, state, error=str(error))
    log.error("the trial failed", exc_info=error)
    return _ended(trial, state, error=f"{describe(error)}{_where_files_are(error)}")


def result_of_value(returned: Any, job: Job, trial: TrialContext, name: str) -> JobResult:
    """The result of a job that ended in order.

    Args:
        returned: by the app's function, of this name.
    """
    try:
        value, *further = values_of(returned, job, trial)
    except ValueError as error:
        return _ended(trial, JobState.FAILED, error=f"{name} {error}", of_all=True)
    for objective, each in zip(job.objectives, (value, *further), strict=True):
        if not math.isfinite(each):
            return _ended(trial, JobState.FAILED, error=f"{objective} became {each}")
    return _ended(trial, JobState.COMPLETED, value=value, further=tuple(further))


def _ended(trial: TrialContext, state: JobState, **details: Any) -> JobResult:
    if state == JobState.PRUNED and trial.limit.has_ended_job:
        details["error"] = trial.limit.note
    return JobResult(state, facts={**trial.facts, "status": state.value}, **details)


def _where_files_are(error: BaseException) -> str:
    """What to do where a relative path was not found because a trial runs in its own folder."""
    if not isinstance(error, FileNotFoundError) or not isinstance(error.filename, str):
        return ""
    if (Path(HydraConfig.get().runtime.cwd) / error.filename).exists():
        return "; hydra.job.chdir is true, so a trial runs in its own folder: hydra.utils.to_absolute_path finds it"
    return ""


@dataclass(frozen=True)
class JobSetup:
    """What every job of a sweep needs; picklable.

    Args:
        config: the sweep's composed config.
        hydra_context: with the execution whitelist, under which the jobs run.
        function: where the job's is found.
        preload: modules that a worker imports before its first job.
        records: names of the files in a job's folder that come back from another machine.
        registered: what the sweeper's process has that workers may lack, see `registered`.
        version_base: that the app gave to ``hydra.main``, by which Hydra decides on the working directory.
        program: with which the sweeper was started.
    """

    config: DictConfig
    hydra_context: HydraContext
    function: FunctionReference | FunctionHere
    preload: tuple[str, ...]
    records: tuple[str, ...]
    registered: frozenset[str] = frozenset()
    version_base: Any = field(default_factory=version.getbase)
    program: tuple[str, str | None] = field(default_factory=program)

    @property
    def folder(self) -> Path:
        """The sweep's."""
        return Path(self.config.hydra.sweep.dir).absolute()


def prepare_process(setup: JobSetup) -> None:
    """Make this process, which has run no Hydra yet, ready for jobs."""
    Plugins.instance()  # finds the plugins, whose configs a job may name
    version.VersionBase.instance().setbase(setup.version_base)
    hydra_utils.JobRuntime.instance().set("name", setup.config.hydra.job.name)


def run_job(setup: JobSetup, job: Job) -> JobResult:
    """Run one job in this process, as a launcher of Hydra would. The next one starts in the same directory."""
    with chdir(Path.cwd()):
        return explained(_run_job(setup, job), setup)


def explained(result: JobResult, setup: JobSetup) -> JobResult:
    """A job's result: refused where it failed for something that a worker lacks."""
    if result.state == JobState.FAILED and (lost := find_lost(setup.registered, setup.config, str(result.error))):
        return JobResult(JobState.REFUSED, error=f"{lost}, which a worker does not have: {MAIN_ONLY}")
    return result


def find_function(setup: JobSetup) -> Callable[[DictConfig], Any]:
    """The function of the jobs.

    Raises:
        ConfigError: this process cannot import it.
    """
    try:
        return setup.function.find()
    except (ImportError, AttributeError) as error:
        found = f"a worker does not find the function ({describe(error)})"
        raise ConfigError(f"{found}: {MAIN_ONLY}") from error


def _run_job(setup: JobSetup, job: Job) -> JobResult:
    hydra_utils.setup_globals()
    try:
        function = find_function(setup)
    except ConfigError as error:
        return JobResult(JobState.REFUSED, error=str(error))
    try:
        config = compose(setup, job)
        returned = hydra_utils.run_job(
            hydra_context=setup.hydra_context,
            task_function=JobFunction(function, job, setup.program),
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        leave_config(config, setup, job, application_of(function))
        return returned.return_value
    except Exception as error:  # such as a folder that cannot be written, a value that cannot be composed
        return JobResult(JobState.FAILED, error=describe(error))


def compose(setup: JobSetup, job: Job) -> DictConfig:
    """A job's config, with its ``hydra`` node."""
    config = setup.hydra_context.config_loader.load_sweep_config(setup.config, job.hydra_overrides)
    with open_dict(config):
        config.hydra.job.id = str(job.number)
        config.hydra.job.num = job.number
    return config


def leave_config(config: DictConfig, setup: JobSetup, job: Job, application: Application) -> None:
    """Write the file that runs a job again into its folder; without an error, as the result does not depend on it."""
    with suppress(OSError, HydraException, OmegaConfBaseException):
        folder, study = setup.folder / job.folder, setup.config.hydra.sweeper.study_name
        comment = printable(f"{folder.name} of the sweep {study}, to be run again")
        loader = setup.hydra_context.config_loader
        write_config(folder / REPEAT_FILE, comment, config, setup.config, loader, application)


def last_line(text: str) -> str:
    """The last line of a message or a trace, which names the error."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
