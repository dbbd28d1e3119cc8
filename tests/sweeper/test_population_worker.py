"""A worker with several places, as its sweeper sees it: the jobs that it is sent, and what they become when it dies."""

from typing import Any

import pytest

from lightsweep.sweeper.batch_messages import Counted, Ended, Halved, Room, Said
from lightsweep.sweeper.executors import populations
from lightsweep.sweeper.executors.populations import PlaceSlot, PopulationWorker
from lightsweep.sweeper.job import Job, JobResult, JobState

DONE = JobResult(JobState.COMPLETED, 1.0)


class Process:
    """A worker process of which the test decides what it says, and when it dies."""

    def __init__(self, setup: Any, *, index: int, threads: int, serve: Any) -> None:
        self.index, self.serve = index, serve
        self.alive, self.refusal = True, None
        self.said: list[Any] = []
        self.sent: list[Job] = []
        self.starts, self.stops = 1, 0

    def is_alive(self) -> bool:
        return self.alive

    def receive(self) -> Any:
        return self.said.pop(0) if self.said else None

    def send(self, job: Job) -> None:
        self.sent.append(job)

    def refuses(self) -> bool:
        return self.refusal is not None

    def describe_end(self) -> str:
        return "the worker died of SIGKILL"

    def start(self) -> None:
        self.alive, self.starts = True, self.starts + 1

    def stop(self) -> None:
        self.stops += 1


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> PopulationWorker:
    monkeypatch.setattr(populations, "WorkerProcess", Process)
    return PopulationWorker(None, index=0, threads=1, name="app.train_batch", places=8, staggered=True)  # type: ignore[arg-type]


def job(number: int) -> Job:
    return Job("trial", (), f"trial-{number:04d}", number)


def filled(worker: PopulationWorker, count: int) -> list[PlaceSlot]:
    """Slots whose jobs the worker has."""
    process: Any = worker.process
    process.said.append(Room(count))
    slots = [PlaceSlot(worker) for _ in range(count)]
    for number, slot in enumerate(slots):
        slot.start(job(number))
    assert len(process.sent) == count
    return slots


def test_a_worker_gets_as_many_jobs_as_it_asks_for(worker: PopulationWorker) -> None:
    process: Any = worker.process
    assert not worker.has_room()
    process.said += [Room(1), Room(1)]
    slots = [PlaceSlot(worker) for _ in range(3)]
    for number, slot in enumerate(slots):
        assert slot.has_room() == (number < 2)
        slot.start(job(number))
    assert [each.number for each in process.sent] == [0, 1]
    process.said.append(Room(1))
    assert not worker.has_room()  # it is for the job that waits
    assert [each.number for each in process.sent] == [0, 1, 2]


def test_a_result_comes_once(worker: PopulationWorker) -> None:
    process: Any = worker.process
    slots = filled(worker, 2)
    process.said += [Ended("trial-0001", DONE), Counted(100), Said("a line"), Counted(20)]
    assert [slot.poll() for slot in slots] == [None, DONE]
    assert slots[1].poll() is None
    assert (worker.take_images(), worker.take_images()) == (120, 0)
    assert worker.take_lines() == ["a line"]


def test_a_death_interrupts_all_and_is_one_failure(worker: PopulationWorker) -> None:
    process: Any = worker.process
    slots = filled(worker, 4)
    process.said.append(Ended("trial-0002", DONE))  # it had ended before
    process.alive = False
    results = [slot.poll() for slot in slots]
    assert [each.state for each in results] == [*["interrupted"] * 2, "completed", "interrupted"]
    assert [each.is_failure_of_worker for each in results] == [True, False, False, False]
    assert results[0].error == "the worker died of SIGKILL"
    assert (process.starts, worker.places, process.serve.keywords["places"]) == (2, 4, 4)
    assert worker.take_lines() == ["the worker died of SIGKILL: 4 places in worker 0 from now on"]


def test_a_death_without_jobs_costs_no_place(worker: PopulationWorker) -> None:
    process: Any = worker.process
    process.alive = False
    assert not worker.has_room()
    assert (process.starts, worker.places) == (2, 8)


def test_a_worker_that_dies_as_it_starts_is_given_up(worker: PopulationWorker) -> None:
    process: Any = worker.process
    for _ in range(4):
        process.alive = False
        worker.has_room()
    slot = PlaceSlot(worker)
    assert slot.has_room()
    slot.start(job(0))
    result = slot.poll()
    assert result is not None
    assert (result.state, result.error) == ("refused", "the worker died of SIGKILL as it started, 3 times")


def test_a_worker_gets_one_signal_and_nothing_after_it(worker: PopulationWorker) -> None:
    process: Any = worker.process
    slots = filled(worker, 3)
    for slot in slots:
        slot.stop()
    assert process.stops == 1
    late = PlaceSlot(worker)
    late.start(job(3))
    assert late.poll() == JobResult(JobState.INTERRUPTED)
    process.alive = False
    results = [slot.poll() for slot in slots]
    assert all(each and each.state == "interrupted" and not each.is_failure_of_worker for each in results)
    assert process.starts == 1


def test_a_worker_that_was_halved_stays_so(worker: PopulationWorker) -> None:
    process: Any = worker.process
    process.said.append(Halved(4, "out of memory"))
    worker.has_room()
    assert worker.take_lines() == ["out of memory: 4 places in worker 0 from now on"]
    process.alive = False
    worker.has_room()
    assert process.serve.keywords["places"] == 4


def test_a_refusal_is_every_jobs(worker: PopulationWorker) -> None:
    process: Any = worker.process
    refusal = JobResult(JobState.REFUSED, error="there is no function app.train_batch")
    process.said.append(refusal)
    slot = PlaceSlot(worker)
    assert slot.has_room()
    slot.start(job(0))
    assert slot.poll() == refusal
