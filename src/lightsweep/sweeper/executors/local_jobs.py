"""Jobs on this machine: in warm worker processes, in this process, or through a launcher of Hydra such as joblib's.

A worker is a process that imports the libraries of the app once, and then runs one job after another.
"""

import gc
import importlib
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from omegaconf import DictConfig

from lightsweep.core import signals
from lightsweep.sweeper.executors import Executor, Slot
from lightsweep.sweeper.job import Job, JobResult, JobState
from lightsweep.sweeper.job_running import JobFunction, JobSetup, last_line, prepare_process, run_job
from lightsweep.sweeper.references import why_not_started

_READY = "ready"  # a worker's first message, once it has imported what its jobs need; else why it cannot
_LAUNCHER_LOG = "launcher.log"


def serve_jobs(connection: Connection, log: Path, pickled: bytes, index: int, threads: int) -> None:
    """A worker's main function: it unpickles its `JobSetup`, jobs come through the connection, results go back. It
    ends with its parent."""
    os.setpgid(0, 0)  # Ctrl-C on the terminal is for the sweeper, which passes it on
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # which was blocked when it was started
    threading.Thread(target=_end_with_parent, daemon=True).start()
    redirect_output(log)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read once, when torch is first imported
    try:
        setup = pickle.loads(pickled)
        prepare_process(setup)
        _warm_up(setup.preload, index, threads)
    except Exception as error:  # of any code that is imported
        traceback.print_exc()
        connection.send(JobResult(JobState.REFUSED, error=why_not_started(error)))
        return
    gc.freeze()  # the collection after each job need not look at what exists now
    connection.send(_READY)
    with suppress(EOFError):
        while True:
            connection.send(run_job(setup, connection.recv()))
            _release_memory()


def _release_memory() -> None:
    """Release what the last trial used: the workers of a GPU share its memory, and each trial measures its own peak."""
    gc.collect()  # objects that refer to each other would stay: a trial's network and data
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _warm_up(modules: Sequence[str], index: int, threads: int) -> None:
    """The imports that take seconds, before the first job comes."""
    for module in modules:
        importlib.import_module(module)
    torch = sys.modules.get("torch")
    if torch is None:
        return
    torch.set_num_threads(threads)
    if gpu := share_of_gpus(index, torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")):
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before anything has touched CUDA


def share_of_gpus(index: int, gpus: int, visible: str | None) -> str | None:
    """CUDA_VISIBLE_DEVICES of a worker: each takes the next GPU in turn; None where there is none.

    Args:
        gpus: how many this process could use.
        visible: CUDA_VISIBLE_DEVICES as it is, which may name only some of the machine's.
    """
    if gpus == 0:
        return None
    names = [name for name in (visible or "").split(",") if name] or [str(number) for number in range(gpus)]
    return names[index % gpus]


def redirect_output(output: Path) -> None:
    """Write what this process prints, crashes of C code too, to a file: it would break up the sweeper's table."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would wait for a reader
    try:
        descriptor = os.open(output, flags, 0o644)
    except OSError:  # the path is something else, such as a link
        descriptor = os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


class WorkerSlot(Slot):
    """A worker process for this slot alone, so that one that is killed takes no other's trial with it.

    Args:
        index: of the worker, from 0.
        threads: for torch in it.
    """

    def __init__(self, setup: JobSetup, *, index: int, threads: int) -> None:
        self.setup, self.index, self.threads = setup, index, threads
        self.connection: Connection
        self.process: multiprocessing.process.BaseProcess
        self.refusal: JobResult | None = None  # why a worker cannot start
        self.is_busy = False
        self._start_process()

    def start(self, job: Job) -> None:
        if not self.process.is_alive() and not self._is_refused():
            self._start_process()
        self.is_busy = True
        with suppress(OSError):  # it died just now: `poll` reports how
            self.connection.send(job)

    def poll(self) -> JobResult | None:
        if not self.is_busy:
            return None
        result = self._receive() or self.refusal
        if result is None and not self.process.is_alive():
            code = self.process.exitcode or 0
            end = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            result = JobResult(JobState.LOST, error=f"the worker {end}")
        self.is_busy = result is None
        return result

    def is_starting(self) -> bool:
        if self.is_ready or not self.process.is_alive():  # how one died, `poll` reports
            return False
        self._receive()
        return not self.is_ready

    def waitables(self) -> list[Any]:
        return [self.connection, self.process.sentinel] if self.is_busy or self.is_starting() else []

    def stop(self) -> None:
        if (self.is_busy or not self.is_ready) and self.process.is_alive():
            self.process.terminate()

    def kill(self) -> None:
        self.process.kill()

    end_process = kill

    def close(self) -> None:
        self.connection.close()  # the worker ends at the end of its input
        self.process.join(5 if self.is_ready else 0)  # one that still starts does not read yet
        self.process.kill()

    def _receive(self) -> JobResult | None:
        """A result that has come; the first message of a new process is that it is ready, or why it cannot be."""
        with suppress(EOFError, OSError):
            while self.connection.poll():
                message = self.connection.recv()
                if message == _READY:
                    self.is_ready = True
                elif self.is_ready:
                    return message
                else:
                    self.refusal = message
        return None

    def _is_refused(self) -> bool:
        """Whether the process, which has ended, could not start, so that none can."""
        self._receive()
        code = self.process.exitcode or 0
        if self.refusal is None and code > 0 and not self.is_ready:
            self.refusal = JobResult(JobState.REFUSED, error=why_not_started(code))
        return self.refusal is not None

    def _start_process(self) -> None:
        self.is_ready = False
        context = multiprocessing.get_context("spawn")
        self.connection, other_end = context.Pipe()
        log = self.setup.folder / f"worker-{self.index}.log"
        arguments = (other_end, log, pickle.dumps(self.setup), self.index, self.threads)
        self.process = context.Process(target=serve_jobs, args=arguments, daemon=True)
        resource_tracker.ensure_running()  # its own start would unblock the signal
        with signals.blocking_interrupts():  # for the child, until it has left the terminal's process group
            self.process.start()
        other_end.close()


class InlineSlot(Slot):
    """This process, one job after another: for a debugger."""

    is_inline = True
    result: JobResult | None = None

    def __init__(self, setup: JobSetup) -> None:
        self.setup = setup

    def start(self, job: Job) -> None:
        self.result = run_job(self.setup, job)

    def poll(self) -> JobResult | None:
        result, self.result = self.result, None
        return result


@dataclass(frozen=True)
class _Quiet:
    """A job's function that prints into a file, where it runs in another process than the sweeper's."""

    function: Callable[[DictConfig], Any]
    sweeper: int  # its process id
    output: Path
    __wrapped__ = property(lambda self: self.function)

    def __call__(self, cfg: DictConfig) -> Any:
        if os.getpid() != self.sweeper:
            redirect_output(self.output)
        return self.function(cfg)


class LauncherSlot(InlineSlot):
    """A job through a launcher of Hydra: its `launch` blocks, so each slot waits in a thread.

    Args:
        function: the job's.
        n_jobs: how many jobs there are at once.
    """

    is_inline = False

    def __init__(self, setup: JobSetup, function: Any, n_jobs: int) -> None:
        super().__init__(setup)
        self.n_jobs = n_jobs
        self.function = _Quiet(function, os.getpid(), setup.folder / _LAUNCHER_LOG)
        self.thread: threading.Thread | None = None
        logging.getLogger("hydra_plugins").setLevel(logging.WARNING)  # the launcher's lines about each job

    def start(self, job: Job) -> None:
        self.thread = threading.Thread(target=self._launch, args=(job,), daemon=True)
        self.thread.start()

    def is_running(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def stop(self) -> None:
        """The job runs on where it is, but its trial is marked as interrupted."""
        if self.is_running():
            self.result = JobResult(JobState.INTERRUPTED, error="the sweep was interrupted")

    kill = stop

    def _launch(self, job: Job) -> None:
        try:
            launcher: Any = Plugins.instance().instantiate_launcher(
                config=self.setup.config,
                hydra_context=self.setup.hydra_context,
                task_function=JobFunction(self.function, job),
            )
            if hasattr(launcher, "joblib"):
                # A process for each job: Hydra's state is one a process, and joblib would run a single job in ours.
                own = {"n_jobs": max(2, self.n_jobs), "prefer": "processes", "require": None}
                launcher.joblib = {**launcher.joblib, **own}
            returned = launcher.launch([job.hydra_overrides], initial_job_idx=job.number)
            self.result = returned[0].return_value
        except Exception as error:  # the launcher's own, such as a process that was killed
            reason = f"{type(error).__name__}: {last_line(str(error))[:300]}"
            self.result = JobResult(JobState.FAILED, error=f"{reason} (log: {_LAUNCHER_LOG})")


def open_launcher(setup: JobSetup, function: Any, n_jobs: int) -> Executor:
    """An executor that runs `n_jobs` jobs at once through the launcher of the config."""
    slots = [LauncherSlot(setup, function, n_jobs) for _ in range(n_jobs)]
    return Executor(slots, close=lambda: _end_processes(at_once=any(slot.is_running() for slot in slots)))


def _end_processes(*, at_once: bool) -> None:
    """End joblib's processes. Python would wait at its end for the jobs that they still run."""
    if (loky := sys.modules.get("joblib.externals.loky")) is not None:
        loky.get_reusable_executor(reuse=True).shutdown(wait=not at_once, kill_workers=at_once)
