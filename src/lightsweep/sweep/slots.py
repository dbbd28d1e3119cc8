"""Places where a job can run: a warm worker process, this process, or whatever a Hydra launcher reaches."""

import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from hydra.core.plugins import Plugins

from lightsweep.sweep.assignment import Assignment, Outcome, Task
from lightsweep.sweep.worker import Workplace, run, serve


class Slot(Protocol):
    """One job at a time: `start`, then `poll` until an outcome comes."""

    def start(self, assignment: Assignment) -> None: ...

    def poll(self) -> Outcome | None: ...

    def waitables(self) -> list[Any]:
        """What becomes ready when there may be an outcome."""
        ...

    def stop(self) -> None:
        """Ask the running job to end in order."""
        ...

    def kill(self) -> None: ...

    def close(self) -> None: ...


class WorkerSlot:
    """A warm worker process of its own, so that one that is killed takes no other's trial with it.

    Args:
        index: of the worker, from 0.
        threads: for torch in it.
    """

    def __init__(self, place: Workplace, *, index: int, threads: int) -> None:
        self.place, self.index, self.threads = place, index, threads
        self.process: multiprocessing.process.BaseProcess | None = None
        self.connection: Connection | None = None
        self.busy = False
        self._spawn()

    def start(self, assignment: Assignment) -> None:
        if self.process is None or not self.process.is_alive():
            self._spawn()
        assert self.connection is not None
        self.busy = True
        with suppress(OSError):  # it died just now: `poll` says how
            self.connection.send(assignment)

    def poll(self) -> Outcome | None:
        if not self.busy or self.process is None or self.connection is None:
            return None
        with suppress(EOFError, OSError):
            if self.connection.poll():
                outcome = self.connection.recv()
                self.busy = False
                return outcome
        if self.process.is_alive():
            return None
        self.process.join()
        self.busy = False
        return Outcome("failed", error=_epitaph(self.process.exitcode))

    def waitables(self) -> list[Any]:
        return [self.connection, self.process.sentinel] if self.busy and self.process else []

    def stop(self) -> None:
        if self.busy and self.process is not None and self.process.is_alive():
            self.process.terminate()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()  # the worker ends at the end of its input
        if self.process is not None:
            self.process.join(5)
            self.process.kill()

    def _spawn(self) -> None:
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


class _Kept:
    """A slot that keeps its job's outcome until it is polled, and wakes nobody."""

    outcome: Outcome | None = None

    def poll(self) -> Outcome | None:
        outcome, self.outcome = self.outcome, None
        return outcome

    def waitables(self) -> list[Any]:
        return []


class InlineSlot(_Kept):
    """This process, one job after another: for a debugger."""

    def __init__(self, place: Workplace) -> None:
        self.place = place

    def start(self, assignment: Assignment) -> None:
        self.outcome = run(self.place, assignment)

    def stop(self) -> None:
        """Nothing runs while this could be called."""

    def kill(self) -> None:
        """Nothing runs while this could be called."""

    def close(self) -> None:
        """Nothing to close."""


class LauncherSlot(_Kept):
    """A job through a launcher of Hydra, such as submitit's: `launch` blocks, so each slot waits in a thread.

    Args:
        function: the job's.
    """

    def __init__(self, place: Workplace, function: Any) -> None:
        self.place, self.function = place, function
        self.thread: threading.Thread | None = None

    def start(self, assignment: Assignment) -> None:
        self.thread = threading.Thread(target=self._launch, args=(assignment,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """The job goes on where it is; its trial is marked as interrupted all the same."""
        if self.thread is not None and self.thread.is_alive():
            self.outcome = Outcome("interrupted")

    def kill(self) -> None:
        self.stop()

    def close(self) -> None:
        """The launcher's jobs are its own."""

    def _launch(self, assignment: Assignment) -> None:
        overrides = [*assignment.overrides, f"hydra.sweep.subdir='{assignment.folder}'"]
        try:
            launcher = Plugins.instance().instantiate_launcher(
                config=self.place.config,
                hydra_context=self.place.hydra_context,
                task_function=Task(self.function, assignment),
            )
            returned = launcher.launch([overrides], initial_job_idx=assignment.number)
            self.outcome = returned[0].return_value
        except Exception as error:  # the launcher's own: a job that was cancelled, a cluster that is down
            self.outcome = Outcome("failed", error=" ".join(f"{type(error).__name__}: {error}".split()))


def _epitaph(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"the worker died of {signal.Signals(-exitcode).name}"
    return f"the worker ended with exit code {exitcode}"
