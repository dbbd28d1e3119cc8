"""The queue of a scheduler's jobs: submitted and asked for together, and the result that follows from each status."""

import json
from pathlib import Path

import pytest

from lightsweep.core.errors import RunFailed
from lightsweep.sweeper.executors.cluster_jobs import ClusterJob, FileReports, JobStatus, Phase, write_result
from lightsweep.sweeper.executors.job_queue import QueueSlot
from lightsweep.sweeper.job import JobResult, JobState
from queued_jobs import COMPLETE, INTERRUPTED, LOG, OUT_OF_MEMORY, Study, ends, new_job, submitted

CANCELLED = JobStatus(Phase.NO_FAULT, "the job was cancelled")
PREEMPTED = JobStatus(Phase.NO_FAULT, "the job was preempted", is_final=False)
LOST = JobResult(JobState.INTERRUPTED, error="no database")


def test_jobs_that_are_added_together_are_submitted_and_asked_for_together(
    job_queue, scheduler, tmp_path: Path
) -> None:
    jobs = [job_queue.add(new_job(number)) for number in range(3)]
    for job in jobs:
        assert job_queue.result(job) is None
    assert [[job.job.number for job in batch] for batch in scheduler.submitted] == [[0, 1, 2]]
    assert scheduler.asked == [["1", "2", "3"]]
    assert json.loads((tmp_path / "trial-0001" / "job.json").read_text())["id"] == "2"
    job_queue.result(job_queue.add(new_job(3)))
    assert [len(batch) for batch in scheduler.submitted] == [3, 1]


def test_a_job_is_submitted_with_file_reports_instead_of_the_studys(job_queue, scheduler, tmp_path: Path) -> None:
    job_queue.result(job_queue.add(new_job(reports=Study())))
    job_queue.result(job_queue.add(new_job(1)))
    ((one,), (other,)) = scheduler.submitted
    folder = str(tmp_path / "trial-0000")
    assert one == ClusterJob(None, new_job(reports=FileReports(folder)), folder, one.token)
    assert other.job.reports is None


def test_a_result_that_a_job_has_written_is_returned_at_once(job_queue, scheduler, tmp_path: Path) -> None:
    one, other = submitted(job_queue, 2)
    write_result(COMPLETE, tmp_path / "trial-0000")
    assert job_queue.result(one) == COMPLETE
    assert job_queue.result(other) is None
    assert scheduler.cancelled == []


def test_reports_are_delivered_before_the_result(job_queue, tmp_path: Path) -> None:
    study = Study()
    job = job_queue.add(new_job(reports=study))
    assert job_queue.result(job) is None
    reports = FileReports(str(tmp_path / "trial-0000"))
    reports.report(1, 0.25)
    assert job_queue.result(job) is None
    assert study.values == [(1, 0.25)]
    reports.report(2, 0.5)
    write_result(JobResult(JobState.PRUNED), tmp_path / "trial-0000")
    assert job_queue.result(job) == JobResult(JobState.PRUNED)
    assert study.values == [(1, 0.25), (2, 0.5)]


def test_a_failure_names_its_log(job_queue, tmp_path: Path) -> None:
    (job,) = submitted(job_queue)
    write_result(JobResult(JobState.FAILED, error="no luck", facts={"epochs": 3}), tmp_path / "trial-0000")
    assert job_queue.result(job) == JobResult(
        JobState.FAILED, error="no luck (log: .submitit/1.err)", facts={"epochs": 3}
    )


ENDS: dict[str, tuple[JobStatus, JobResult | None, JobResult, tuple[int, int]]] = {
    "a fault": (OUT_OF_MEMORY, None, JobResult(JobState.FAILED, error=f"it ran out of memory {LOG}"), (0, 6)),
    "a fault after a warning": (
        OUT_OF_MEMORY,
        INTERRUPTED,
        JobResult(JobState.FAILED, error=f"it ran out of memory {LOG}", facts={"epochs": 2}),
        (0, 6),
    ),
    "no fault": (CANCELLED, None, JobResult(JobState.INTERRUPTED, error="the job was cancelled"), (0, 6)),
    "no fault, ended in order": (
        CANCELLED,
        INTERRUPTED,
        JobResult(JobState.INTERRUPTED, error="the job was cancelled", facts={"epochs": 2}),
        (0, 6),
    ),
    "no fault that settles": (
        PREEMPTED,
        None,
        JobResult(JobState.INTERRUPTED, error="the job was preempted"),
        (15, 22),
    ),
    "without a result": (
        JobStatus(Phase.ENDED),
        None,
        JobResult(JobState.FAILED, error=f"the job ended without a result {LOG}"),
        (20, 27),
    ),
    "ended by a signal": (
        JobStatus(Phase.ENDED),
        INTERRUPTED,
        JobResult(JobState.INTERRUPTED, error="the job was ended by a signal", facts={"epochs": 2}),
        (20, 27),
    ),
    "lost its study": (JobStatus(Phase.ENDED), LOST, LOST, (20, 27)),
    "unknown": (
        JobStatus(Phase.UNKNOWN),
        None,
        JobResult(JobState.INTERRUPTED, error="fake no longer knows the job 1"),
        (60, 67),
    ),
}


@pytest.mark.parametrize(("state", "written", "result", "seconds"), ENDS.values(), ids=ENDS)
def test_each_status_gives_a_result(job_queue, scheduler, later, tmp_path, state, written, result, seconds) -> None:
    (job,) = submitted(job_queue)
    scheduler.known["1"] = state
    if written is not None:
        write_result(written, tmp_path / "trial-0000")
    after, found = ends(job_queue, job, later)
    assert found == result
    assert seconds[0] <= after <= seconds[1]
    assert scheduler.cancelled == (["1"] if state.phase == Phase.NO_FAULT else [])  # should it come back all the same


@pytest.mark.parametrize("state", [JobStatus(Phase.ENDED), JobStatus(Phase.UNKNOWN), PREEMPTED])
def test_a_result_that_is_seen_late_counts(job_queue, scheduler, later, tmp_path: Path, state: JobStatus) -> None:
    (job,) = submitted(job_queue)
    scheduler.known["1"] = state
    for _ in range(12):
        assert job_queue.result(job) is None
        later(1.0)
    write_result(COMPLETE, tmp_path / "trial-0000")
    assert job_queue.result(job) == COMPLETE


@pytest.mark.parametrize("state", [PREEMPTED, JobStatus(Phase.ENDED), JobStatus(Phase.UNKNOWN)])
def test_a_job_that_is_put_back_into_the_queue_is_waited_for(
    job_queue, scheduler, later, tmp_path, state: JobStatus
) -> None:
    """As often as it is, however long it waits there. It says that it was interrupted each time."""
    (job,) = submitted(job_queue)
    for _ in range(3):
        write_result(INTERRUPTED, tmp_path / "trial-0000")
        for word, seconds in ((state, 13), (JobStatus(Phase.ACTIVE), 500)):
            scheduler.known["1"] = word
            for _ in range(2):
                assert job_queue.result(job) is None
                later(seconds / 2)
    write_result(COMPLETE, tmp_path / "trial-0000")
    assert job_queue.result(job) == COMPLETE
    assert scheduler.cancelled == []


def test_a_scheduler_that_does_not_answer_ends_no_job(job_queue, scheduler, later) -> None:
    (job,) = submitted(job_queue)
    scheduler.answers = False
    for _ in range(100):
        assert job_queue.result(job) is None
        later(60.0)
    scheduler.answers = True
    scheduler.known["1"] = OUT_OF_MEMORY
    assert job_queue.result(job).state == JobState.FAILED


@pytest.mark.parametrize(
    ("log", "error"),
    [
        (b"a\n\nTraceback\n  ImportError: no torch \n\n", "ImportError: no torch"),
        (b"x" * 5000, "x" * 300),
        (b"", "the job ended without a result"),
        (b"\xff\xfe", "the job ended without a result"),
    ],
    ids=["lines", "long", "empty", "binary"],
)
def test_a_job_that_ends_without_a_result_has_failed_with_its_last_line(
    job_queue, scheduler, later, tmp_path: Path, log: bytes, error: str
) -> None:
    (job,) = submitted(job_queue)
    scheduler.known["1"] = JobStatus(Phase.ENDED)
    (tmp_path / ".submitit").mkdir()
    (tmp_path / ".submitit" / "1.err").write_bytes(log)
    assert ends(job_queue, job, later)[1] == JobResult(JobState.FAILED, error=f"{error} {LOG}")


def test_a_log_outside_the_sweeps_folder_is_named_by_its_absolute_path(
    job_queue, scheduler, later, tmp_path: Path
) -> None:
    scheduler.folder = tmp_path.parent / "logs"
    (job,) = submitted(job_queue)
    scheduler.known["1"] = OUT_OF_MEMORY
    later(6.0)
    assert job_queue.result(job).error == f"it ran out of memory (log: {tmp_path.parent}/logs/.submitit/1.err)"


def test_an_interruption_cancels_the_jobs_and_takes_what_they_leave(
    job_queue, scheduler, tmp_path, capsys, later
) -> None:
    one, other = submitted(job_queue, 2)
    waiting = job_queue.add(new_job(2))
    job_queue.stop()
    assert scheduler.cancelled == []  # it is called in a signal's handler
    assert job_queue.result(one) is None
    assert job_queue.result(waiting) == JobResult(JobState.INTERRUPTED, error="it was not submitted")
    assert scheduler.cancelled == ["1", "2"]
    assert len(scheduler.submitted) == 1
    write_result(COMPLETE, tmp_path / "trial-0000")
    assert job_queue.result(one) == COMPLETE
    write_result(INTERRUPTED, tmp_path / "trial-0001")
    assert job_queue.result(other) is None  # it may still be at its last checkpoint
    scheduler.known["2"] = JobStatus(Phase.ENDED)
    later(6.0)
    assert job_queue.result(other) == INTERRUPTED
    assert scheduler.cancelled == ["1", "2"]
    assert capsys.readouterr().out == "cancelled 2 jobs (1, 2)\n"


def test_jobs_that_do_not_end_are_interrupted(job_queue, scheduler, capsys) -> None:
    jobs = submitted(job_queue, 3)
    job_queue.stop()
    assert job_queue.result(jobs[0]) is None
    capsys.readouterr()
    job_queue.kill()
    assert [job_queue.result(job) for job in jobs] == [JobResult(JobState.INTERRUPTED, error="cancelled")] * 3
    assert capsys.readouterr().out == "cancelled 3 jobs (1, 2, 3)\n"
    assert scheduler.cancelled == ["1", "2", "3"] * 2


def test_a_scheduler_that_refuses_is_asked_again(job_queue, scheduler, later) -> None:
    scheduler.takes_jobs = False
    jobs = [job_queue.add(new_job(0))]
    for number in range(1, 50):
        assert [job_queue.result(job) for job in jobs] == [None] * len(jobs)
        jobs.append(job_queue.add(new_job(number)))
        later(5.5)
    scheduler.takes_jobs = True
    assert job_queue.result(jobs[0]) is None
    assert [len(batch) for batch in scheduler.submitted] == [50]
    scheduler.takes_jobs = False  # another refusal, which has its own time
    later(290.0)
    assert job_queue.result(job_queue.add(new_job(50))) is None


def test_a_scheduler_that_refuses_for_too_long_ends_the_sweep(job_queue, scheduler, later, capsys) -> None:
    scheduler.takes_jobs = False
    job = job_queue.add(new_job())
    reason = "(sbatch: error: too many jobs)"
    for _ in range(51):
        assert job_queue.result(job) is None
        later(5.9)
    with pytest.raises(RunFailed) as end:
        job_queue.result(job)
    assert str(end.value) == f"fake took no job for 300 s {reason}"
    assert capsys.readouterr().err == f"waiting for fake to take jobs {reason}, at most 300 s\n"


def test_a_slot_has_one_job_after_the_other(job_queue, tmp_path: Path) -> None:
    slot = QueueSlot(job_queue)
    assert slot.poll() is None
    for number in range(2):
        slot.start(new_job(number))
        assert slot.poll() is None
        write_result(COMPLETE, tmp_path / f"trial-{number:04d}")
        assert slot.poll() == COMPLETE
        assert slot.poll() is None
    assert slot.waitables() == []


def test_the_scheduler_is_asked_every_five_seconds(job_queue, scheduler, later) -> None:
    jobs = submitted(job_queue, 5)
    for _ in range(40):
        for job in jobs:
            job_queue.result(job)
        later(0.25)
    assert len(scheduler.asked) <= 3


def test_a_scheduler_that_cancels_nothing_is_asked_again_and_the_job_is_left(
    job_queue, scheduler, later, capsys
) -> None:
    job = job_queue.add(new_job())
    job_queue.result(job)
    scheduler.cancels = False
    job_queue.stop()
    assert job_queue.result(job) is None
    assert "cancelled" not in capsys.readouterr().out
    later(2)
    job_queue.kill()
    assert job_queue.result(job) == JobResult(JobState.DETACHED)  # its trial stays open: the next sweeper finds it
    assert "fake did not cancel the job 1: it runs on" in capsys.readouterr().out


def test_a_job_that_ctrl_c_ends_is_interrupted(job_queue, scheduler) -> None:
    job = job_queue.add(new_job())
    job_queue.result(job)
    scheduler.known["1"] = JobStatus(Phase.ENDED)  # it was ended before it could write a result
    job_queue.stop()
    job_queue._next_look = 0.0
    result = job_queue.result(job)
    assert result is not None
    assert result.state == JobState.INTERRUPTED
