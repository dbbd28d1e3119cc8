"""The jobs that a sweep has submitted to a scheduler.

A job's result is a file in its folder: a sweeper that is started again after it was killed finds the jobs that it had
submitted, and waits for them.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lightsweep.core import files, signals
from lightsweep.core.errors import RunFailed
from lightsweep.core.text import Wait
from lightsweep.sweeper.executors import Slot, cluster_jobs
from lightsweep.sweeper.executors.cluster_jobs import (
    ClusterJob,
    FileReportReader,
    FileReports,
    JobFile,
    JobStatus,
    Phase,
)
from lightsweep.sweeper.executors.schedulers import Scheduler
from lightsweep.sweeper.job import Job, JobResult, JobState
from lightsweep.sweeper.job_running import JobSetup

_LOOK_EVERY = 5.0  # seconds between two questions to the scheduler
_SLOW_DISK = 20.0  # seconds after a job's end that its last file may need to be seen here
_SETTLED = 15.0  # seconds after which a job that could be put back into the queue was not
_UNKNOWN = 60.0  # seconds after its submission that a scheduler may not know a job
_SCHEDULERS_LINES = ("srun: ", "slurmstepd", "submitit ")  # of a log
_SUBMIT_FOR = 300.0  # seconds for which a submission is retried
_TRY_AGAIN = 5.0  # seconds between two tries


@dataclass
class _Submission:
    """A job that is submitted, or is to be.

    Args:
        job: as the sweeper has it, with the study's own reports.
        reader: None where the job reports nothing.
        job_id: None until it is submitted.
        log: its file, relative to the sweep's folder if it is in it.
        ours: false where only `job.json` names the job, and a result exists: the scheduler is neither asked for it nor
            asked to cancel it.
        token: by which the job knows that its folder is its own.
        ended: when the scheduler first reported its end.
    """

    job: Job
    folder: Path
    reader: FileReportReader | None
    job_id: str | None = None
    log: str = ""
    ours: bool = True
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    submitted: float = field(default_factory=time.monotonic)
    ended: float | None = None

    def with_log(self, result: JobResult) -> JobResult:
        return replace(result, error=f"{result.error} (log: {self.log or 'unknown'})")


class JobQueue:
    """The jobs of a sweep's slots: submits together what is added together, and asks for all at once.

    Args:
        leave: let jobs run on when the sweep is interrupted.
    """

    def __init__(self, scheduler: Scheduler, setup: JobSetup, *, leave: bool) -> None:
        self.scheduler, self.setup, self.folder, self.leave = scheduler, setup, scheduler.folder, leave
        self._waiting: list[_Submission] = []
        self._running: list[_Submission] = []
        self._statuses: dict[str, JobStatus] = {}
        self._next_look = self._next_try = self._next_cancel = 0.0
        self._refused, self._queued = Wait(), Wait()
        self._stopped = self._killed = self._cancelled = False

    def has_job(self, folder: Path, overrides: Sequence[str] | None = None) -> bool:
        """Whether an earlier sweeper submitted a job of this folder: it runs, or has left its result.

        Args:
            overrides: that it must have. One with others is cancelled: its folder is to be another one's.
        """
        for each in (folder, *sorted(folder.glob("seed-*"))):
            if (found := self._find(each)) is None:
                cluster_jobs.withdraw_job(each)
                continue
            content, ours = found
            if overrides is None or content.overrides == list(overrides):
                return True
            if ours and content.job_id is not None:
                self.scheduler.cancel([content.job_id])
        return False

    def add(self, job: Job) -> _Submission:
        """A job to be submitted; one that was submitted before is waited for."""
        folder = self.folder / job.folder
        added = _Submission(job, folder, FileReportReader(folder, job.reports) if job.reports else None)
        if (found := self._find(folder)) is None:
            files.set_aside(folder)  # a new job has none, unless somebody made it
            self._waiting.append(added)
        else:
            content, added.ours = found
            added.job_id, added.log = content.job_id, content.log
            self._running.append(added)
        return added

    def result(self, submission: _Submission) -> JobResult | None:
        """How a job ended; None while it has not.

        Raises:
            RunFailed: the scheduler takes no jobs.
        """
        self._update()
        result = self._result(submission)
        if result is not None:
            if submission.job.kind in ("confirmation", "ablation") and result.state != JobState.DETACHED:
                (submission.folder / cluster_jobs.JOB_FILE).unlink(missing_ok=True)  # the next one may run it again
            for each in (self._waiting, self._running):
                if submission in each:
                    each.remove(submission)
        return result

    def stop(self) -> None:
        """The sweep was interrupted. Called by a signal's handler: the work is left to the next update."""
        self._stopped = True

    def kill(self) -> None:
        """Wait for nothing more."""
        self._killed = True
        self._cancelled = False  # once more

    def _update(self) -> None:
        if self._stopped:
            self._cancel()
        elif self._waiting and time.monotonic() >= self._next_try:
            self._submit()
        if (ids := self._ids()) and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + (1.0 if self._stopped else _LOOK_EVERY)
            self._statuses = self.scheduler.states(ids) or self._statuses
            known = [self._statuses[each] for each in ids if each in self._statuses]
            reasons = [status.reason for status in known if status.phase == Phase.ACTIVE and status.reason]
            if reasons and len(reasons) == len(known):
                self._queued.update(f"{self.scheduler.name} to start {len(reasons)} jobs ({reasons[0]})")
            else:
                self._queued.end()

    def _ids(self) -> list[str]:
        """Of the jobs that run."""
        return [str(each.job_id) for each in self._running if each.ours]

    def _submit(self) -> None:
        jobs = []
        for each in self._waiting:
            each.folder.mkdir(parents=True, exist_ok=True)
            self._write_job_file(each)  # before it is submitted: a job does not start where the file is another's
            sent = replace(each.job, reports=FileReports(str(each.folder)) if each.reader else None)
            jobs.append(ClusterJob(self.setup, sent, str(each.folder), each.token))
        try:
            with signals.blocking_interrupts():  # Ctrl-C is for the sweeper, not for the command that submits
                ids = self.scheduler.submit(jobs)
        except Exception as error:  # submitit's own, a scheduler that does not answer, a limit on jobs
            reason = " ".join(str(error).split())
            if self._refused.seconds > _SUBMIT_FOR:
                raise RunFailed(f"{self.scheduler.name} took no job for {_SUBMIT_FOR:.0f} s ({reason})") from error
            self._next_try = time.monotonic() + _TRY_AGAIN
            self._refused.update(f"{self.scheduler.name} to take jobs ({reason}), at most {_SUBMIT_FOR:.0f} s")
            return
        self._refused.end()
        for each, job_id in zip(self._waiting, ids, strict=True):
            log = self.scheduler.log(job_id)
            each.job_id, each.submitted = job_id, time.monotonic()
            each.log = str(log.relative_to(self.folder) if log.is_relative_to(self.folder) else log)
            self._write_job_file(each)
        self._running += self._waiting
        self._waiting = []

    def _write_job_file(self, each: _Submission) -> None:
        content = JobFile(self.scheduler.name, each.job_id, each.log, list(each.job.overrides), each.token)
        cluster_jobs.write_job_file(content, each.folder)

    def _cancel(self) -> None:
        if self._cancelled or time.monotonic() < self._next_cancel:
            return
        ids = self._ids()
        if ids and not self.leave and not self.scheduler.cancel(ids):
            self._next_cancel = time.monotonic() + 1.0
            return
        self._cancelled = True
        if ids:
            jobs = f"{len(ids)} job{'s' * (len(ids) > 1)} ({', '.join(ids)})"
            left = f"left {jobs} to run: the same command takes the results"
            print(left if self.leave else f"cancelled {jobs}", flush=True)

    def _result(self, submission: _Submission) -> JobResult | None:
        if submission.job_id is None:
            return JobResult(JobState.INTERRUPTED, error="it was not submitted") if self._stopped else None
        written = cluster_jobs.read_result(submission.folder)
        if submission.reader is not None:
            submission.reader.deliver()  # after the look at the result: no report may come later than that
        if written is not None and written.state != JobState.INTERRUPTED:
            return submission.with_log(written) if written.state.is_failure else written
        if self._stopped and self.leave:
            return JobResult(JobState.DETACHED)
        if self._killed and self._cancelled:
            return JobResult(JobState.INTERRUPTED, error="cancelled")
        if self._killed:
            print(f"{self.scheduler.name} did not cancel the job {submission.job_id}: it runs on", flush=True)
            return JobResult(JobState.DETACHED)
        return self._result_by_status(submission, submission.job_id, written)

    def _result_by_status(self, submission: _Submission, job_id: str, written: JobResult | None) -> JobResult | None:
        """What the scheduler's status makes of a job that has left no final result.

        Args:
            written: its result, if it has written that it was interrupted.
        """
        status = self._statuses.get(job_id) if submission.ours else JobStatus(Phase.ENDED)
        if status is None or status.phase == Phase.ACTIVE:
            submission.ended = None  # it was put back into the queue
            return None
        submission.ended = submission.ended or time.monotonic()
        since_end = time.monotonic() - submission.ended
        facts = written.facts if written else {}
        if status.phase == Phase.FAULT:
            return submission.with_log(JobResult(JobState.FAILED, error=status.reason, facts=facts))
        if status.phase == Phase.NO_FAULT:
            if since_end < _SETTLED and not status.is_final and not self._stopped:
                return None
            self.scheduler.cancel([job_id])  # should it come back all the same
            return JobResult(JobState.INTERRUPTED, error=status.reason, facts=facts)
        if status.phase == Phase.UNKNOWN:
            if time.monotonic() - submission.submitted <= _UNKNOWN or since_end <= _SLOW_DISK:
                return None
            return JobResult(JobState.INTERRUPTED, error=f"{self.scheduler.name} no longer knows the job {job_id}")
        if self._stopped:
            return written or JobResult(JobState.INTERRUPTED, error="cancelled")
        if since_end < _SLOW_DISK and submission.ours:
            return None
        if written is None:
            return submission.with_log(JobResult(JobState.FAILED, error=_last_line(self.folder / submission.log)))
        by_signal = "the job was ended by a signal"
        return replace(written, error=by_signal, by_signal=False) if written.by_signal else written

    def _find(self, folder: Path) -> tuple[JobFile, bool] | None:
        """The job that an earlier sweeper submitted for this folder, and whether the scheduler knows it as ours."""
        content = cluster_jobs.read_job_file(folder)
        if content is None or content.cluster != self.scheduler.name or content.job_id is None:
            return None
        ours = self.scheduler.is_ours(content.job_id)
        if not ours and not (folder / cluster_jobs.RESULT_FILE).is_file():
            return None
        inside = "\0" not in content.log and files.is_inside(self.folder / content.log, self.folder)
        return content if inside else replace(content, log=""), ours


class QueueSlot(Slot):
    """Has one of a queue's jobs at a time."""

    def __init__(self, queue: JobQueue) -> None:
        self.queue = queue
        self.submission: _Submission | None = None

    def start(self, job: Job) -> None:
        self.submission = self.queue.add(job)

    def poll(self) -> JobResult | None:
        result = self.queue.result(self.submission) if self.submission else None
        if result is not None:
            self.submission = None
        return result

    def stop(self) -> None:
        self.queue.stop()

    def kill(self) -> None:
        self.queue.kill()


def _last_line(log: Path) -> str:
    """The last line that a job printed, rather than its scheduler."""
    try:
        lines = [line.strip() for line in files.read_regular(log).splitlines() if line.strip()]
    except (OSError, ValueError):
        lines = []
    own = [line for line in lines if not line.startswith(_SCHEDULERS_LINES)]
    return (own or lines or ["the job ended without a result"])[-1][:300]
