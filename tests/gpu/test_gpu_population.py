"""Populations on a GPU: as the runs that Lightning trains there, and a replayed step as a step."""

import pytest
import torch
from lightning_fabric import Fabric

from lightsweep.population.population import Population
from members import alone, difference, made

from .conftest import DEVICE

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(180)]

GPU = (f"trainer.accelerator={DEVICE}", "trainer.precision=32-true", "model.bn=true")
OPTIMIZERS = [
    ("optimizer=sgd", "optimizer.lr=0.02"),
    ("optimizer=adamw", "optimizer.eps=1e-4", "optimizer.lr=0.004", "scheduler=cosine"),
]


def epochs_of(configs: list[tuple[str, ...]], epochs: int, *, graph: bool = False):
    each = [made(*config, f"trainer.max_epochs={epochs}") for config in configs]
    fabric = Fabric(accelerator=DEVICE, devices=1, precision=each[0].config.trainer["precision"])
    pool = Population(each[0].spec, each[0].data, places=len(each), fabric=fabric, accumulate=1, graph=graph)
    torch.manual_seed(0)
    members = [pool.add(one.spec) for one in each]
    records = [pool.train_epoch() for _ in range(epochs)]
    return members, [[epoch[member] for epoch in records] for member in members]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "adamw"])
def test_a_member_is_as_a_run_of_its_own(optimizer: tuple[str, ...]) -> None:
    configs = [(*GPU, *optimizer, f"seed={seed}") for seed in (1, 2, 3)]
    _, records = epochs_of(configs, 3)
    for config, own in zip(configs, records, strict=True):
        rows, _ = alone(config, 3)
        assert max(difference(record, rows) for record in own) < 1e-4


def test_bf16_is_as_close_as_its_precision() -> None:
    configs = [(*GPU, "trainer.precision=bf16-mixed", *OPTIMIZERS[0], f"seed={seed}") for seed in (1, 2)]
    _, records = epochs_of(configs, 2)
    for config, own in zip(configs, records, strict=True):
        rows, _ = alone(config, 2)
        assert max(abs(record.measured["val/loss"] - rows[i]["val/loss"]) for i, record in enumerate(own)) < 3e-2


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "adamw"])
def test_a_replayed_step_is_equal_to_a_step(optimizer: tuple[str, ...]) -> None:
    small = ("data.batch_size=16",)  # 16 steps an epoch: the first ones are not replayed
    configs = [(*GPU, *small, *optimizer, f"seed={seed}") for seed in (1, 2)]
    results = [epochs_of(configs, 3, graph=graph) for graph in (False, True)]
    for one, other in zip(*(members for members, _ in results), strict=True):
        torch.testing.assert_close(one.current(), other.current(), rtol=1e-5, atol=1e-6)
