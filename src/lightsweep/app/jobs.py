"""Around one job of train.py: its folder, its errors, and what the process has to do with it."""

import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from lightsweep.config import processes
from lightsweep.config.messages import describe_error
from lightsweep.core import secrets, signals
from lightsweep.core.errors import ConfigError, DataChanged, Interrupted, SweepRefused
from lightsweep.core.text import printable
from lightsweep.runs import folder_hooks, run_folder, saved_config
from lightsweep.sweeper.job import current_trial


@dataclass(frozen=True)
class Run:
    """One run of train.py.

    Args:
        kind: run, job (of a grid), trial, seed or confirmation.
        overrides: what was typed or searched, ``key=value`` each.
        options: what was typed beside the overrides.
        save_changes: writes what a resumed run was given into its own config; of any other run it does nothing.
    """

    folder: Path
    kind: str
    overrides: list[str]
    options: list[str]
    save_changes: Callable[[], None]


@contextmanager
def open_run(cfg: DictConfig) -> Iterator[tuple[DictConfig, Run]]:
    """The run that Hydra has started, and its config: of a resumed run its own, with what is typed now on top.

    Raises:
        ConfigError: the folder holds another run, or `run_dir` is not the folder.
    """
    hydra_cfg = HydraConfig.get()
    folder, overrides = Path(hydra_cfg.runtime.output_dir), list(hydra_cfg.overrides.task)
    resumed = cfg.resume is not None
    kind = _kind_of_run(folder, resumed=resumed)
    with signals.as_exceptions(), _job(folder, fresh=not resumed and kind in ("run", "job")), signals.restoring():
        if resumed:
            own = saved_config.read_config(folder)
            cfg = saved_config.with_overrides(own, cfg, overrides, set(hydra_cfg.runtime.choices))
            overrides = list(cfg.overrides)
        if str(cfg.run_dir) != str(folder):  # other paths follow from it
            raise ConfigError(
                f"run_dir must be left as it is, hydra.run.dir says where a run lies, got {cfg.run_dir!r}"
            )
        save_changes = partial(saved_config.write_changes, cfg, folder)
        yield cfg, Run(folder, kind, overrides, saved_config.config_options(hydra_cfg), save_changes)


def _kind_of_run(folder: Path, *, resumed: bool) -> str:
    if job := current_trial().job:
        return job.kind
    if resumed:
        return run_folder.kind_of_run(folder)
    return "job" if HydraConfig.get().mode == RunMode.MULTIRUN else "run"


@contextmanager
def _job(folder: Path, *, fresh: bool) -> Iterator[None]:
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


def is_left_to_first_process(cfg: DictConfig) -> bool:
    """Does this process have no part in a job? Of a grid whose jobs train in several processes, each process runs the
    whole command; a job in between that trains in one process is the first one's."""
    if not run_folder.is_follower() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return False
    from torch.cuda import device_count

    return processes.is_single(cfg.trainer, device_count)
