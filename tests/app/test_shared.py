"""What the jobs of a worker share: data that were read for one of them, and what is known to fit into memory."""

from pathlib import Path

import pytest

from digits_runs import composed
from lightsweep.app import jobs, shared, steps, validation
from lightsweep.app.shared import Shared, shared_by_run
from lightsweep.app.validation import RunConfig
from lightsweep.core.errors import ConfigError
from lightsweep.data.datasets import DigitsDataModule


def config(*overrides: str) -> RunConfig:
    return validation.plain_config(composed(Path("nowhere"), "data.limit=300", *overrides))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The limit of each data set that is read."""
    found: list[int | None] = []
    read = DigitsDataModule.read
    monkeypatch.setattr(DigitsDataModule, "read", lambda self: found.append(self.limit) or read(self))
    return found


def test_data_are_read_once_for_equal_images(read: list[int | None]) -> None:
    kept = Shared(1)
    (first, digest), (second, again) = kept.data(config()), kept.data(config("data.batch_size=7", "data.seed=5"))
    assert read == [300]
    assert (digest, second.batch_size, second.seed) == (again, 7, 5)
    first.trainer = "a Trainer"  # type: ignore[assignment]
    assert kept.data(config())[0].trainer is None
    assert kept.data(config("data.limit=200"))[0].limit == 200
    kept.data(config())
    assert read == [300, 200, 300]  # one is kept


def test_an_argument_of_a_later_run_is_checked(read: list[int | None]) -> None:
    kept = Shared(1)
    kept.data(config())
    with pytest.raises(ConfigError, match="data.batch_size must be an integer >= 1, got 0"):
        kept.data(config("data.batch_size=0"))
    with pytest.raises(ConfigError, match="data.augment"):
        kept.data(config("data.augment.crop=99"))


def test_a_users_data_module_is_made_for_each_run(read: list[int | None], monkeypatch) -> None:
    monkeypatch.setattr(DigitsDataModule, "__module__", "mine")
    kept = Shared(1)
    assert kept.data(config())[0] is not kept.data(config())[0]
    assert read == [300, 300]


def test_memory_is_measured_once_for_networks_of_one_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    monkeypatch.setattr(steps, "check_memory", lambda description, *_, **__: measured.append(description.model))
    kept = Shared(1)
    for overrides in (("model.dropout=0.1",), ("model.dropout=0.2", "optimizer.lr=0.1"), ("model.dropout=0",)):
        made = config("model.width=8", *overrides)
        data, fingerprint = kept.data(made)
        measured.clear() if overrides == ("model.dropout=0.1",) else None
        kept.classifier(made, data, fingerprint, resumed=False)
    assert [model["dropout"] for model in measured] == [0.1, 0]


def test_only_jobs_of_a_worker_share(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shared_by_run() is not shared_by_run()
    shared._of_worker.cache_clear()
    monkeypatch.setattr(jobs, "is_in_worker", lambda: True)
    assert shared_by_run() is shared_by_run()
    shared._of_worker.cache_clear()
