"""How many processes a trainer's config would train in."""

import pytest
from omegaconf import OmegaConf

from lightsweep.app import jobs
from lightsweep.core.errors import ConfigError

PLAIN = {"devices": 1, "accelerator": "auto", "strategy": "auto"}


@pytest.mark.parametrize(
    ("trainer", "gpus"),
    [
        ({}, 8),
        ({"devices": "1"}, 8),
        ({"devices": [3]}, 8),
        ({"devices": "3,"}, 8),
        ({"devices": "auto"}, 1),
        ({"devices": "auto"}, 0),
        ({"devices": "auto", "accelerator": "cpu"}, 8),
        ({"devices": "auto", "accelerator": "mps"}, 8),
        ({"strategy": "single_device", "num_nodes": 1}, 8),
        ({"devices": "two"}, 8),  # Lightning says what is wrong with it
    ],
)
def test_one_device_trains_in_one_process(trainer: dict, gpus: int) -> None:
    node = OmegaConf.create({**PLAIN, **trainer})
    jobs.check_one_process(node, lambda: gpus)
    assert jobs.trains_in_one_process(node, lambda: gpus)


@pytest.mark.parametrize(
    ("trainer", "line"),
    [
        ({"devices": 3}, "trainer.devices must be one device in a sweep.*, got 3"),
        ({"devices": "2"}, "trainer.devices must be one device in a sweep.*, got '2'"),
        ({"devices": [0, 1]}, "trainer.devices must be one device"),
        ({"devices": "0,1"}, "trainer.devices must be one device"),
        ({"devices": "auto"}, "trainer.devices must be one device.*, got 'auto'"),
        ({"devices": -1, "accelerator": "gpu"}, "trainer.devices must be one device.*, got -1"),
        ({"strategy": "ddp"}, "trainer.strategy must be auto in a sweep.*, got 'ddp'"),
        ({"strategy": "fsdp"}, "trainer.strategy must be auto"),
        ({"num_nodes": 2}, "trainer.num_nodes must be 1 in a sweep.*, got 2"),
    ],
)
def test_several_processes_are_refused(trainer: dict, line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        jobs.check_one_process(OmegaConf.create({**PLAIN, **trainer}), lambda: 4)
