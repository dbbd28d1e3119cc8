"""A worker process: it imports the libraries of the app once, and then serves what comes through its connection."""

import importlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from lightsweep.core import memory, signals
from lightsweep.sweeper.job import JobResult, JobState
from lightsweep.sweeper.job_running import JobSetup, prepare_process
from lightsweep.sweeper.references import why_not_started

_READY = "ready"  # a worker's first message, once it has imported what its jobs need; else why it cannot
Serve = Callable[[JobSetup, Connection], None]  # a worker's loop; picklable


def _main(serve: Serve, connection: Connection, log: Path, pickled: bytes, index: int, threads: int) -> None:
    """A worker's main function: it unpickles its `JobSetup`, and serves. It ends with its parent."""
    os.setpgid(0, 0)  # Ctrl-C on the terminal is for the sweeper, which passes it on
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # which was blocked when it was started
    threading.Thread(target=_end_with_parent, daemon=True).start()
    redirect_output(log)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read once, when torch is first imported
    try:
        with memory.importing_libraries():
            setup = pickle.loads(pickled)
            prepare_process(setup)
            _warm_up(setup.preload, index, threads)
    except Exception as error:  # of any code that is imported
        traceback.print_exc()
        connection.send(JobResult(JobState.REFUSED, error=why_not_started(error)))
        return
    connection.send(_READY)
    with suppress(EOFError):
        serve(setup, connection)


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


class WorkerProcess:
    """A worker as its sweeper sees it.

    Args:
        index: of the worker, from 0.
        threads: for torch in it.
        serve: what it does.
    """

    def __init__(self, setup: JobSetup, *, index: int, threads: int, serve: Serve) -> None:
        self.setup, self.index, self.threads, self.serve = setup, index, threads, serve
        self.connection: Connection
        self.process: multiprocessing.process.BaseProcess
        self.refusal: JobResult | None = None  # why a worker cannot start
        self.start()

    def start(self) -> None:
        """Start the process, or another one in place of one that has ended."""
        self.is_ready = False
        context = multiprocessing.get_context("spawn")
        self.connection, other_end = context.Pipe()
        log = self.setup.folder / f"worker-{self.index}.log"
        arguments = (self.serve, other_end, log, pickle.dumps(self.setup), self.index, self.threads)
        self.process = context.Process(target=_main, args=arguments, daemon=True)
        resource_tracker.ensure_running()  # its own start would unblock the signal
        with signals.blocking_interrupts():  # for the child, until it has left the terminal's process group
            self.process.start()
        other_end.close()

    def is_alive(self) -> bool:
        return self.process.is_alive()

    def is_starting(self) -> bool:
        """Whether it does not serve yet."""
        if not self.is_ready and self.is_alive():  # how one died, `refuses` tells
            self._receive_ready()
        return not self.is_ready and self.is_alive()

    def refuses(self) -> bool:
        """Whether the process, which has ended, could not start, so that none can."""
        self._receive_ready()
        code = self.process.exitcode or 0
        if self.refusal is None and code > 0 and not self.is_ready:
            self.refusal = JobResult(JobState.REFUSED, error=why_not_started(code))
        return self.refusal is not None

    def receive(self) -> Any:
        """The next message that has come; None where there is none."""
        self._receive_ready()
        with suppress(EOFError, OSError):
            if self.is_ready and self.connection.poll():
                return self.connection.recv()
        return None

    def send(self, message: Any) -> None:
        with suppress(OSError):  # it died just now: `describe_end` tells how
            self.connection.send(message)

    def waitables(self) -> list[Any]:
        """What becomes ready when there is a message, or it has ended."""
        return [self.connection, self.process.sentinel]

    def describe_end(self) -> str:
        """How the process, which has ended, did."""
        code = self.process.exitcode or 0
        end = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"the worker {end}"

    def stop(self) -> None:
        """Ask it to end what it does in order."""
        if self.is_alive():
            self.process.terminate()

    def kill(self) -> None:
        self.process.kill()

    def close(self) -> None:
        self.connection.close()  # the worker ends at the end of its input
        self.process.join(5 if self.is_ready else 0)  # one that still starts does not read yet
        self.process.kill()

    def _receive_ready(self) -> None:
        """Take the first message of a new process: that it is ready, or why it cannot be."""
        with suppress(EOFError, OSError):
            if not self.is_ready and self.refusal is None and self.connection.poll():
                message = self.connection.recv()
                self.is_ready = message == _READY
                self.refusal = None if self.is_ready else message
