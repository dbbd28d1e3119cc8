"""What a batch function is given: jobs as there is room for them, and what becomes of each."""

import json
import os
import signal
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from omegaconf import DictConfig, OmegaConf

from lightsweep.core.errors import ConfigError, Diverged, Interrupted
from lightsweep.sweeper import batch as batches
from lightsweep.sweeper.application import Application, sweepable
from lightsweep.sweeper.batch import Batch, BatchJob
from lightsweep.sweeper.batch_messages import Counted, Ended, Halved, Room
from lightsweep.sweeper.job import Job, JobResult, JobState
from lightsweep.sweeper.job_scene import JobScene
from lightsweep.sweeper.trial_queue import TrialQueue


@sweepable(Application())
def main(cfg: DictConfig) -> float:
    if cfg.width == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    return float(cfg.width)


class Pruned:
    """Reports that prune at the second step."""

    def report(self, step: int, value: float) -> bool:
        return step == 2


class Sweeper:
    """The other end of a batch."""

    def __init__(self, places: int) -> None:
        self.link, end = Pipe()
        setup: Any = SimpleNamespace(registered=frozenset(), config=OmegaConf.create(), program=("x", None))
        self.batch = Batch(end, setup, main, places=places, staggered=False)

    def give(self, *numbers: int, width: int = 8) -> None:
        for number in numbers:
            self.link.send(Job("trial", (f"width={width}",), f"trial-{number}", number, Pruned()))

    def said(self) -> list[Any]:
        messages = []
        while self.link.poll():
            messages.append(self.link.recv())
        return messages

    def results(self) -> dict[str, JobResult]:
        return {each.folder: each.result for each in self.said() if isinstance(each, Ended)}


@pytest.fixture
def sweeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Sweeper]:
    """Jobs are begun without Hydra's config loader, whose part tests/sweeper/test_job_copies.py has."""

    def begin(self: Any, job: Job) -> JobScene:
        if job.number == 13:
            raise OSError(28, "No space left on device")
        (folder := tmp_path / job.folder).mkdir()
        runtime = {"output_dir": str(folder), "cwd": str(tmp_path)}
        run = {"run": {"dir": ""}, "output_subdir": None, "job": {"chdir": None}}
        node = OmegaConf.create({"hydra": {"runtime": runtime, "overrides": {"task": [*job.overrides]}, **run}})
        cfg = OmegaConf.create({"width": int(job.overrides[0].partition("=")[2])})
        callbacks = SimpleNamespace(on_job_end=lambda **_: None)
        return JobScene(node, cfg, node, job, SimpleNamespace(), callbacks, [], None, {}, None)  # type: ignore[arg-type]

    monkeypatch.setattr("lightsweep.sweeper.job_copies.Jobs.begin", begin)
    monkeypatch.setattr(batches, "leave_config", lambda *_: None)
    return Sweeper


def opened(sweeper: Sweeper, count: int, **options: Any) -> list[BatchJob]:
    sweeper.give(*range(count), **options)
    jobs = sweeper.batch.next()
    assert len(jobs) == count
    sweeper.said()
    return jobs


def test_jobs_are_asked_for_as_there_is_room(sweeper: Callable[[int], Sweeper]) -> None:
    one = sweeper(4)
    one.give(0, 1)
    assert [job.number for job in one.batch.next(2)] == [0, 1]
    assert one.said() == [Room(2)]
    assert one.batch.next(1) == []  # it does not wait: two are open
    assert one.batch.next(1) == []  # and asks no more than once
    assert one.said() == [Room(1)]
    one.give(2)
    assert [job.number for job in one.batch.next()] == [2]
    assert one.said() == [Room(1)]
    assert one.batch.next(0) == []


def test_it_is_over_when_the_sweeper_is_gone(sweeper: Callable[[int], Sweeper]) -> None:
    one = sweeper(2)
    assert not one.batch.is_over
    one.link.close()
    assert one.batch.next() == []
    assert one.batch.is_over


def test_a_job_that_cannot_begin_fails_alone(sweeper: Callable[[int], Sweeper]) -> None:
    one = sweeper(4)
    one.give(13, 1)
    assert [job.number for job in one.batch.next()] == [1]
    failed = one.results()["trial-13"]
    assert (failed.state, failed.error) == ("failed", "OSError: [Errno 28] No space left on device")


@pytest.mark.parametrize(
    ("end", "state", "value", "error"),
    [
        (lambda job: job.complete(0.5), "completed", 0.5, None),
        (lambda job: job.complete({"value": 0.5, "acc": 0.1}), "completed", 0.5, None),
        (lambda job: job.complete(float("nan")), "failed", None, "value became nan"),
        (lambda job: job.complete(None), "failed", None, "main returns nothing: end it with"),
        (lambda job: job.fail(Diverged("the loss became NaN")), "diverged", None, "the loss became NaN"),
        (lambda job: job.fail(ConfigError("lr must be")), "failed", None, "lr must be"),
        (lambda job: job.fail(ValueError("no\nluck")), "failed", None, "ValueError: no"),
        (lambda job: job.fail(optuna.TrialPruned()), "pruned", None, None),
        (lambda job: job.put_back("out of memory"), "interrupted", None, "out of memory"),
        (lambda job: job.run_alone(), "completed", 8.0, None),
    ],
)
def test_a_job_ends(
    sweeper: Callable[[int], Sweeper],
    end: Callable[[BatchJob], None],
    state: str,
    value: float | None,
    error: str | None,
) -> None:
    one = sweeper(2)
    first, second = opened(one, 2)
    end(first)
    for late in (end, lambda job: job.complete(0.9), lambda job: job.run_alone()):
        late(first)  # it is closed already
    assert (first.is_open, second.is_open, one.batch.open) == (False, True, [second])
    [(folder, result)] = one.results().items()
    assert (folder, result.state, result.value) == ("trial-0", state, value)
    assert (result.error or "").startswith(error or "")
    assert result.is_put_back == (state == "interrupted")
    if state != "interrupted":
        assert json.loads((first.folder / "job_result.json").read_text())["status"] == state


def test_a_pruned_job_keeps_what_it_records_until_it_is_closed(sweeper: Callable[[int], Sweeper]) -> None:
    one = sweeper(2)
    first, second = opened(one, 2)
    assert one.batch.report([(first, 0.5, 1), (second, 0.5, 2)]) == [second]
    with second.entered():
        second.trial.record({"epochs": 2})
    assert one.said() == []
    one.batch.next()
    [result] = one.results().values()
    assert (result.state, result.facts["epochs"]) == ("pruned", 2)


def test_half_the_places_are_half_the_jobs(sweeper: Callable[[int], Sweeper]) -> None:
    one = sweeper(5)
    jobs = opened(one, 3)
    one.batch.halve("out of memory")
    for job in jobs:
        job.put_back("out of memory")
    assert one.said()[0] == Halved(2, "out of memory")
    one.give(*range(3, 8))  # asked for before
    assert [job.number for job in one.batch.next()] == [3, 4]
    assert one.batch.next() == []
    one.batch.halve("again")
    one.batch.halve("and again")
    assert one.batch.places == 1


def test_what_is_open_at_the_end_is_interrupted_and_one_failure(sweeper: Callable[[int], Sweeper]) -> None:
    one = sweeper(2)
    opened(one, 2)
    one.give(2)  # on its way
    one.batch.end_all("the app failed", by_signal=False)
    results = one.results()
    assert [each.state for each in results.values()] == ["interrupted"] * 3
    assert [each.is_failure_of_worker for each in results.values()] == [True, False, False]


def test_a_signal_while_one_runs_alone_is_for_all(sweeper: Callable[[int], Sweeper]) -> None:
    from lightsweep.core import signals

    one = sweeper(2)
    first, _ = opened(one, 2, width=0)
    with pytest.raises(Interrupted), signals.as_exceptions():
        first.run_alone()
    assert [each.state for each in one.results().values()] == ["interrupted"]


def test_images_are_counted_now_and_then(sweeper: Callable[[int], Sweeper], monkeypatch: pytest.MonkeyPatch) -> None:
    one = sweeper(2)
    _, last = opened(one, 2)
    for _ in range(3):
        one.batch.count(100)
        one.batch.next(0)
    assert one.said() == []
    monkeypatch.setattr(batches, "_COUNT_EVERY", 0.0)
    one.batch.next(0)
    assert one.said() == [Counted(300)]
    monkeypatch.setattr(batches, "_COUNT_EVERY", 100.0)
    one.batch.open[0].put_back("later")
    one.batch.count(50)
    last.put_back("later")
    assert one.said()[1] == Counted(50)  # before the last result


def test_what_was_put_back_spends_no_retry(open_queue: Callable[..., TrialQueue]) -> None:
    queue = open_queue(n_trials=1, retries=1)
    for _ in range(3):
        trial = queue.claim()
        assert trial is not None
        queue.tell(trial, JobResult(JobState.INTERRUPTED, error="out of memory", is_put_back=True))
    trial = queue.claim()
    assert trial is not None
    assert trial.user_attrs["retries"] == 0
    queue.tell(trial, JobResult(JobState.INTERRUPTED))
    trial = queue.claim()
    assert trial is not None
    assert trial.user_attrs["retries"] == 1
    queue.tell(trial, JobResult(JobState.INTERRUPTED))
    assert queue.claim() is None
