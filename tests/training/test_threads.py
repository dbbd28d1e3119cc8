"""``threads=auto``: which number is chosen, that nothing else changes, that a resumed run keeps it; and the watch."""

import math
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from digits_runs import EVERYTHING
from lightsweep.app import jobs
from lightsweep.training import threads
from lightsweep.training.threads import _SLOW as SLOW
from lightsweep.training.threads import _SMALL as SMALL
from lightsweep.training.threads import Threads, compare

EPOCHS = ("trainer.max_epochs=2", "callbacks=checkpoint")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch) -> None:
    """A process that may use two threads, and has timed nothing; each network is large enough to be timed. The number
    is only kept: two threads would wait for each other beside other tests."""
    count = [1]
    monkeypatch.setattr("torch.set_num_threads", lambda number: count.__setitem__(0, number))
    monkeypatch.setattr("torch.get_num_threads", lambda: count[0])
    monkeypatch.setattr(threads, "most_threads", lambda: 2)
    monkeypatch.setattr(threads, "_chosen", {})
    monkeypatch.setattr(threads, "_SMALL", 0)
    monkeypatch.setattr(threads, "_SLOW", math.inf)  # an epoch may be slow: other tests run


@pytest.fixture
def timed(monkeypatch) -> Callable[[float], list[int]]:
    """Two threads are so many times as fast as one; gives how many threads were timed, each time."""

    def with_speedup(speedup: float) -> list[int]:
        counts: list[int] = []

        def compare(most: int) -> Generator[int, float, float]:
            counts.append(most)
            for count in (1, most):
                yield count
                assert torch.get_num_threads() == count
            return speedup

        monkeypatch.setattr(threads, "compare", compare)
        return counts

    return with_speedup


def simulate(seconds: Callable[[int, int], float]) -> tuple[float, float]:
    """What `compare` finds where the n-th step with a number of threads takes ``seconds(threads, n)``; and how long
    that takes."""
    comparing, steps, total = compare(2), {1: 0, 2: 0}, 0.0
    count = next(comparing)
    try:
        while True:
            steps[count] += 1
            total += (step := seconds(count, steps[count]))
            count = comparing.send(step)
    except StopIteration as end:
        return end.value, total


@pytest.mark.parametrize("step", [1e-4, 0.01, 0.05], ids=str)
def test_two_threads_on_an_idle_machine_are_found_to_be_faster(step: float) -> None:
    speedup, total = simulate(lambda count, _: step / 1.5 if count == 2 else step)
    assert speedup == pytest.approx(1.5)
    assert total < 0.75


@pytest.mark.parametrize("step", [1e-4, 0.01, 0.05], ids=str)
def test_threads_that_now_and_then_wait_for_long_are_found_to_be_slower(step: float) -> None:
    speedup, total = simulate(lambda count, number: 20 * step if count == 2 and number % 4 == 3 else step / count)
    assert speedup < 1
    assert total < 2


def test_a_first_step_that_takes_very_long_decides_at_once() -> None:
    speedup, total = simulate(lambda count, _: 1.5 if count == 2 else 0.1)
    assert speedup == pytest.approx(1 / 15)
    assert total == pytest.approx(1.7)


@pytest.mark.parametrize(("speedup", "count"), [(1.5, 2), (1.1, 1), (0.1, 1)])
def test_a_run_is_as_one_with_the_chosen_number(run, timed, speedup: float, count: int) -> None:
    assert timed(speedup) == []
    chosen = run(*EVERYTHING, *EPOCHS, "threads=auto", name="auto")
    typed = run(*EVERYTHING, *EPOCHS, f"threads={count}", name="typed")
    assert chosen.measured == typed.measured
    assert chosen.result["device"].endswith(f", {count} thread{'s' * (count > 1)}")
    assert chosen.result["config"]["threads"] == count
    assert OmegaConf.load(chosen.folder / "config.yaml").threads == count


def test_a_resumed_run_has_the_number_of_its_start(launch, timed, monkeypatch, tmp_path) -> None:
    small = ["data=digits", "data.limit=300", "test=false", "trainer=cpu", "model.width=8", "logger=none"]
    small += ["callbacks=checkpoint"]
    counts = timed(2.0)
    assert launch(*small, "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}/a").code == 0
    assert launch(*small, "trainer.max_epochs=2", f"hydra.run.dir={tmp_path}/b", "threads=2").code == 0
    monkeypatch.setattr(threads, "most_threads", lambda: 1)  # another machine, with one core
    assert launch(f"resume={tmp_path}/a", "trainer.max_epochs=2").code == 0
    assert (counts, torch.get_num_threads()) == ([2], 2)
    states = [torch.load(tmp_path / name / "checkpoints" / "last.ckpt")["state_dict"] for name in "ab"]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])

    timed(1.0)
    monkeypatch.setattr(threads, "_chosen", {})
    assert launch(f"resume={tmp_path}/a", "threads=auto", "trainer.max_epochs=3").code == 0  # chosen anew, and kept
    assert OmegaConf.load(tmp_path / "a" / "config.yaml").threads == 1


def test_a_trial_that_goes_on_has_the_number_of_its_start(launch, timed, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(jobs, "current_trial", lambda: SimpleNamespace(job=SimpleNamespace(kind="trial")))
    monkeypatch.setenv("TRIAL", str(tmp_path / "trial"))  # a folder that is typed must be new
    command = ["data=digits", "data.limit=300", "test=false", "trainer=cpu", "model.width=8", "logger=none"]
    command += ["callbacks=checkpoint", "hydra.run.dir=${oc.env:TRIAL}"]
    counts = timed(2.0)
    assert launch(*command, "trainer.max_epochs=1").code == 0
    monkeypatch.setattr(threads, "most_threads", lambda: 1)  # on another machine, with one core
    assert launch(*command, "trainer.max_epochs=2").code == 0
    assert (counts, torch.get_num_threads()) == ([2], 2)
    assert OmegaConf.load(tmp_path / "trial" / "config.yaml").threads == 2


def test_a_worker_times_each_kind_of_network_once(run, timed) -> None:
    counts = timed(2.0)
    for name, width in (("a", 16), ("b", 17), ("c", 64)):
        run(*EPOCHS, f"model.width={width}", name=name, kind="trial")
    assert counts == [2, 2]


def test_a_small_network_takes_one_thread_and_is_not_timed(run, timed, monkeypatch) -> None:
    counts = timed(2.0)
    monkeypatch.setattr(threads, "_SMALL", SMALL)
    assert run("threads=auto", *EPOCHS).result["config"]["threads"] == 1
    assert run("threads=auto", *EPOCHS, "model=cnn", "model.depth=1", name="cnn").result["config"]["threads"] == 2
    assert counts == [2]  # the weights of a convolution are used at each place of an image


@pytest.mark.parametrize("overrides", [["trainer.precision=bf16-mixed"], ["trainer.precision=64-true"]], ids=str)
def test_steps_are_timed_in_the_precision_of_training(run, overrides: list[str]) -> None:
    assert run("threads=auto", *EPOCHS, *overrides).result["config"]["threads"] in (1, 2)


class Uncopyable(nn.Module):
    """A network of a person's own that holds what cannot be copied."""

    def __init__(self, *, input_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(input_shape[1] * input_shape[2], num_classes)
        self.generator = (number for number in range(9))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))


def test_a_network_that_cannot_be_copied_takes_all_threads(run, trust) -> None:
    trust(f"{__name__}.*")
    node = {"_target_": f"{__name__}.Uncopyable"}
    done = run("threads=auto", "trainer.max_epochs=1", "callbacks=none", edit=lambda cfg: cfg.update(model=node))
    assert done.result["config"]["threads"] == 2


def test_a_step_that_fails_when_it_is_timed_ends_nothing(run, timed, monkeypatch) -> None:
    counts = timed(1.0)
    forward = nn.Linear.forward

    def fail(self, features: torch.Tensor) -> torch.Tensor:
        if counts and torch.get_num_threads() == 2 and len(counts) < 2:
            counts.append(0)
            raise IndexError("only when it is timed")
        return forward(self, features)

    monkeypatch.setattr(nn.Linear, "forward", fail)
    assert run("threads=auto", *EPOCHS).result["config"]["threads"] == 2
    assert counts == [2, 0]


def test_a_network_whose_copy_does_not_fit_into_memory_takes_all_threads(run, timed, monkeypatch) -> None:
    counts = timed(1.0)
    monkeypatch.setattr(threads, "_FULL", 10**12)
    assert run("threads=auto", *EPOCHS).result["config"]["threads"] == 2
    assert counts == []


def epoch_of(rate: float, number: int) -> Any:
    """A Trainer at the end of an epoch that trained so many images a second."""
    device = SimpleNamespace(root_device=torch.device("cpu"))
    metrics = {"train/images_per_second": torch.tensor(rate)}
    return SimpleNamespace(strategy=device, world_size=1, callback_metrics=metrics, current_epoch=number - 1)


@pytest.fixture
def watch(monkeypatch, caplog):
    """What is logged at the ends of epochs of so many images a second, and how often steps were timed."""

    def watched(rates: list[float], *, count: int, speedup: float | None) -> tuple[list[str], int]:
        torch.set_num_threads(count)
        counts: list[int] = []
        monkeypatch.setattr(threads, "_SLOW", SLOW)
        monkeypatch.setattr(threads, "_time", lambda *_: counts.append(1) or torch.set_num_threads(1) or speedup)
        watching = Threads(count)
        for number, rate in enumerate(rates, start=1):
            watching.on_train_epoch_end(epoch_of(rate, number), None)
            assert torch.get_num_threads() == count
        return caplog.messages, len(counts)

    return watched


def test_an_epoch_in_which_threads_waited_is_named_once(watch) -> None:
    lines, _ = watch([900.0, 1000.0, 400.0, 200.0, 100.0], count=2, speedup=0.25)
    (line,) = lines
    assert line.startswith("epoch 4 took 5.0 times as long as the fastest one: 2 threads wait for each other while")
    assert line.endswith("one thread is 4.0 times as fast now: threads=1")


@pytest.mark.parametrize("speedup", [1.6, 0.95, None])
def test_a_slow_epoch_is_not_named_where_one_thread_would_not_help(watch, speedup: float | None) -> None:
    lines, timings = watch([1000.0, *[100.0] * 9], count=2, speedup=speedup)
    assert (lines, timings) == ([], 3)


def test_one_thread_waits_for_none(watch) -> None:
    assert watch([1000.0, 10.0], count=1, speedup=0.1) == ([], 0)


def test_the_steps_of_a_slow_epoch_are_timed_on_a_copy(run, timed, monkeypatch, caplog) -> None:
    plain = run(*EVERYTHING, *EPOCHS, "threads=2", name="plain")
    counts = timed(0.5)
    monkeypatch.setattr(threads, "_SLOW", 0.0)  # each epoch is slow
    watched = run(*EVERYTHING, *EPOCHS, "threads=2", name="watched")
    assert (watched.measured, counts) == (plain.measured, [2])
    assert "one thread is 2.0 times as fast now: threads=1" in caplog.text
