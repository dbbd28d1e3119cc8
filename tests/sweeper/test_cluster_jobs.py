"""What runs on a node of a cluster leaves how it ended in its folder, whatever the scheduler does to it."""

import json
import os
import pickle
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from lightsweep.core import signals
from lightsweep.sweeper.executors import cluster_jobs
from lightsweep.sweeper.executors.cluster_jobs import RESULT_FILE, ClusterJob, JobFile, read_result, write_result
from lightsweep.sweeper.job import Job, JobResult, JobState

utils = pytest.importorskip("submitit.core.utils", reason="needs the extra: pip install 'lightsweep[slurm]'")

COMPLETE = JobResult(JobState.COMPLETED, 0.5, facts={"epochs": 3})
INTERRUPTED = JobResult(JobState.INTERRUPTED, facts={"epochs": 2}, by_signal=True)
PLACE = SimpleNamespace(config=OmegaConf.create({"hydra": {"job": {"name": "toy"}}}))


@pytest.fixture(autouse=True)
def _own_signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(signals, "_signals", list(signals._signals))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., JobResult | None]:
    """Run a job whose function is this one; gives the outcome that it leaves."""

    def ran(function: Callable[[], JobResult]) -> JobResult | None:
        monkeypatch.setattr(cluster_jobs, "run_job", lambda place, job: function())
        folder = tmp_path / "trial-0000"
        folder.mkdir(exist_ok=True)
        cluster_jobs.write_job_file(JobFile("slurm", "7", "", [], "mine"), folder)
        ClusterJob(PLACE, Job("trial", (), "trial-0000", 0), str(folder), "mine")()
        return read_result(tmp_path / "trial-0000")

    return ran


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Be a job of a scheduler that says this of it; gives the file that is there once it was put back."""

    def commands(state: str, code: int = 0) -> Path:
        requeued = tmp_path / "requeued"
        for name, line in (("squeue", f"echo {state}"), ("scontrol", f"echo $* > {requeued}; exit {code}")):
            (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
            (tmp_path / name).chmod(stat.S_IRWXU)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        return requeued

    return commands


def told_to_end(signum: signal.Signals) -> Callable[[], JobResult]:
    def function() -> JobResult:
        os.kill(os.getpid(), signum)
        signal.sigtimedwait([], 1)  # the handler raises
        raise AssertionError("it was not told")

    return function


def test_leaves_its_outcome(run) -> None:
    assert run(lambda: COMPLETE) == COMPLETE
    assert run(lambda: JobResult(JobState.FAILED, error="x")) == JobResult(JobState.FAILED, error="x")


def test_that_of_the_time_before_is_gone_while_it_runs(run, tmp_path: Path) -> None:
    (tmp_path / "trial-0000").mkdir()
    write_result(INTERRUPTED, tmp_path / "trial-0000")
    seen = []
    run(lambda: seen.append((tmp_path / "trial-0000" / RESULT_FILE).exists()) or COMPLETE)
    assert seen == [False]


def test_a_job_that_is_cancelled_is_interrupted(run) -> None:
    assert run(told_to_end(signal.SIGTERM)) == JobResult(JobState.INTERRUPTED, by_signal=True)


@pytest.mark.parametrize(("state", "again"), [("RUNNING", True), ("COMPLETING", False), ("", False)])
def test_one_that_makes_room_is_put_back_and_leaves_nothing(run, slurm, tmp_path, state: str, again: bool) -> None:
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


def test_where_the_scheduler_takes_no_job_back_it_is_interrupted(run, slurm) -> None:
    slurm("RUNNING", code=1)
    assert run(lambda: INTERRUPTED) == INTERRUPTED


def test_an_end_in_order_puts_nothing_back(run, slurm) -> None:
    requeued = slurm("RUNNING")
    assert run(lambda: COMPLETE) == COMPLETE
    assert not requeued.exists()


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (
            utils.UncompletedJobError,
            JobResult(JobState.FAILED, error="the time limit was reached (hydra.launcher.timeout_min)"),
        ),
        (FileNotFoundError, JobResult(JobState.INTERRUPTED, by_signal=True)),
        (SystemExit, None),  # put back, the process ends
    ],
)
def test_the_warning_before_the_time_limit_is_handed_to_submitit(run, tmp_path, raised, outcome) -> None:
    called = []

    def submitits(signum, frame) -> None:
        called.append(signum)
        raise raised

    signal.signal(signal.SIGUSR2, submitits)
    if outcome is None:
        with pytest.raises(SystemExit):
            run(told_to_end(signal.SIGUSR2))
        assert read_result(tmp_path / "trial-0000") is None
    else:
        assert run(told_to_end(signal.SIGUSR2)) == outcome
    assert called == [signal.SIGUSR2]


def test_a_warning_that_came_too_late_changes_nothing(run) -> None:
    def submitits(signum, frame) -> None:
        raise AssertionError("the job had ended")

    def function() -> JobResult:
        try:
            told_to_end(signal.SIGUSR2)()
        except BaseException:
            return COMPLETE
        return INTERRUPTED

    signal.signal(signal.SIGUSR2, submitits)
    assert run(function) == COMPLETE


def test_it_travels_and_is_started_again_as_it_is(tmp_path: Path) -> None:
    job = ClusterJob(None, Job("trial", ("a=1",), "trial-0000", 0), str(tmp_path), "mine")
    assert pickle.loads(pickle.dumps(job)) == job
    assert job.checkpoint().function == job


MARK = {"cluster": "slurm", "id": "7", "log": "", "overrides": []}


@pytest.mark.parametrize("mark", [None, {**MARK, "token": "another's"}, [], MARK, {**MARK, "token": None}])
def test_a_job_whose_folder_is_another_ones_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark
) -> None:
    monkeypatch.setattr(cluster_jobs, "run_job", lambda place, job: pytest.fail("it has begun"))
    if mark is not None:
        (tmp_path / "job.json").write_text(json.dumps(mark))
    ClusterJob(PLACE, Job("trial", (), "trial-0000", 0), str(tmp_path), "mine")()
    assert read_result(tmp_path) is None


def test_a_job_whose_sweeper_was_killed_too_early_writes_its_own_number(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    folder = tmp_path / "trial-0000"
    folder.mkdir()
    cluster_jobs.write_job_file(JobFile("slurm", None, "", [], "mine"), folder)
    monkeypatch.setattr(cluster_jobs, "run_job", lambda place, job: JobResult(JobState.COMPLETED, 1.0))
    ClusterJob(PLACE, Job("trial", (), "trial-0000", 0), str(folder), "mine")()
    assert cluster_jobs.read_job_file(folder) == JobFile("slurm", "12", "", [], "mine")
