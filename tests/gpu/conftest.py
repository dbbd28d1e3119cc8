"""Runs on the GPU, with the precision of ``trainer=gpu``. Without a GPU these tests fail; they are never skipped.

LIGHTSWEEP_GPU_CHECK_DEVICE=cpu runs them on the CPU, to see that the tests themselves work.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from digits_runs import Run, trained

DEVICE = os.environ.get("LIGHTSWEEP_GPU_CHECK_DEVICE", "gpu")
TYPE = {"gpu": "cuda"}.get(DEVICE, DEVICE)  # torch's name for it
ON = ("trainer=gpu", f"trainer.accelerator={DEVICE}")
CPU = ("trainer=gpu", "trainer.accelerator=cpu")


@pytest.fixture
def on(tmp_path: Path) -> Callable[..., Run]:
    """Train in this process on the device, in the folder `name`; again in the same folder resumes."""
    return lambda *overrides, name="run", **options: trained(tmp_path / name, *ON, *overrides, **options)


@pytest.fixture
def on_cpu(tmp_path: Path) -> Callable[..., Run]:
    """The same on the CPU."""
    return lambda *overrides, name="run": trained(tmp_path / name, *CPU, *overrides)


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch):
    """The device has hardly any memory left while a test runs. (Simulated on a CPU.)"""
    if TYPE == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1e-5)
        yield
        torch.cuda.set_per_process_memory_fraction(1.0)
        return

    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

    monkeypatch.setattr("lightsweep.training.classifier.Classifier.training_step", exhausted)
    yield
