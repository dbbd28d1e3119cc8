"""A scheduler in memory, and jobs for its queue."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightsweep.sweeper.executors.cluster_jobs import ClusterJob, JobStatus, Phase
from lightsweep.sweeper.executors.job_queue import JobQueue
from lightsweep.sweeper.job import Job, JobResult, JobState

OUT_OF_MEMORY = JobStatus(Phase.FAULT, "it ran out of memory")
COMPLETE = JobResult(JobState.COMPLETED, 0.5)
INTERRUPTED = JobResult(JobState.INTERRUPTED, facts={"epochs": 2}, by_signal=True)
LOG = "(log: .submitit/1.err)"


class Scheduler:
    """A scheduler in memory: knows the jobs 1, 2, … that were submitted, and reports the status that a test sets."""

    name = "fake"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.submitted: list[list[ClusterJob]] = []
        self.known: dict[str, JobStatus] = {}
        self.asked: list[list[str]] = []
        self.cancelled: list[str] = []
        self.ours: set[str] = set()
        self.answers = self.takes_jobs = self.cancels = True

    def submit(self, jobs: Sequence[ClusterJob]) -> list[str]:
        if not self.takes_jobs:
            raise RuntimeError("sbatch: error:\n  too many jobs")
        self.submitted.append(list(jobs))
        ids = [str(len(self.known) + number) for number in range(1, len(jobs) + 1)]
        self.known |= dict.fromkeys(ids, JobStatus(Phase.ACTIVE))
        return ids

    def states(self, ids: Sequence[str]) -> dict[str, JobStatus] | None:
        self.asked.append(list(ids))
        return {job_id: self.known.get(job_id, JobStatus(Phase.UNKNOWN)) for job_id in ids} if self.answers else None

    def is_ours(self, job_id: str) -> bool:
        return job_id in self.ours

    def cancel(self, ids: Sequence[str]) -> bool:
        if self.cancels:
            self.cancelled += ids
        return self.cancels

    def log(self, job_id: str) -> Path:
        return self.folder / ".submitit" / f"{job_id}.err"


class Study:
    """Takes what a job reports; prunes from a step on."""

    def __init__(self, pruned_from: int = 10**9) -> None:
        self.values: list[tuple[int, float]] = []
        self.pruned_from = pruned_from

    def report(self, step: int, value: float) -> bool:
        self.values.append((step, value))
        return step >= self.pruned_from


def new_job(number: int = 0, kind: str = "trial", reports: Any = None, **others: Any) -> Job:
    return Job(kind, ("a=1",), f"trial-{number:04d}", number, reports, **others)


def submitted(queue: JobQueue, count: int = 1) -> list[Any]:
    jobs = [queue.add(new_job(number)) for number in range(count)]
    assert [queue.result(job) for job in jobs] == [None] * count
    return jobs


def ends(queue: JobQueue, job: Any, later: Callable[[float], None]) -> tuple[float, JobResult]:
    """After how many seconds there is a result, and which one."""
    for second in range(120):
        if (result := queue.result(job)) is not None:
            return second, result
        later(1.0)
    raise AssertionError("it does not end")
