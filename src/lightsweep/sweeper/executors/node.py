"""What submitit runs on a node of a cluster: one job of a sweep, which leaves its outcome in its folder."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightsweep.core import signals
from lightsweep.core.errors import Interrupted
from lightsweep.sweeper.executors import job_marks
from lightsweep.sweeper.job import RESULT_FILE, Job, JobResult, JobState, write_result
from lightsweep.sweeper.worker import JobSetup, prepare, run_job

_SECONDS = 20.0  # that a command of Slurm's may take


@dataclass(frozen=True)
class NodeJob:
    """A job that travels: plain data and a reference.

    Args:
        folder: the job's, as an absolute path that all nodes have.
        token: that stands in the folder's mark, where this is still the job of its folder.
    """

    place: JobSetup
    job: Job
    folder: str
    token: str

    def __call__(self) -> None:
        """Run it. A job that was started again goes on from its last.ckpt, as any run in its own folder does."""
        warning = _warning_of_the_end()
        submitits: Any = signal.getsignal(warning)
        signals.listen_to(warning)
        if not job_marks.sign(Path(self.folder), self.token, _job_id):
            return
        Path(self.folder, RESULT_FILE).unlink(missing_ok=True)  # of the time before
        with signals.as_exceptions():
            try:
                outcome = self._run()
            except Interrupted:
                outcome = JobResult(JobState.INTERRUPTED, by_signal=True)
            received = signals.received()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing of what follows takes long
        if outcome.state == JobState.INTERRUPTED and received == warning:
            outcome = _started_again(submitits, warning, outcome)
        elif outcome.state == JobState.INTERRUPTED and _makes_room():
            sys.exit(1)
        write_result(outcome, Path(self.folder))

    def checkpoint(self) -> Any:
        """What is to run when the job is started again: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _run(self) -> JobResult:
        if cpus := os.environ.get("SLURM_CPUS_PER_TASK"):
            os.environ.setdefault("OMP_NUM_THREADS", cpus)  # read once, when torch is first imported
        prepare(self.place)
        return run_job(self.place, self.job)


def _job_id() -> str:
    from submitit import JobEnvironment

    return JobEnvironment().job_id


def _warning_of_the_end() -> signal.Signals:
    """The signal by which the scheduler says that the job's time is over in a moment."""
    from submitit import JobEnvironment

    return JobEnvironment._usr_sig()


def _makes_room() -> bool:
    """Put a job that Slurm asked to end back into the queue, if it is to make room for another one.

    Slurm itself does so only with a job that is still there when its grace time is over. One that was cancelled is no
    longer called running.
    """
    number = os.environ.get("SLURM_JOB_ID")
    if number is None:
        return False
    try:
        asked = subprocess.run(
            ["squeue", "-h", "-o", "%T", "-j", number], capture_output=True, text=True, timeout=_SECONDS, check=True
        )
        if asked.stdout.strip() != "RUNNING":
            return False
        subprocess.run(["scontrol", "requeue", number], capture_output=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):  # this scheduler takes no job back
        return False
    return True


def _started_again(submitits: Any, warning: int, outcome: JobResult) -> JobResult:
    """Let submitit put the job back into the queue, which ends this process; the outcome where it may not.

    Args:
        submitits: its handler of the warning, which counts the times (``hydra.launcher.max_num_timeout``).
    """
    from submitit.core.utils import UncompletedJobError

    try:
        submitits(warning, None)
    except UncompletedJobError:
        limit = "the time limit was reached (hydra.launcher.timeout_min)"
        return JobResult(JobState.FAILED, error=limit, facts=outcome.facts)
    except (OSError, subprocess.SubprocessError):  # this scheduler takes no job back
        pass
    return outcome
