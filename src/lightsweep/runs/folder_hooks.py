"""A run's folder is created with its config.yaml, and removed again if the run never started."""

import shlex
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lightsweep.core.errors import Interrupted, RunFailed
from lightsweep.core.files import (
    create_folder_atomically,
    find_missing,
    remove_empty,
    remove_leftover_folders,
    remove_leftovers,
)
from lightsweep.runs.run_folder import CONFIG, is_follower, is_run, was_trained
from lightsweep.runs.saved_config import write_config

_GRID = "multirun.yaml"


class ConfigFirst(Callback):
    """A Hydra callback: the run's own config.yaml is in its folder from the moment that the folder exists.

    So a run that is killed at any moment can be resumed. (Hydra's `.hydra/config.yaml` does not do for this: a run
    that resumes in the same folder writes over it.)
    """

    def __init__(self) -> None:
        self.unused: Path | None = None  # the folder made here, until a job works in it
        self.before: set[str] = set()  # what lay in a grid's folder
        self.made: list[Path] = []  # the folders that a grid has to make
        self.jobs = self.trained = 0  # of a grid: begun, and worth their folders

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.run.dir)
        if config.get("resume") is not None or is_follower() or folder.exists():
            return  # where the folder exists, `on_job_start` writes
        with suppress(OSError, OmegaConfBaseException):  # what is wrong comes up again, and is reported, in the run
            remove_leftover_folders(folder.parent)
            with create_folder_atomically(folder) as new:
                write_config(config, new)
            self.unused = folder.absolute()

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        self.unused = None
        self.jobs += 1
        folder = Path(config.hydra.runtime.output_dir)
        if not is_follower():
            remove_leftovers(folder)
        if not is_run(folder) and not is_follower():
            with suppress(OmegaConfBaseException):
                write_config(config, folder)

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        if self.unused is None:
            return
        if isinstance(sys.exception(), Interrupted):
            print_how_to_resume(self.unused)
        else:  # Hydra itself failed
            discard_folder(self.unused)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        self.trained += was_trained(Path(config.hydra.runtime.output_dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        self.made = find_missing(folder)
        self.before = {file.name for file in folder.glob("*")}

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Remove what a grid leaves that came to nothing. Its jobs' folders may lie elsewhere, `hydra.sweep.subdir`
        says; jobs of a launcher run in other processes, and are known by their folders only."""
        folder = Path(config.hydra.sweep.dir)
        left = {file.name for file in folder.glob("*")} - self.before
        if is_follower():
            if self.made and not self.trained:  # its name has the time in it: the first process has another one
                shutil.rmtree(folder, ignore_errors=True)
            return
        if self.trained or not left <= {_GRID} or _jobs_lie_elsewhere(config):
            return
        for name in left:
            (folder / name).unlink()
        remove_empty(self.made)
        if not self.jobs and config.hydra.runtime.choices.get("hydra/sweeper") == "basic":
            _refuse_no_job()


def _jobs_lie_elsewhere(config: DictConfig) -> bool:
    """Do a launcher's jobs have folders outside the grid's? Those without a launcher are counted."""
    if config.hydra.runtime.choices.get("hydra/launcher") == "basic":
        return False
    below = Path(str(OmegaConf.to_container(config.hydra.sweep, resolve=False)["subdir"]))  # type: ignore[call-overload, index]
    return below.is_absolute() or ".." in below.parts


def _refuse_no_job() -> None:
    """End the process where a grid came to nothing without an error: Hydra itself would call that a success."""
    if sys.exc_info()[1] is None:
        print(
            "no job was run: a glob found no choice; it enters no folder, '+experiment/reference=glob(a*)' names one",
            file=sys.stderr,
        )
        sys.exit(1)  # an exception in a callback would be no more than a warning


def print_how_to_resume(folder: Path) -> None:
    """The one line at the end of a run that was interrupted."""
    print(f"interrupted: python src/train.py resume={shlex.quote(str(folder))} goes on", file=sys.stderr)


def discard_folder(folder: Path) -> None:
    """Remove the folder of a run that never began: what Hydra and `ConfigFirst` wrote, and itself if that was all."""
    if was_trained(folder):
        return
    shutil.rmtree(folder / ".hydra", ignore_errors=True)
    for leftover in (folder / CONFIG, folder / "train.log", folder / "hparams.yaml", *folder.glob("events.out.*")):
        leftover.unlink(missing_ok=True)
    with suppress(OSError):  # it holds something of the user's
        folder.rmdir()


def explain_lost_folder(folder: Path, error: Exception) -> Exception:
    """The error that ended a run; a plain one if its folder was removed."""
    missing = isinstance(error, FileNotFoundError) or isinstance(error.__cause__, FileNotFoundError)
    if not missing or (folder / CONFIG).exists():
        return error
    return RunFailed(f"the folder of the run was removed while it ran: {folder}")
