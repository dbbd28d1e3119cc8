"""Jobs on this machine: in warm worker processes, or in this process."""

import multiprocessing
import os
import signal
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from lightsweep.sweeper.executors.slot import KeptOutcome, Slot
from lightsweep.sweeper.job import Job, JobResult, JobState
from lightsweep.sweeper.worker import READY, JobSetup, run_job, serve


class WorkerSlot(Slot):
    """A warm worker process of its own, so that one that is killed takes no other's trial with it.

    Args:
        index: of the worker, from 0.
        threads: for torch in it.
    """

    def __init__(self, place: JobSetup, *, index: int, threads: int) -> None:
        self.place, self.index, self.threads = place, index, threads
        self.process: multiprocessing.process.BaseProcess | None = None
        self.connection: Connection | None = None
        self.busy = False
        self.ready = False
        self._spawn()

    def start(self, job: Job) -> None:
        if self.process is None or not self.process.is_alive():
            self._spawn()
        assert self.connection is not None
        self.busy = True
        with suppress(OSError):  # it died just now: `poll` says how
            self.connection.send(job)

    def poll(self) -> JobResult | None:
        if not self.busy or self.process is None or self.connection is None:
            return None
        if (outcome := self._heard()) is not None:
            self.busy = False
            return outcome
        if self.process.is_alive():
            return None
        self.process.join()
        self.busy = False
        return JobResult(JobState.LOST, error=_how_it_died(self.process.exitcode))

    def is_starting(self) -> bool:
        if self.ready or self.process is None or not self.process.is_alive():  # of one that died `poll` will say how
            return False
        self._heard()
        return not self.ready

    def waitables(self) -> list[Any]:
        return [self.connection, self.process.sentinel] if self.process and (self.busy or self.is_starting()) else []

    def stop(self) -> None:
        if (self.busy or not self.ready) and self.process is not None and self.process.is_alive():
            self.process.terminate()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()  # the worker ends at the end of its input
        if self.process is not None:
            self.process.join(5 if self.ready else 0)  # one that still starts hears nothing
            self.process.kill()

    def _heard(self) -> JobResult | None:
        """An outcome that has come; a new process says first that it is ready."""
        assert self.connection is not None
        with suppress(EOFError, OSError):
            while self.connection.poll():
                said = self.connection.recv()
                if said != READY:
                    return said
                self.ready = True
        return None

    def _spawn(self) -> None:
        self.ready = False
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        output = Path(self.place.config.hydra.sweep.dir) / f"worker-{self.index}.log"
        self.process = context.Process(
            target=serve, args=(theirs, self.place, self.index, self.threads, output), daemon=True
        )
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = str(self.threads)  # read once, when torch is first imported
        # Ctrl-C on a terminal is for all of its processes, until `serve` has left them. It comes after the start. (The
        # tracker, which the first start starts, would take the block away.)
        resource_tracker.ensure_running()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.environ.pop("OMP_NUM_THREADS")
            if before is not None:
                os.environ["OMP_NUM_THREADS"] = before
        theirs.close()


class InlineSlot(KeptOutcome):
    """This process, one job after another: for a debugger."""

    is_inline = True

    def __init__(self, place: JobSetup) -> None:
        self.place = place

    def start(self, job: Job) -> None:
        self.outcome = run_job(self.place, job)

    def stop(self) -> None:
        """Nothing runs while this could be called."""

    def kill(self) -> None:
        """Nothing runs while this could be called."""

    def close(self) -> None:
        """Nothing to close."""


def _how_it_died(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"the worker died of {signal.Signals(-exitcode).name}"
    return f"the worker ended with exit code {exitcode}"
