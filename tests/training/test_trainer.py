"""The Trainer of a run: what the config chose, and what every run has."""

import re

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping

from lightsweep.app.validation import plain_config
from lightsweep.core.errors import ConfigError
from lightsweep.runs.results import MetricsFile
from lightsweep.training import trainer
from lightsweep.training.callbacks import LearningRateMonitor, ProgressLine, Recorder
from lightsweep.training.checkpoints import AtomicCheckpointIO, BestCheckpoint, LastCheckpoint

ALWAYS = [Recorder, LastCheckpoint]


@pytest.fixture
def make(compose, tmp_path):
    def made(*overrides: str):
        config = plain_config(compose(*overrides))
        parts = {"loggers": config.logger, "callbacks": config.callbacks, "seed": config.seed}
        return trainer.build_trainer(
            config.trainer, folder=tmp_path, metrics=MetricsFile(tmp_path / "metrics.csv"), **parts
        )

    return made


def kinds(made: pl.Trainer, *families: type) -> list[type]:
    return [type(one) for one in made.callbacks if isinstance(one, families)]


@pytest.mark.parametrize(
    ("overrides", "chosen"),
    [
        (["callbacks=default", "logger=csv"], [EarlyStopping, LearningRateMonitor, ProgressLine, BestCheckpoint]),
        (["callbacks=default", "logger=none"], [EarlyStopping, ProgressLine, BestCheckpoint]),
        (["callbacks=lr_monitor", "logger=none"], []),
        (["callbacks=none", "logger=none"], []),
        (["callbacks=none", "logger=csv"], []),
        (["callbacks=early_stopping"], [EarlyStopping]),
        (["callbacks=checkpoint"], [BestCheckpoint]),
        (["callbacks=progress"], [ProgressLine]),
    ],
    ids=lambda item: " ".join(item) if item and isinstance(item[0], str) else "",
)
def test_has_the_chosen_callbacks_and_those_of_every_run(make, overrides: list[str], chosen: list[type]) -> None:
    ours = {*ALWAYS, EarlyStopping, LearningRateMonitor, ProgressLine, BestCheckpoint}
    found = kinds(make(*overrides), *ours)
    assert sorted(found, key=str) == sorted([*ALWAYS, *chosen], key=str)


def test_the_recorder_is_first_and_the_last_checkpoint_last(make) -> None:
    made = make("callbacks=default", "logger=csv")
    assert isinstance(made.callbacks[0], Recorder)
    assert [type(one) for one in made.callbacks[-2:]] == [BestCheckpoint, LastCheckpoint]


def test_takes_several_loggers(make) -> None:
    names = [type(logger).__name__ for logger in make("logger=[tensorboard,csv]").loggers]
    assert names == ["TensorBoardLogger", "CSVLogger"]


def test_writes_checkpoints_atomically_and_does_not_distribute_data_itself(make) -> None:
    made = make()
    assert isinstance(made.strategy.checkpoint_io, AtomicCheckpointIO)
    assert not made._accelerator_connector.use_distributed_sampler


def test_takes_any_argument_of_lightnings(make) -> None:
    assert make("+trainer.max_steps=7").max_steps == 7


def test_a_node_without_target_is_skipped_and_logged(make, caplog) -> None:
    with caplog.at_level("INFO"):
        made = make("experiment=reference/a4", "callbacks=none", "data=digits")
    assert not kinds(made, EarlyStopping)
    assert "callbacks.early_stopping skipped: it has no _target_" in caplog.messages


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+callbacks.mine._target_=torch.nn.ReLU", "callbacks.mine must be a callback of Lightning's, got 'ReLU'"),
        ("+logger.mine._target_=torch.nn.ReLU", "logger.mine must be a logger of Lightning's, got 'ReLU'"),
    ],
)
def test_an_object_that_is_no_callback_or_logger_is_refused(make, trust, override: str, message: str) -> None:
    trust("torch.nn.ReLU", "torch.nn.modules.activation.ReLU")
    with pytest.raises(ConfigError, match=re.escape(message)):
        make(override)
