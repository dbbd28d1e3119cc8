"""Around one job of train.py: its folder, its errors, and what the process has to do with it."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from lightsweep.config.messages import describe_error
from lightsweep.core import secrets
from lightsweep.core.errors import ConfigError, DataChanged, Interrupted, SweepRefused
from lightsweep.core.text import printable
from lightsweep.runs import folder_hooks, run_folder


@contextmanager
def job_context(folder: Path, *, fresh: bool) -> Iterator[None]:
    """Remove the folder of a job that was refused; print the error of a grid's job at once.

    Args:
        fresh: it is no resumed run, and no job of a sweep.
    """
    try:
        if fresh and run_folder.was_trained(folder) and not run_folder.is_follower():
            raise ConfigError(f"{folder} holds a run already: choose another hydra.run.dir or hydra.sweep.dir")
        yield
    except Interrupted:
        if HydraConfig.get().mode == RunMode.RUN and not run_folder.is_follower():
            folder_hooks.print_how_to_resume(folder)
        raise
    except Exception as caught:
        error = folder_hooks.explain_lost_folder(folder, caught)
        refused = isinstance(error, ConfigError | HydraException | OmegaConfBaseException)
        if fresh and refused and not run_folder.is_follower():
            folder_hooks.discard_folder(folder)
        if isinstance(error, SweepRefused):
            print(error, file=sys.stderr)
            sys.exit(1)  # another sweeper would take an exception for one job's, and run the next
        is_grid = HydraConfig.get().mode == RunMode.MULTIRUN and not isinstance(error, DataChanged)  # the sweep says it
        if is_grid and (line := describe_error(error)):
            _print_of_job(error, line, HydraConfig.get().job.num)
        if error is caught:
            raise
        raise error from caught


def _print_of_job(error: Exception, line: str, job: int) -> None:
    """Print it now, and note on the error, which a launcher sends to the first process, that and where it was done."""
    error.job, error.printed_by = job, _this_process()  # type: ignore[attr-defined]
    print(printable(f"job {job}: {secrets.redact(line)}"), file=sys.stderr)


def is_printed(error: Exception) -> bool:
    """Was the error printed in this process? Nobody reads what a launcher's job printed elsewhere."""
    return getattr(error, "printed_by", None) == _this_process()


def _this_process() -> tuple[str, int]:
    return platform.node(), os.getpid()


def belongs_to_other_sweeper() -> bool:
    """Does this job belong to a sweeper that is not ours, such as Optuna's official one?"""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return False
    return HydraConfig.get().runtime.choices.get("hydra/sweeper") not in ("basic", "lightsweep")


def is_follower_of_grid() -> bool:
    """Is this a further process of distributed training, which runs the whole command of a grid again?"""
    return run_folder.is_follower() and HydraConfig.get().mode == RunMode.MULTIRUN
