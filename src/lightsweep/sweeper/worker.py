"""A warm worker: a process that imports torch and Lightning once, and then runs one job after another."""

import gc
import importlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path

from hydra.core import utils as hydra_utils
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from lightsweep.sweeper import best_config
from lightsweep.sweeper.application import Application, application_of
from lightsweep.sweeper.job import Job, JobFunction, JobResult, JobState
from lightsweep.sweeper.portable import FunctionReference

READY = "ready"  # a worker's first word, once it has imported what its jobs need


@dataclass(frozen=True)
class JobSetup:
    """What every job of a sweep needs; picklable.

    Args:
        config: the sweep's composed config.
        hydra_context: with the execution whitelist, under which the jobs run.
        function: the job's.
        preload: modules that a worker imports before its first job.
        records: names of the files in a job's folder that come back from another machine.
    """

    config: DictConfig
    hydra_context: HydraContext
    function: FunctionReference
    preload: tuple[str, ...]
    records: tuple[str, ...]


def run_job(setup: JobSetup, job: Job) -> JobResult:
    """Run one job in this process, as a launcher of Hydra would."""
    hydra_utils.setup_globals()
    overrides = [*job.overrides, f"hydra.sweep.subdir='{job.folder}'"]
    try:
        function = setup.function.find()
        config = setup.hydra_context.config_loader.load_sweep_config(setup.config, overrides)
        with open_dict(config):
            config.hydra.job.id = str(job.number)
            config.hydra.job.num = job.number
        returned = hydra_utils.run_job(
            hydra_context=setup.hydra_context,
            task_function=JobFunction(function, job),
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        _leave_config(setup, job, config, application_of(function))
        return returned.return_value
    except Exception as error:  # a folder that cannot be written, a value that cannot be composed
        return JobResult(JobState.FAILED, error=" ".join(f"{type(error).__name__}: {error}".split()))


def _leave_config(setup: JobSetup, job: Job, config: DictConfig, application: Application) -> None:
    """A config in the job's folder that trains it again. Its result does not depend on that."""
    folder = Path(config.hydra.sweep.dir) / job.folder
    with suppress(OSError, HydraException, OmegaConfBaseException):
        best_config.write_repeat(folder, setup.hydra_context.config_loader, setup.config, config, application)


def prepare(setup: JobSetup) -> None:
    """Make this process, which has run no Hydra yet, ready for jobs."""
    Plugins.instance()  # finds the plugins, whose configs a job may name
    hydra_utils.JobRuntime.instance().set("name", setup.config.hydra.job.name)


def serve(connection: Connection, setup: JobSetup, index: int, threads: int, output: Path) -> None:
    """The life of a worker: jobs come through the connection, outcomes go back. It ends with its parent."""
    os.setpgid(0, 0)  # Ctrl-C on the terminal is for the sweeper, which passes it on
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # it was started with it blocked
    threading.Thread(target=_end_with_parent, daemon=True).start()
    redirect_output(output)
    prepare(setup)
    _warm_up(setup.preload, index, threads)
    gc.freeze()  # what is there now stays: the collection after each job need not look at it
    connection.send(READY)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        connection.send(run_job(setup, job))
        gc.collect()  # Lightning's objects refer to each other: the last trial's network and data would stay


def share_of_gpus(index: int, gpus: int, visible: str | None) -> str | None:
    """CUDA_VISIBLE_DEVICES of a worker: workers are dealt out over the GPUs in turn; None where there is none.

    Args:
        gpus: how many this process could use.
        visible: CUDA_VISIBLE_DEVICES as it is, which may name some of the machine's only.
    """
    if gpus == 0:
        return None
    names = [name for name in (visible or "").split(",") if name] or [str(number) for number in range(gpus)]
    return names[index % gpus]


def _warm_up(modules: Sequence[str], index: int, threads: int) -> None:
    """The imports that take seconds, before the first job is there."""
    for module in modules:
        importlib.import_module(module)
    torch = sys.modules.get("torch")
    if torch is None:
        return
    torch.set_num_threads(threads)
    if gpu := share_of_gpus(index, torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")):
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before anything has touched CUDA


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def redirect_output(output: Path) -> None:
    """What jobs print would tear the sweeper's view apart: it goes to a file, crashes of C code too."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would wait for a reader
    try:
        descriptor = os.open(output, flags, 0o644)
    except OSError:  # somebody has made something else of it
        descriptor = os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
