"""From Hydra's sweeper interface to a session, and from its errors to Hydra's."""

import logging
import multiprocessing
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from hydra.errors import CompactHydraException, HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from lightsweep.core import secrets, signals
from lightsweep.core.errors import ConfigError, Interrupted, RunFailed
from lightsweep.core.text import first_line, printable
from lightsweep.sweeper import optuna_access, session, view
from lightsweep.sweeper.application import Application, application_of
from lightsweep.sweeper.plan import make_plan


def run(
    settings: dict[str, Any],
    config: DictConfig,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    arguments: list[str],
) -> float:
    """Run a sweep; returns the best value."""
    if _is_imported_by_worker():
        sys.exit(1)  # the sweeper says why
    optuna.logging.set_verbosity(logging.WARNING)
    optuna_access.restrict_cmaes()
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # chosen on purpose
    application = application_of(task_function)
    if type(application) is not Application:  # it handles errors and signals itself
        return session.run(make_plan(settings, config, hydra_context, task_function, arguments))
    with _ending_in_one_line(application):
        return session.run(make_plan(settings, config, hydra_context, task_function, arguments))


@contextmanager
def _ending_in_one_line(application: Application) -> Iterator[None]:
    """Make an error one that Hydra prints as a line, with exit code 1, and a signal an exit code.

    Raises:
        CompactHydraException: the sweep was refused, or failed.
        SystemExit: it was interrupted; a line on stderr says how to continue.
    """
    try:
        with signals.as_exceptions(to_the_end=True):
            yield
    except Interrupted as error:
        if not error.is_printed:
            line = f"interrupted: {view.repeat_command(application.program, sys.argv[1:])} continues the sweep"
            print(printable(secrets.redact(line)), file=sys.stderr, flush=True)
        sys.exit(128 + error.signum)
    except (ConfigError, RunFailed, HydraException) as error:
        raise CompactHydraException(printable(secrets.redact(_one_line(error)))) from error


def _one_line(error: Exception) -> str:
    if not isinstance(error, HydraException):
        return str(error)
    line = " ".join(str(error).partition("Config search path:")[0].split())
    reason = first_line(str(error.__cause__)) if isinstance(error.__cause__, OmegaConfBaseException) else ""
    return f"{line}: {reason}" if reason else line


def _is_imported_by_worker() -> bool:
    """Whether this process is a worker that imports the script, which starts the app whoever imports it."""
    return getattr(multiprocessing.current_process(), "_inheriting", False)  # as multiprocessing's own check has it
