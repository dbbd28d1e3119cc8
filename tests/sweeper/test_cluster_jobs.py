"""A job on a node of a cluster leaves its result in its folder, whatever the scheduler does to it."""

import json
import os
import pickle
import signal
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lightsweep.core import signals
from lightsweep.sweeper.executors import cluster_jobs
from lightsweep.sweeper.executors.cluster_jobs import RESULT_FILE, ClusterJob, JobFile, read_result, write_result
from lightsweep.sweeper.job import Job, JobResult, JobState

utils = pytest.importorskip("submitit.core.utils", reason="needs the extra: pip install 'lightsweep[slurm]'")

COMPLETE = JobResult(JobState.COMPLETED, 0.5, facts={"epochs": 3})
INTERRUPTED = JobResult(JobState.INTERRUPTED, facts={"epochs": 2}, by_signal=True)


@dataclass(frozen=True)
class ToyJob(ClusterJob):
    """A job whose function is given."""

    function: Callable[[], JobResult]

    def run(self) -> JobResult:
        return self.function()


def toy_job(folder: Path, function: Callable[[], JobResult]) -> ToyJob:
    return ToyJob(None, Job("trial", (), folder.name, 0), str(folder), "mine", function)


@pytest.fixture(autouse=True)
def _own_signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(signals, "_signals", list(signals._signals))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., JobResult | None]:
    """Run a job whose function is this one; returns the result that it leaves."""

    def ran(function: Callable[[], JobResult]) -> JobResult | None:
        folder = tmp_path / "trial-0000"
        folder.mkdir(exist_ok=True)
        cluster_jobs.write_job_file(JobFile("slurm", "7", "", [], "mine"), folder)
        toy_job(folder, function)()
        return read_result(folder)

    return ran


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Be a job whose scheduler gives this state; returns the file that is there once the job was requeued."""

    def commands(state: str, code: int = 0) -> Path:
        requeued = tmp_path / "requeued"
        for name, line in (("squeue", f"echo {state}"), ("scontrol", f"echo $* > {requeued}; exit {code}")):
            (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
            (tmp_path / name).chmod(stat.S_IRWXU)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        return requeued

    return commands


def ended_by(signum: signal.Signals) -> Callable[[], JobResult]:
    def function() -> JobResult:
        os.kill(os.getpid(), signum)
        signal.sigtimedwait([], 1)  # the handler raises
        raise AssertionError("no signal came")

    return function


def test_a_job_leaves_its_result(run) -> None:
    assert run(lambda: COMPLETE) == COMPLETE
    assert run(lambda: JobResult(JobState.FAILED, error="x")) == JobResult(JobState.FAILED, error="x")


def test_the_result_of_an_earlier_start_is_removed(run, tmp_path: Path) -> None:
    (tmp_path / "trial-0000").mkdir()
    write_result(INTERRUPTED, tmp_path / "trial-0000")
    seen = []
    run(lambda: seen.append((tmp_path / "trial-0000" / RESULT_FILE).exists()) or COMPLETE)
    assert seen == [False]


def test_a_job_that_is_cancelled_is_interrupted(run) -> None:
    assert run(ended_by(signal.SIGTERM)) == JobResult(JobState.INTERRUPTED, by_signal=True)


@pytest.mark.parametrize(("state", "again"), [("RUNNING", True), ("COMPLETING", False), ("", False)])
def test_a_preempted_job_is_requeued_and_leaves_no_result(run, slurm, tmp_path, state: str, again: bool) -> None:
    requeued = slurm(state)
    if again:
        with pytest.raises(SystemExit) as end:
            run(lambda: INTERRUPTED)
        assert end.value.code == 1
        assert requeued.read_text() == "requeue 7\n"
        assert not (tmp_path / "trial-0000" / RESULT_FILE).exists()
    else:
        assert run(lambda: INTERRUPTED) == INTERRUPTED
        assert not requeued.exists()


def test_a_job_that_cannot_be_requeued_is_interrupted(run, slurm) -> None:
    slurm("RUNNING", code=1)
    assert run(lambda: INTERRUPTED) == INTERRUPTED


def test_a_completed_job_is_not_requeued(run, slurm) -> None:
    requeued = slurm("RUNNING")
    assert run(lambda: COMPLETE) == COMPLETE
    assert not requeued.exists()


@pytest.mark.parametrize(
    ("raised", "result"),
    [
        (
            utils.UncompletedJobError,
            JobResult(JobState.FAILED, error="the time limit was reached (hydra.launcher.timeout_min)"),
        ),
        (FileNotFoundError, JobResult(JobState.INTERRUPTED, by_signal=True)),
        (SystemExit, None),  # put back, the process ends
    ],
)
def test_the_warning_before_the_time_limit_goes_to_submitit(run, tmp_path, raised, result) -> None:
    called = []

    def submitits(signum, frame) -> None:
        called.append(signum)
        raise raised

    signal.signal(signal.SIGUSR2, submitits)
    if result is None:
        with pytest.raises(SystemExit):
            run(ended_by(signal.SIGUSR2))
        assert read_result(tmp_path / "trial-0000") is None
    else:
        assert run(ended_by(signal.SIGUSR2)) == result
    assert called == [signal.SIGUSR2]


def test_a_warning_after_the_jobs_end_changes_nothing(run) -> None:
    def submitits(signum, frame) -> None:
        raise AssertionError("the job had ended")

    def function() -> JobResult:
        try:
            ended_by(signal.SIGUSR2)()
        except BaseException:
            return COMPLETE
        return INTERRUPTED

    signal.signal(signal.SIGUSR2, submitits)
    assert run(function) == COMPLETE


def test_a_job_can_be_pickled_and_is_started_again_unchanged(tmp_path: Path) -> None:
    job = ClusterJob(None, Job("trial", ("a=1",), "trial-0000", 0), str(tmp_path), "mine")
    assert pickle.loads(pickle.dumps(job)) == job
    assert job.checkpoint().function == job


MARK = {"cluster": "slurm", "id": "7", "log": "", "overrides": []}


@pytest.mark.parametrize("mark", [None, {**MARK, "token": "another's"}, [], MARK, {**MARK, "token": None}])
def test_a_job_does_not_start_where_the_job_file_is_anothers(tmp_path: Path, mark) -> None:
    if mark is not None:
        (tmp_path / "job.json").write_text(json.dumps(mark))
    toy_job(tmp_path, lambda: pytest.fail("it started"))()
    assert read_result(tmp_path) is None


def test_a_job_adds_its_id_where_its_sweeper_was_killed_before(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    folder = tmp_path / "trial-0000"
    folder.mkdir()
    cluster_jobs.write_job_file(JobFile("slurm", None, "", [], "mine"), folder)
    toy_job(folder, lambda: COMPLETE)()
    assert cluster_jobs.read_job_file(folder) == JobFile("slurm", "12", "", [], "mine")
