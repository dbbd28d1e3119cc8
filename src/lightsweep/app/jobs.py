"""A job of train.py, which is one run: its folder and config, its errors, and the processes that it trains in."""

import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import parent_process
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig
from omegaconf.errors import OmegaConfBaseException

from lightsweep.config.mistakes import describe_error
from lightsweep.core import secrets, signals
from lightsweep.core.checks import require
from lightsweep.core.errors import ConfigError, DataChanged, Interrupted, SweepRefused
from lightsweep.core.text import printable
from lightsweep.runs import run_folder, saved_config
from lightsweep.sweeper.job import current_trial

_ONE_PROCESS = ("auto", "single_device", "single_xla", "single_tpu")  # of Lightning's strategies
_ALL = ("auto", "-1")


@dataclass(frozen=True)
class Run:
    """One run of train.py.

    Args:
        kind: run, job (of a grid), trial, seed, confirmation or ablation.
        overrides: what was typed or searched, ``key=value`` each.
        options: other options that were typed, ``--config-dir`` and ``--config-name``.
        save_changes: writes into the run's own config what it was given when it was resumed, and the number of threads
            if one was chosen.
    """

    folder: Path
    kind: str
    overrides: list[str]
    options: list[str]
    save_changes: Callable[[int | None], None]

    @property
    def is_trial(self) -> bool:
        """Whether it is one of many in a sweep, of which less is shown than of a run of its own."""
        return self.kind in ("trial", "seed", "ablation")


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
        elif cfg.threads == "auto":  # of a trial that goes on, perhaps on another machine
            cfg.threads = saved_config.read_threads(folder) or cfg.threads
        if str(cfg.run_dir) != str(folder):  # other paths follow from it
            raise ConfigError(f"run_dir must be left as it is, hydra.run.dir sets a run's folder, got {cfg.run_dir!r}")
        save_changes = partial(saved_config.write_changes, cfg, folder)
        yield cfg, Run(folder, kind, overrides, saved_config.config_options(hydra_cfg), save_changes)


def _kind_of_run(folder: Path, *, resumed: bool) -> str:
    if job := current_trial().job:
        return job.kind
    if resumed:
        return run_folder.kind_of_run(folder)
    return "job" if _is_multirun() else "run"


def _is_multirun() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


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
        if not _is_multirun() and not run_folder.is_follower():
            run_folder.print_how_to_resume(folder)
        raise
    except Exception as caught:
        error = run_folder.explain_lost_folder(folder, caught)
        refused = isinstance(error, ConfigError | HydraException | OmegaConfBaseException)
        if fresh and refused and not run_folder.is_follower():
            run_folder.discard_folder(folder)
        if isinstance(error, SweepRefused):
            print(error, file=sys.stderr)
            sys.exit(1)  # another sweeper would take an exception for one job's, and run the next
        # A launcher sends the error to the first process. The sweep prints DataChanged.
        if _is_multirun() and not isinstance(error, DataChanged) and (line := describe_error(error)):
            job = HydraConfig.get().job.num
            error.job, error.printed_by = job, _this_process()  # type: ignore[attr-defined]
            print(printable(f"job {job}: {secrets.redact(line)}"), file=sys.stderr)
        if error is caught:
            raise
        raise error from caught


def is_printed(error: Exception) -> bool:
    """Whether the error was printed in this process. Nobody reads what a launcher's job printed elsewhere."""
    return getattr(error, "printed_by", None) == _this_process()


def _this_process() -> tuple[str, int]:
    return platform.node(), os.getpid()


def is_in_worker() -> bool:
    """Whether this is a sweep's job in a worker process, which has run others like it or will."""
    return parent_process() is not None and current_trial().job is not None


def belongs_to_other_sweeper() -> bool:
    """Whether this job belongs to another sweeper, such as Optuna's official one."""
    ours = ("basic", "lightsweep")
    return _is_multirun() and HydraConfig.get().runtime.choices.get("hydra/sweeper") not in ours


def is_left_to_first_process(cfg: DictConfig) -> bool:
    """Whether another process runs this job. With distributed training each process runs all jobs of a grid; one that
    trains in a single process belongs to the first."""
    return run_folder.is_follower() and _is_multirun() and trains_in_one_process(cfg.trainer)


def count_gpus() -> int:
    from torch.cuda import device_count  # a job imports torch anyway

    return device_count()


def check_one_process(trainer: DictConfig, gpus: Callable[[], int] = count_gpus) -> None:
    """Check that a trial trains in one process. Lightning starts a further one as the command that was typed, which
    would be another sweep.

    Args:
        trainer: the config's node.
        gpus: counts what ``devices=auto`` would take where it is no CPU.

    Raises:
        ConfigError: it would start further processes.
    """
    nodes, strategy = trainer.get("num_nodes", 1), trainer.strategy
    for key, value, rule, holds in (
        ("num_nodes", nodes, "1", nodes == 1),
        ("strategy", strategy, "auto", str(strategy).lower() in _ONE_PROCESS),
        ("devices", trainer.devices, "one device", _count_devices(trainer, gpus) <= 1),
    ):
        require(holds, f"trainer.{key}", f"be {rule} in a sweep, where each trial trains in one process", value)


def trains_in_one_process(trainer: DictConfig, gpus: Callable[[], int] = count_gpus) -> bool:
    """Whether a run with this trainer trains in one process, judged by its number of devices and nodes."""
    return trainer.get("num_nodes", 1) == 1 and _count_devices(trainer, gpus) <= 1


def _count_devices(trainer: DictConfig, gpus: Callable[[], int]) -> int:
    """How many devices, as Lightning reads it: a number, a list of names, or all there are. A value that it does not
    understand counts as one: Lightning refuses it."""
    devices = trainer.devices
    if isinstance(devices, ListConfig | list | tuple):
        return len(devices)
    text = str(devices).strip()
    if text in _ALL:
        return 1 if trainer.accelerator in ("cpu", "mps") else gpus()
    if "," in text:
        return len([name for name in text.split(",") if name.strip()])
    return int(text) if text.isdecimal() else 1
