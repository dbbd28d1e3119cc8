"""lightsweep.PruningCallback in an app of its own, with either of Lightning's two packages."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna import TrialPruned
from torch.utils.data import DataLoader, TensorDataset

import lightsweep
from lightsweep.sweeper.job import Job, TrialContext, _current

BATCHES = 4
QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's, on the small data


class Reported:
    """Takes what is reported; prunes from a step on."""

    def __init__(self, pruned_from: int = 10**9) -> None:
        self.values: dict[int, float] = {}
        self.pruned_from = pruned_from

    def report(self, step: int, value: float) -> bool:
        assert step not in self.values
        self.values[step] = value
        return step >= self.pruned_from


@pytest.fixture(params=["pytorch_lightning", "lightning.pytorch"])
def pl(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(request.param)


@pytest.fixture
def in_trial() -> Iterator[Callable[..., Reported]]:
    """Be in a trial from here on."""
    before = _current.set(TrialContext(None))

    def enter(pruned_from: int = 10**9) -> Reported:
        reported = Reported(pruned_from)
        _current.set(TrialContext(Job("trial", (), "trial-0000", 0, reported)))
        return reported

    yield enter
    _current.reset(before)


def module(pl: Any, **hooks: Callable) -> Any:
    """Counts what it validates in val/count (fresh in every validation), and batches in train/count; hooks are added.

    The number of training batches since the start is ``net.batches``.
    """

    class Net(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
            self.batches = self.validations = 0

        def training_step(self, batch: Any, index: int) -> Any:
            self.batches += 1
            self.log("train/count", float(self.batches), on_step=True, on_epoch=False)
            self.log("train/mean", float(self.batches), on_step=False, on_epoch=True)
            return self.layer(batch[0]).mean()

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val/batches", float(self.batches))
            self.log("val/same", 0.5)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    for name, hook in hooks.items():
        setattr(Net, name, hook)
    return Net()


def fit(
    pl: Any, monitor: str | list[str], *, epochs: int = 3, net: Any = None, path: Any = None, **options: Any
) -> Any:
    monitors = [monitor] if isinstance(monitor, str) else monitor
    callbacks = [lightsweep.PruningCallback(each) for each in monitors]
    trainer = pl.Trainer(max_epochs=epochs, callbacks=callbacks, **{**QUIET, **options})
    loader = DataLoader(TensorDataset(torch.ones(BATCHES, 1)), batch_size=1)
    trainer.fit(net or module(pl), loader, loader, ckpt_path=path)
    return trainer


@pytest.mark.parametrize("monitor", ["val/batches", "val/same"])
def test_one_validation_an_epoch_is_reported_under_the_epoch(pl, in_trial, monitor: str) -> None:
    reported = in_trial()
    fit(pl, monitor)
    counted = {1: 4.0, 2: 8.0, 3: 12.0}
    assert reported.values == (counted if monitor == "val/batches" else dict.fromkeys(counted, 0.5))


def test_a_validation_every_second_epoch_is_reported_under_its_epoch(pl, in_trial) -> None:
    reported = in_trial()
    fit(pl, "val/batches", epochs=5, check_val_every_n_epoch=2)
    assert reported.values == {2: 8.0, 4: 16.0}


def test_validations_within_an_epoch_are_counted(pl, in_trial) -> None:
    reported = in_trial()
    fit(pl, "val/batches", epochs=2, val_check_interval=0.5)
    assert reported.values == {1: 2.0, 2: 4.0, 3: 6.0, 4: 8.0}


def test_validations_every_few_batches_over_epochs(pl, in_trial) -> None:
    reported = in_trial()
    fit(pl, "val/batches", epochs=4, val_check_interval=6, check_val_every_n_epoch=None)
    assert reported.values == {2: 6.0, 3: 12.0}


@pytest.mark.parametrize(
    ("options", "monitor", "values"),
    [
        ({}, "train/mean", {1: 2.5, 2: 6.5}),
        ({}, "train/count", {1: 4.0, 2: 8.0}),
        ({"val_check_interval": 0.5}, "train/mean", {1: 2.5, 2: 6.5}),
        ({"val_check_interval": 0.5}, "train/count", {1: 4.0, 2: 8.0}),
        ({"limit_val_batches": 0}, "train/mean", {1: 2.5, 2: 6.5}),
    ],
)
def test_a_metric_of_training_is_reported_each_epoch(pl, in_trial, options, monitor: str, values) -> None:
    reported = in_trial()
    fit(pl, monitor, epochs=2, **options)
    assert reported.values == values


def test_what_the_module_logs_at_the_end_of_an_epoch_is_of_that_epoch(pl, in_trial) -> None:
    def on_train_epoch_end(self) -> None:
        self.log("own", 10.0 * (self.current_epoch + 1))

    def on_validation_epoch_end(self) -> None:
        self.log("own_val", 100.0 * (self.current_epoch + 1))

    for monitor, unit in (("own", 10), ("own_val", 100)):
        reported = in_trial()
        net = module(pl, on_train_epoch_end=on_train_epoch_end, on_validation_epoch_end=on_validation_epoch_end)
        fit(pl, monitor, net=net)
        assert reported.values == {1: unit, 2: 2 * unit, 3: 3 * unit}


def test_a_metric_that_only_some_validations_log(pl, in_trial) -> None:
    def on_validation_epoch_end(self) -> None:
        if self.current_epoch == 1:
            self.log("rare", 7.0)

    reported = in_trial()
    fit(pl, "rare", net=module(pl, on_validation_epoch_end=on_validation_epoch_end))
    assert reported.values == {2: 7.0}


def test_the_sanity_check_is_not_reported(pl, in_trial) -> None:
    reported = in_trial()
    fit(pl, "val/batches", epochs=1, num_sanity_val_steps=2)
    assert reported.values == {1: 4.0}


def test_a_validation_of_its_own_is_not_reported(pl, in_trial) -> None:
    trainer = fit(pl, "val/batches", epochs=1)
    reported = in_trial()
    trainer.validate(module(pl), DataLoader(TensorDataset(torch.ones(2, 1))), verbose=False)
    assert reported.values == {}


@pytest.mark.parametrize(("monitor", "options"), [("val/batches", {}), ("train/mean", {}), ("own", {})])
def test_a_pruned_trial_ends_where_the_pruner_says_so(pl, in_trial, monitor: str, options) -> None:
    def on_train_epoch_end(self) -> None:
        self.log("own", 1.0)

    reported, net = in_trial(pruned_from=2), module(pl, on_train_epoch_end=on_train_epoch_end)
    with pytest.raises(TrialPruned, match="step 2"):
        fit(pl, monitor, epochs=5, net=net)
    assert list(reported.values) == [1, 2]
    assert net.batches == 2 * BATCHES
    assert lightsweep.current_trial().is_pruned


def test_a_metric_that_was_never_logged_fails_with_those_that_were(pl, in_trial) -> None:
    in_trial()
    with pytest.raises(ValueError, match=r"monitor=val/acc was never logged; logged: train/count, .*val/same"):
        fit(pl, "val/acc", epochs=1)


def test_outside_a_sweep_nothing_happens(pl) -> None:
    fit(pl, ["val/acc", "val/batches"], epochs=1)


def test_two_instances_are_refused(pl, in_trial) -> None:
    in_trial()
    with pytest.raises(ValueError, match="one metric.*val/batches and val/same"):
        fit(pl, ["val/batches", "val/same"])


@pytest.mark.parametrize("interval", [1.0, 0.5])
def test_a_resumed_run_goes_on_counting(pl, in_trial, tmp_path: Path, interval: float) -> None:
    file = tmp_path / "last.ckpt"
    first = in_trial()
    fit(pl, "val/batches", epochs=2, val_check_interval=interval).save_checkpoint(file)
    second = in_trial()
    fit(pl, "val/batches", epochs=3, val_check_interval=interval, path=file)
    last = max(first.values)
    assert list(second.values) == list(range(last + 1, last + (1 if interval == 1.0 else 2) + 1))


def test_a_class_serves_both_packages(pl) -> None:
    assert issubclass(lightsweep.PruningCallback, pl.Callback)
    assert lightsweep.PruningCallback is lightsweep.PruningCallback
