"""A population on a GPU as a sweep uses it: refilled places, and the whole command."""

from pathlib import Path

import pytest
import torch

from lightsweep.training import summary
from members import alone, difference, made, population

from .conftest import DEVICE, ON, TYPE
from .test_gpu_commands import finish, results, start

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]

EXACT = (f"trainer.accelerator={DEVICE}", "trainer.precision=32-true", "model.width=32", "optimizer.eps=1e-4")
MEMBER = ("seed=1", "optimizer.lr=0.01", "scheduler=cosine")


def test_a_member_of_a_place_that_became_free_is_the_run_of_its_own() -> None:
    config = ("optimizer=adamw", *EXACT, *MEMBER)
    first, second = (made(*config, "trainer.max_epochs=2", f"model.dropout={dropout}") for dropout in (0.3, 0.0))
    training = population(first, places=1)
    for each in (first, second):
        member = training.add(each.spec)
        records = [training.train_epoch()[member] for _ in range(2)]
        training.remove(member)
    rows, _ = alone((*config, "model.dropout=0.0"), 2)
    assert max(difference(record, rows) for record in records) < 1e-3


def test_the_weights_of_a_population_are_on_the_device() -> None:
    each = made("optimizer=adamw", *EXACT, *MEMBER, "trainer.max_epochs=1")
    training = population(each, places=2)
    assert training.device.type == TYPE
    assert training.weights.parameters.values.device.type == TYPE


def test_a_sweep_trains_with_a_population(tmp_path: Path) -> None:
    size = ("trainer.max_epochs=2", "hydra.sweeper.n_trials=6", "hydra.sweeper.population=4")
    small = (*ON, "data=digits", "data.limit=300", "logger=none", "threads=1", "hydra/sweeper/pruner=none")
    space = ("optimizer.lr=tag(log,interval(1e-4,1e-2))", "model.dropout=interval(0,0.5)")
    done = finish(start("sweep=custom", "optimizer=adamw", *small, *size, *space, folder=tmp_path / "study"))
    found = results(tmp_path / "study")
    assert "6 trials: 6 completed" in done
    assert {each["device"] for each in found} == {summary.device_name(torch.device(TYPE))}
    assert [each["epochs"] for each in found] == [2] * 6
