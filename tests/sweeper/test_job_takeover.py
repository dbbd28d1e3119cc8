"""Jobs that an earlier sweeper submitted are taken over; those that only a file claims are left alone."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lightsweep.sweeper.executors.cluster_jobs import JobStatus, Phase, write_result
from lightsweep.sweeper.job import JobResult, JobState
from queued_jobs import COMPLETE, INTERRUPTED, LOG, OUT_OF_MEMORY, ends, new_job, submitted

FINE = {"cluster": "fake", "id": "7", "log": "7.err"}


def write_job_file(folder: Path, content: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_jobs_that_are_left_to_run_are_taken_over_by_the_next_sweeper(
    open_job_queue, scheduler, tmp_path: Path, capsys
) -> None:
    job_queue = open_job_queue(leave=True)
    one, other = submitted(job_queue, 2)
    waiting = job_queue.add(new_job(2))
    write_result(COMPLETE, tmp_path / "trial-0000")
    job_queue.stop()
    assert job_queue.result(one) == COMPLETE
    assert job_queue.result(other) == JobResult(JobState.DETACHED)
    assert job_queue.result(waiting).state == JobState.INTERRUPTED
    assert scheduler.cancelled == []
    assert capsys.readouterr().out == "left 2 jobs (1, 2) to run: the same command takes the results\n"
    scheduler.ours = {"2"}
    again = open_job_queue()
    assert again.has_job(tmp_path / "trial-0001")
    assert not again.has_job(tmp_path / "trial-0002")
    (job,) = (again.add(new_job(1)),)
    assert again.result(job) is None
    write_result(COMPLETE, tmp_path / "trial-0001")
    assert again.result(job) == COMPLETE
    assert len(scheduler.submitted) == 1


def test_a_job_of_a_killed_sweeper_is_waited_for(open_job_queue, scheduler, tmp_path: Path, later) -> None:
    submitted(open_job_queue())
    scheduler.ours = {"1"}
    job_queue = open_job_queue()
    assert job_queue.has_job(tmp_path / "trial-0000")
    job = job_queue.add(new_job())
    scheduler.known["1"] = OUT_OF_MEMORY
    assert job_queue.result(job) == JobResult(JobState.FAILED, error=f"it ran out of memory {LOG}")
    assert len(scheduler.submitted) == 1


def test_a_trial_has_a_job_where_one_of_its_seeds_has(job_queue, scheduler, tmp_path: Path) -> None:
    scheduler.ours = {"7"}
    write_job_file(tmp_path / "trial-0000" / "seed-2", {"cluster": "fake", "id": "7", "log": ""})
    assert job_queue.has_job(tmp_path / "trial-0000")
    assert not job_queue.has_job(tmp_path / "trial-0000" / "seed-1")


def test_the_result_of_a_job_that_the_scheduler_has_forgotten_is_taken(
    open_job_queue, scheduler, tmp_path: Path
) -> None:
    submitted(open_job_queue())
    job_queue = open_job_queue()
    assert not job_queue.has_job(tmp_path / "trial-0000")  # it has left nothing
    write_result(COMPLETE, tmp_path / "trial-0000")
    assert job_queue.has_job(tmp_path / "trial-0000")
    assert job_queue.result(job_queue.add(new_job())) == COMPLETE


@pytest.mark.parametrize("left", [INTERRUPTED, COMPLETE, None])
def test_a_job_that_only_a_file_claims_is_neither_asked_for_nor_cancelled(
    job_queue, scheduler, tmp_path: Path, left: JobResult | None
) -> None:
    """It may be another job of this person's, or an option of the scheduler's commands."""
    folder = tmp_path / "trial-0000"
    write_job_file(folder, {**FINE, "id": "--me", "overrides": ["a=1"]})
    (folder / "outcome.json").write_text("x")
    if left is not None:
        write_result(left, folder)
    assert job_queue.has_job(folder)
    assert not job_queue.has_job(folder, ("a=2",))
    job = job_queue.add(new_job())
    submitted(job_queue, 0)
    job_queue.stop() if left is None else None
    found = job_queue.result(job)
    assert found is not None
    assert found.state == ("interrupted" if left is None else left.state)
    assert (scheduler.asked, scheduler.cancelled) == ([], [])


@pytest.mark.parametrize(
    "content",
    [
        "",
        "x",
        "5",
        "null",
        "[" * 100_000,
        [],
        ["fake", "7", ""],
        {},
        {"cluster": "fake", "id": "7"},
        {**FINE, "cluster": "slurm"},
        {**FINE, "cluster": ["fake"]},
        {**FINE, "id": "8"},  # somebody else's
        {**FINE, "id": 7},
        {**FINE, "id": None},
        {**FINE, "id": ["7"]},
        {**FINE, "log": None},
        {**FINE, "log": 5},
    ],
    ids=lambda content: str(content)[:60],
)
def test_a_job_of_another_sweep_is_not_taken_over(job_queue, scheduler, tmp_path: Path, content) -> None:
    scheduler.ours = {"7"}
    folder = tmp_path / "trial-0000"
    write_job_file(folder, FINE)
    assert job_queue.has_job(folder)
    write_job_file(folder, content)
    assert not job_queue.has_job(folder)
    assert job_queue.result(job_queue.add(new_job())) is None
    assert len(scheduler.submitted) == 1
    assert scheduler.cancelled == []


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "endless"])
def test_what_is_no_regular_file_is_not_read_as_a_job_file(job_queue, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "trial-0000" / "job.json"
    file.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "folder":
        file.mkdir()
    else:
        file.touch()
        os.truncate(file, 10**12)
    assert not job_queue.has_job(file.parent)


@pytest.mark.parametrize("log", ["{outside}", "../secret", "link", "\0", "x\0"])
def test_a_log_outside_the_sweeps_folder_is_not_read(job_queue, scheduler, tmp_path: Path, later, log: str) -> None:
    secret = tmp_path.parent / "secret"
    secret.write_text("a secret\n")
    (tmp_path / "link").symlink_to(secret)
    scheduler.ours, scheduler.known["7"] = {"7"}, JobStatus(Phase.ENDED)
    write_job_file(tmp_path / "trial-0000", {**FINE, "log": log.format(outside=secret)})
    _, result = ends(job_queue, job_queue.add(new_job()), later)
    assert result == JobResult(JobState.FAILED, error="the job ended without a result (log: unknown)")


@pytest.mark.parametrize("end", [JobResult(JobState.FAILED, error="x"), JobResult(JobState.INTERRUPTED), COMPLETE])
def test_a_confirmation_that_has_ended_is_not_taken_over(
    open_job_queue, scheduler, tmp_path: Path, later, end: JobResult
) -> None:
    """It is run again where it failed, or where another trial is the best by then."""
    job_queue = open_job_queue()
    job = job_queue.add(new_job(kind="confirmation"))
    assert job_queue.result(job) is None
    write_result(end, tmp_path / "trial-0000")
    scheduler.known["1"], scheduler.ours = JobStatus(Phase.ENDED), {"1"}
    assert ends(job_queue, job, later)[1].state == end.state
    assert not open_job_queue().has_job(tmp_path / "trial-0000")


def test_a_confirmation_is_taken_over_unless_another_trial_is_best(open_job_queue, scheduler, tmp_path: Path) -> None:
    job_queue = open_job_queue()
    job_queue.result(job_queue.add(new_job(kind="confirmation")))
    scheduler.ours = {"1"}
    assert open_job_queue().has_job(tmp_path / "trial-0000", ("a=1",))
    assert scheduler.cancelled == []
    assert not open_job_queue().has_job(tmp_path / "trial-0000", ("a=2",))
    assert scheduler.cancelled == ["1"]


def test_a_job_file_without_an_id_is_removed(job_queue, tmp_path: Path) -> None:
    """Its sweeper was killed before the scheduler's id was written."""
    folder = tmp_path / "trial-0000"
    folder.mkdir()
    content = {"cluster": "fake", "id": None, "log": "", "overrides": [], "token": "1"}
    (folder / "job.json").write_text(json.dumps(content))
    assert not job_queue.has_job(folder)
    assert not (folder / "job.json").exists()
