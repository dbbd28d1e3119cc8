"""The jobs of a cluster that a sweep has on their way.

What a job comes to is a file in its folder, `outcome.json`: a sweeper that was killed and is started again finds the
jobs that it had submitted, in `job.json`, and waits for them.
"""

import secrets
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lightsweep.core import files
from lightsweep.core.errors import RunFailed
from lightsweep.core.files import read_regular
from lightsweep.core.paths import is_inside
from lightsweep.core.text import Wait
from lightsweep.sweeper.executors import job_marks
from lightsweep.sweeper.executors.cluster import DONE, FAULT, NO_FAULT, RUNNING, UNKNOWN, Cluster, State
from lightsweep.sweeper.executors.job_marks import Mark
from lightsweep.sweeper.executors.node import NodeJob
from lightsweep.sweeper.executors.slot import Slot
from lightsweep.sweeper.job import RESULT_FILE, Job, JobResult, JobState, read_result
from lightsweep.sweeper.reports import FileReports, Mailbox
from lightsweep.sweeper.worker import JobSetup

_LOOK_EVERY = 5.0  # seconds between two questions to the scheduler
_SLOW_DISK = 20.0  # seconds after a job's end that its last file may need to be seen here
_SETTLED = 15.0  # seconds after which a job that could be put back into the queue was not
_UNKNOWN = 60.0  # seconds after its submission that a scheduler may not know a job
_SCHEDULERS_LINES = ("srun: ", "slurmstepd", "submitit ")  # of a log
_PATIENCE = 300.0  # seconds that a submission is tried again
_TRY_AGAIN = 5.0  # seconds


@dataclass
class _Submission:
    """A job on its way.

    Args:
        job: as the sweeper has it, with the study's own reports.
        mailbox: None where the job reports nothing.
        job_id: None until it is submitted.
        log: its file, relative to the sweep's folder if it is in it.
        ours: false where only a file says so, and a result is there: the scheduler is not asked, nor told to end it.
        token: by which the job knows that it is the one of its folder.
        ended: when the scheduler first said so.
    """

    job: Job
    folder: Path
    mailbox: Mailbox | None
    job_id: str | None = None
    log: str = ""
    ours: bool = True
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    submitted: float = field(default_factory=time.monotonic)
    ended: float | None = None


class Queue:
    """The jobs of a sweep's slots: submits together what is handed in together, and asks for all at once.

    Args:
        folder: the sweep's.
        leave: let jobs go on when the sweep is interrupted.
    """

    def __init__(self, cluster: Cluster, place: JobSetup, folder: Path, *, leave: bool) -> None:
        self.cluster, self.place, self.folder, self.leave = cluster, place, folder, leave
        self._waiting: list[_Submission] = []
        self._running: list[_Submission] = []
        self._states: dict[str, State] = {}
        self._next_look = self._next_try = self._next_cancel = 0.0
        self._refused, self._queued = Wait(), Wait()
        self._stopped = self._killed = self._cancelled = False

    def has_job(self, folder: Path, overrides: Sequence[str] | None = None) -> bool:
        """Whether a job of this folder was submitted, by a sweeper that is gone: it runs, or has left its outcome.

        Args:
            overrides: that it must have. One with others is cancelled: its folder is to be another one's.
        """
        for each in (folder, *sorted(folder.glob("seed-*"))):
            found = self._found(each)
            if found is None:
                job_marks.withdraw(each)
                continue
            if overrides is None or found.overrides == list(overrides):
                return True
            if found.ours:
                self.cluster.cancel([found.job_id])
        return False

    def hand_in(self, job: Job) -> _Submission:
        """A job to be submitted; one that was submitted before is waited for."""
        folder = self.folder / job.folder
        submission = _Submission(job, folder, Mailbox(folder, job.reports) if job.reports else None)
        if (found := self._found(folder)) is None:
            files.set_aside(folder)  # a new job has none, unless somebody made it
        else:
            submission.job_id, submission.log, submission.ours = found.job_id, found.log, found.ours
        (self._waiting if found is None else self._running).append(submission)
        return submission

    def outcome(self, job: _Submission) -> JobResult | None:
        """How a job ended; None while it has not.

        Raises:
            RunFailed: the scheduler takes no jobs.
        """
        self._turn()
        outcome = self._outcome(job)
        if outcome is not None:
            if job.job.kind == "confirmation" and outcome.state != JobState.DETACHED:
                job_marks.remove(job.folder)  # the next confirmation has other jobs, or runs it again
            for jobs in (self._waiting, self._running):
                if job in jobs:
                    jobs.remove(job)
        return outcome

    def stop(self) -> None:
        """The sweep was interrupted. Called by a signal's handler: the work is left to the next turn."""
        self._stopped = True

    def kill(self) -> None:
        """Wait for nothing more."""
        self._killed = True
        self._cancelled = False  # once more

    def _turn(self) -> None:
        if self._stopped:
            self._cancel()
        elif self._waiting and time.monotonic() >= self._next_try:
            self._submit()
        ids = self._ids()
        if ids and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + (1.0 if self._stopped else _LOOK_EVERY)
            self._states = self.cluster.states(ids) or self._states
            self._say_what_is_waited_for([self._states[each] for each in ids if each in self._states])

    def _say_what_is_waited_for(self, states: Sequence[State]) -> None:
        reasons = [state.why for state in states if state.kind == RUNNING and state.why]
        if reasons and len(reasons) == len(states):
            self._queued.still(f"{self.cluster.name} to begin {len(reasons)} jobs ({reasons[0]})")
        else:
            self._queued.over()

    def _ids(self) -> list[str]:
        """Of the jobs that run."""
        return [str(job.job_id) for job in self._running if job.ours]

    def _submit(self) -> None:
        jobs = []
        for job in self._waiting:
            job.folder.mkdir(parents=True, exist_ok=True)
            self._mark(job)  # before it is submitted: a job whose folder has another mark does not begin
            sent = replace(job.job, reports=FileReports(str(job.folder)) if job.mailbox else None)
            jobs.append(NodeJob(self.place, sent, str(job.folder), job.token))
        try:
            with _without_signals():  # Ctrl-C is for the sweeper: it would end the command that submits, too
                ids = self.cluster.submit(jobs)
        except Exception as error:  # submitit's own, a scheduler that does not answer, a limit on jobs
            self._wait_or_raise(" ".join(str(error).split()))
            return
        self._refused.over()
        for job, new_id in zip(self._waiting, ids, strict=True):
            job.job_id = new_id
            job.submitted = time.monotonic()
            log = self.cluster.log(new_id)
            job.log = str(log.relative_to(self.folder) if log.is_relative_to(self.folder) else log)
            self._mark(job)
        self._running += self._waiting
        self._waiting = []

    def _mark(self, job: _Submission) -> None:
        overrides = list(job.job.overrides)
        job_marks.write(Mark(self.cluster.name, job.job_id, job.log, overrides, job.token), job.folder)

    def _wait_or_raise(self, reason: str) -> None:
        self._next_try = time.monotonic() + _TRY_AGAIN
        if self._refused.seconds > _PATIENCE:
            raise RunFailed(f"{self.cluster.name} took no job for {_PATIENCE:.0f} s ({reason})")
        self._refused.still(f"{self.cluster.name} to take jobs ({reason}), at most {_PATIENCE:.0f} s")

    def _cancel(self) -> None:
        if self._cancelled or time.monotonic() < self._next_cancel:
            return
        ids = self._ids()
        if ids and not self.leave and not self.cluster.cancel(ids):
            self._next_cancel = time.monotonic() + 1.0
            return
        self._cancelled = True
        if ids and self.leave:
            print(f"left {_jobs(ids)} to run: the same command takes the results", flush=True)
        elif ids:
            print(f"cancelled {_jobs(ids)}", flush=True)

    def _outcome(self, job: _Submission) -> JobResult | None:
        if job.job_id is None:
            return JobResult(JobState.INTERRUPTED, error="it was not submitted yet") if self._stopped else None
        written = read_result(job.folder)
        if job.mailbox is not None:
            job.mailbox.empty()  # after the look at the outcome: no report may come later than that
        if written is not None and written.state != JobState.INTERRUPTED:
            return _with_log(written, job) if written.state.is_failure else written
        if self._stopped and self.leave:
            return JobResult(JobState.DETACHED)
        if self._killed and not self._cancelled:
            print(f"{self.cluster.name} did not cancel the job {job.job_id}: it goes on", flush=True)
            return JobResult(JobState.DETACHED)
        if self._killed:
            return JobResult(JobState.INTERRUPTED, error="cancelled")
        return self._ended(job, job.job_id, written)

    def _ended(self, job: _Submission, job_id: str, written: JobResult | None) -> JobResult | None:
        """What the scheduler's word makes of a job that has left no result.

        Args:
            written: its outcome, if it has written that it was interrupted.
        """
        state = self._states.get(job_id) if job.ours else State(DONE)
        if state is None or state.kind == RUNNING:
            job.ended = None  # it was put back into the queue
            return None
        job.ended = job.ended or time.monotonic()
        since_end = time.monotonic() - job.ended
        facts = written.facts if written else {}
        if state.kind == FAULT:
            return _with_log(JobResult(JobState.FAILED, error=state.why, facts=facts), job)
        if state.kind == NO_FAULT:
            if since_end < _SETTLED and not state.final and not self._stopped:
                return None
            self.cluster.cancel([job_id])  # should it come back all the same
            return JobResult(JobState.INTERRUPTED, error=state.why, facts=facts)
        if self._stopped and state.kind != UNKNOWN:
            return written or JobResult(JobState.INTERRUPTED, error="cancelled")
        if state.kind == UNKNOWN:
            if time.monotonic() - job.submitted <= _UNKNOWN or since_end <= _SLOW_DISK:
                return None
            return JobResult(JobState.INTERRUPTED, error=f"{self.cluster.name} knows the job {job_id} no more")
        if since_end < _SLOW_DISK and job.ours:
            return None
        if written is not None:
            ended_by = "the job was ended by a signal"
            return replace(written, error=ended_by, by_signal=False) if written.by_signal else written
        return _with_log(JobResult(JobState.FAILED, error=_last_line(self.folder / job.log)), job)

    def _found(self, folder: Path) -> "_Found | None":
        """The job that was submitted for this folder."""
        mark = job_marks.read(folder)
        if mark is None or mark.cluster != self.cluster.name or mark.job_id is None:
            return None
        ours = self.cluster.is_ours(mark.job_id)
        if not ours and not (folder / RESULT_FILE).is_file():
            return None
        inside = "\0" not in mark.log and is_inside(self.folder / mark.log, self.folder)
        return _Found(mark.job_id, mark.log if inside else "", mark.overrides, ours)


@dataclass(frozen=True)
class _Found:
    """A job that was submitted by a sweeper that is gone.

    Args:
        log: empty where it lies in no place of the sweep's.
        overrides: as the folder has them, of whatever kind.
        ours: whether the scheduler says so, too.
    """

    job_id: str
    log: str
    overrides: Any
    ours: bool


class JobSlot(Slot):
    """A place for one of a queue's jobs."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.job: _Submission | None = None

    def start(self, job: Job) -> None:
        self.job = self.queue.hand_in(job)

    def poll(self) -> JobResult | None:
        if self.job is None:
            return None
        outcome = self.queue.outcome(self.job)
        if outcome is not None:
            self.job = None
        return outcome

    def is_starting(self) -> bool:
        return False

    def waitables(self) -> list[Any]:
        return []

    def stop(self) -> None:
        self.queue.stop()

    def kill(self) -> None:
        self.queue.kill()

    def close(self) -> None:
        """The jobs are the scheduler's."""


@contextmanager
def _without_signals() -> Iterator[None]:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _jobs(ids: Sequence[str]) -> str:
    return f"{len(ids)} job{'s' * (len(ids) > 1)} ({', '.join(ids)})"


def _with_log(outcome: JobResult, job: _Submission) -> JobResult:
    return replace(outcome, error=f"{outcome.error} (log: {job.log or 'unknown'})")


def _last_line(log: Path) -> str:
    """What a job said at last, rather than what its scheduler says of that."""
    try:
        lines = [line.strip() for line in read_regular(log).splitlines() if line.strip()]
    except (OSError, ValueError):
        lines = []
    own = [line for line in lines if not line.startswith(_SCHEDULERS_LINES)]
    return (own or lines or ["the job ended without a result"])[-1][:300]
