"""What is left out of a training step is what nobody uses."""

import os

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, LambdaCallback

from lightsweep.app import steps
from lightsweep.app.validation import plain_config
from lightsweep.runs.results import MetricsFile
from lightsweep.training import lean, trainer

TINY = ("data=digits", "model.hidden=[8]", "data.limit=200", "trainer=cpu", "trainer.max_epochs=1", "callbacks=none")


class Counting(Callback):
    """Counts the batches' hooks, some of them defined here, one inherited from another callback."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_train_batch_end(self, *args, **kwargs) -> None:
        super().on_train_batch_end(*args, **kwargs)  # the empty one of Lightning stays callable from a subclass
        self.calls.append("train")

    def on_before_backward(self, *args, **kwargs) -> None:
        self.calls.append("backward")

    def on_validation_batch_start(self, *args, **kwargs) -> None:
        self.calls.append("validation")


class Inheriting(Counting):
    pass


@pytest.fixture
def fit(compose, tmp_path):
    def fitted(*further: Callback, **more) -> pl.Trainer:
        config = plain_config(compose(*TINY))
        data = steps.read_data(config)
        parts = {"folder": tmp_path, "metrics": MetricsFile(tmp_path / "metrics.csv"), "seed": 0, "loggers": {}}
        made = trainer.build_trainer({**config.trainer, **more}, **parts, callbacks={}, further=further)
        made.fit(steps.build_classifier(config, data), datamodule=data)
        return made

    return fitted


def test_each_hook_that_a_callback_has_is_called_at_each_batch(fit) -> None:
    zeroed: list[int] = []
    own, inheriting = Counting(), Inheriting()
    made = fit(own, inheriting, LambdaCallback(on_before_zero_grad=lambda *_: zeroed.append(1)))
    assert made.global_step > 0
    for counting in (own, inheriting):
        assert counting.calls.count("train") == counting.calls.count("backward") == made.global_step
        assert counting.calls.count("validation") > 0
    assert len(zeroed) == made.global_step


def test_a_hook_that_is_only_inherited_is_skipped() -> None:
    own = Counting()
    lean.skip_unused_hooks([own])
    skipped = {hook for hook in lean.HOOKS if getattr(own, hook) is None}
    assert set(lean.HOOKS) - skipped == {"on_train_batch_end", "on_before_backward", "on_validation_batch_start"}
    assert all(callable(getattr(Callback, hook)) for hook in lean.HOOKS)


def test_a_profiler_that_was_asked_for_measures(fit) -> None:
    assert isinstance(fit().profiler, lean.NoProfiler)
    assert "run_training_batch" in fit(profiler="simple").profiler.summary()


def test_missing_gpus_are_hidden_and_present_ones_are_not(monkeypatch) -> None:
    for present in (True, False):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
        monkeypatch.setattr(torch.cuda, "is_available", lambda present=present: present)
        lean.hide_missing_gpus()
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ("0" if present else "")


def test_attributes_of_a_module_stay_what_they_are_for_torch() -> None:
    module = lean.LeanModule()
    module.layer = torch.nn.Linear(2, 3)
    module.text = "one"
    module.text = "two"
    module.layer = None
    assert module.text == "two"
    assert "layer" in dict(module._modules)
    assert not list(module.parameters())
    module.text = torch.nn.Parameter(torch.ones(1)) if not delattr(module, "text") else None
    assert [name for name, _ in module.named_parameters()] == ["text"]
