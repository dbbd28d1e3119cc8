"""A trial whose time is over ends in order, as pruned: with its report, or where it reports nothing at once."""

import signal
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from omegaconf import DictConfig

from lightsweep.core.errors import Interrupted, JobState
from lightsweep.core.signals import PATIENCE
from lightsweep.sweeper import trial_run
from lightsweep.sweeper.controller import Controller, Limits
from lightsweep.sweeper.executors import Slot
from lightsweep.sweeper.executors.cluster_jobs import read_result, write_result
from lightsweep.sweeper.job import Job, JobResult, current_trial
from lightsweep.sweeper.job_running import JobFunction
from lightsweep.sweeper.trial_run import TrialRun, TrialTime
from queued_jobs import Study

NOTE = "its time is over (hydra.sweeper.trial_timeout=0.2)"


@pytest.fixture
def run(job_node: DictConfig) -> Any:
    """Run an app's function as a job that may take 0.2 seconds."""

    def job(function: Any, *, reports: Any = None, left: float = 0.2) -> JobResult:
        started = Job("trial", ("lr=0.1",), "trial-0000", 0, reports, timeout=(0.2, left))
        return JobFunction(function, started)(job_node)

    return job


@pytest.fixture
def alarm() -> Any:
    """An alarm of the app's own, of which a job leaves what is left of its time."""
    rung: list[int] = []
    handler = signal.signal(signal.SIGALRM, lambda signum, _: rung.append(signum))
    before = signal.setitimer(signal.ITIMER_REAL, 100.0)
    yield lambda: 90.0 < signal.getitimer(signal.ITIMER_REAL)[0] < 100.0 and not rung
    signal.setitimer(signal.ITIMER_REAL, *before)
    signal.signal(signal.SIGALRM, handler)


@pytest.mark.timeout(20)
def test_a_job_that_reports_nothing_ends_at_once_in_order(run: Any, alarm: Any) -> None:
    ended = []

    def sleeps(cfg: Any) -> float:
        current_trial().record({"params": 7})
        try:
            time.sleep(5)
        finally:
            ended.append(True)
        return 1.0

    result = run(sleeps)
    assert (result.state, result.value, result.error) == (JobState.PRUNED, None, NOTE)
    assert result.facts == {"params": 7, "status": "pruned"}
    assert not result.by_signal
    assert 0.2 <= result.seconds < 2.0
    assert ended
    assert alarm()


@pytest.mark.timeout(20)
def test_a_job_that_reports_ends_with_the_report_after_its_time(run: Any) -> None:
    study, completed, began = Study(), [], time.monotonic()

    def trains(cfg: Any) -> float:
        for epoch in range(1, 100):
            time.sleep(0.15)
            completed.append((epoch, time.monotonic() - began > 0.2))
            current_trial().report(0.5, epoch)
        return 0.5

    result = run(trains, reports=study)
    assert (result.state, result.error) == (JobState.PRUNED, NOTE)
    assert [step for step, _ in study.values] == [epoch for epoch, _ in completed]  # the last one is complete
    assert [over for _, over in completed] == [False] * (len(completed) - 1) + [True]  # it is where the time passed


@pytest.mark.timeout(20)
def test_a_step_much_longer_than_the_one_before_is_cut_off(run: Any) -> None:
    def hangs(cfg: Any) -> float:
        current_trial().report(0.5, 1)
        time.sleep(5)
        return 0.5

    result = run(hangs, reports=Study())
    assert (result.state, result.error) == (JobState.PRUNED, NOTE)
    assert result.seconds < 0.2 * (1 + PATIENCE) + 1.5


@pytest.mark.timeout(20)
def test_a_seed_run_whose_time_is_over_ends_with_its_report_too(run: Any) -> None:
    def trains(cfg: Any) -> float:
        for epoch in range(100):
            time.sleep(0.15)
            current_trial().report(0.5, epoch)
        return 0.5

    assert run(trains, reports=None).error == NOTE


def swallows(cfg: Any) -> float:
    with suppress(BaseException):  # as libraries do
        time.sleep(5)
    return 0.5


def makes_another_of_it(cfg: Any) -> float:
    try:
        time.sleep(5)
    except Interrupted as error:
        raise RuntimeError("training was stopped") from error
    return 0.5


@pytest.mark.timeout(20)
@pytest.mark.parametrize("function", [swallows, makes_another_of_it], ids=lambda each: each.__name__)
def test_it_is_pruned_whatever_the_app_makes_of_it(run: Any, function: Any) -> None:
    result = run(function)
    assert (result.state, result.error) == (JobState.PRUNED, NOTE)


@pytest.mark.timeout(20)
def test_it_is_cut_off_again_where_it_goes_on(run: Any) -> None:
    def goes_on(cfg: Any) -> float:
        swallows(cfg)
        time.sleep(5)
        return 0.5

    assert run(goes_on).seconds < 3.0


@pytest.mark.timeout(20)
def test_what_ends_it_in_order_may_take_longer_than_the_alarm(run: Any) -> None:
    ended = []

    def trains(cfg: Any) -> float:
        try:
            time.sleep(5)
        except BaseException:
            time.sleep(1.3)  # longer than until the next alarm: the last checkpoint is written
            ended.append(True)
            raise
        return 0.5

    def reports(cfg: Any) -> float:
        try:
            for epoch in range(100):
                time.sleep(0.15)
                current_trial().report(0.5, epoch)
        except optuna.TrialPruned:
            time.sleep(1.3)
            ended.append(True)
            raise
        return 0.5

    assert [run(trains).state, run(reports, reports=Study()).state] == [JobState.PRUNED] * 2
    assert ended == [True, True]


def test_a_job_that_ends_in_time_knows_nothing_of_it(run: Any, alarm: Any) -> None:
    result = run(lambda cfg: 0.5)
    assert (result.state, result.value, result.error) == (JobState.COMPLETED, 0.5, None)
    assert alarm()


def test_a_failure_after_the_time_of_others_is_a_failure(run: Any) -> None:
    def fails(cfg: Any) -> float:
        raise RuntimeError("unlucky")

    assert run(fails).state == JobState.FAILED


@pytest.mark.timeout(20)
def test_ctrl_c_comes_first(run: Any) -> None:
    def interrupted(cfg: Any) -> float:
        signal.raise_signal(signal.SIGTERM)
        return 0.5

    result = run(interrupted)
    assert (result.state, result.by_signal, result.error) == (JobState.INTERRUPTED, True, None)


@pytest.mark.timeout(20)
def test_nothing_is_left_of_a_trial_whose_seeds_took_its_time(run: Any) -> None:
    result = run(lambda cfg: time.sleep(5), left=0.0)
    assert (result.state, result.error) == (JobState.PRUNED, NOTE)


def test_a_result_of_another_machine_says_how_long_it_took(tmp_path: Path) -> None:
    result = JobResult(JobState.PRUNED, error=NOTE, seconds=0.2)
    write_result(result, tmp_path)
    read = read_result(tmp_path)
    assert read is not None
    assert (read, read.seconds) == (result, 0.2)
    (tmp_path / "outcome.json").write_text('{"state": "pruned", "seconds": "long"}')
    assert read_result(tmp_path) is None


def test_the_seeds_of_a_trial_share_its_time(later: Any) -> None:
    limit = TrialTime(10.0)
    assert limit.of_job() == (10.0, 10.0)
    limit.ended(JobResult(JobState.COMPLETED, 0.5, seconds=4.0), 60.0)
    assert limit.of_job() == (10.0, 6.0)
    limit.ended(JobResult(JobState.COMPLETED, 0.5, seconds=7.0), 60.0)
    assert limit.of_job() == (10.0, 0.0)
    assert TrialTime(None).of_job() is None


def test_a_process_that_does_not_end_itself_is_killed_and_its_trial_pruned(later: Any) -> None:
    limit = TrialTime(10.0)
    limit.of_job()
    lost = JobResult(JobState.LOST, error="the worker died of SIGKILL")
    later(10.0 * (1 + PATIENCE) + 59.0)
    assert not limit.is_overdue(60.0)
    assert limit.ended(lost, 60.0) == lost
    later(2.0)
    assert limit.is_overdue(60.0)
    assert limit.ended(lost, 60.0) == JobResult(JobState.PRUNED, error=NOTE.replace("0.2", "10"))
    assert limit.ended(JobResult(JobState.FAILED, error="x"), 60.0).state == JobState.FAILED


class Hanging(Slot):
    """A slot whose job does not end until its process is killed."""

    result = None

    def start(self, job: Job) -> None:
        self.job = job

    def poll(self) -> JobResult | None:
        return self.result

    def waitables(self) -> list:
        return []

    def end_process(self) -> None:
        self.result = JobResult(JobState.LOST, error="the worker died of SIGKILL")


class OneTrial:
    def __init__(self) -> None:
        self.results: list[JobResult] = []
        self.left = 1

    def claim(self) -> Any:
        self.left -= 1
        return SimpleNamespace(number=0)

    def is_done(self) -> bool:
        return not self.left

    def remaining(self) -> int:
        return self.left

    def tell(self, trial: Any, result: JobResult) -> bool:
        self.results.append(result)
        return True


@pytest.mark.timeout(20)
def test_the_loop_kills_a_worker_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_run, "StorageReports", lambda *given: None)
    monkeypatch.setattr(trial_run, "trial_id", lambda trial: 0)
    settings = SimpleNamespace(trial_timeout=0.05, seed_key=None)
    objectives = SimpleNamespace(reported=0, several=False)
    plan: Any = SimpleNamespace(settings=settings, seeds=[], address=None, pruner=None, objectives=objectives)
    plan.named_results = (("value",), "value")
    queue, slot = OneTrial(), Hanging()
    quiet: Any = {name: lambda *_: None for name in ("ended", "show", "warn")}

    def start(trial: Any) -> TrialRun:
        return TrialRun(trial, ("lr=0.1",), plan, None)

    Controller(queue, [slot], Limits(None, 3, grace=0.1), start=start, **quiet, look_every=0.05).run_trials()  # type: ignore[arg-type]
    assert slot.job.timeout == (0.05, 0.05)
    assert [(result.state, result.error) for result in queue.results] == [
        (JobState.PRUNED, NOTE.replace("0.2", "0.05"))
    ]
