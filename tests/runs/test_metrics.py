"""metrics.csv: a row an epoch, consistent after a kill; and which metrics can be monitored."""

from pathlib import Path

import pytest

from lightsweep.core.errors import ConfigError
from lightsweep.runs import results
from lightsweep.runs.results import COLUMNS, MetricsFile, check_monitor


def row(epoch: int, **values: float) -> dict[str, float]:
    return {"epoch": epoch} | dict.fromkeys(COLUMNS[1:], epoch / 8) | {f"val/{key}": v for key, v in values.items()}


@pytest.fixture
def file(tmp_path: Path) -> MetricsFile:
    opened = MetricsFile(tmp_path / "metrics.csv")
    opened.reopen(0)
    return opened


def test_starts_with_the_names(file: MetricsFile) -> None:
    names = (
        "epoch,train/loss,train/acc,val/loss,val/acc,val/objective,train/f1,train/balanced_acc,val/f1,val/balanced_acc,"
        "lr,seconds,images_per_second"
    )
    assert file.path.read_text() == names + "\n"


def test_rows_are_on_disk_at_once_and_exact(file: MetricsFile) -> None:
    file.append(row(1, acc=0.1 + 0.2))
    assert results.read(file.path) == [row(1, acc=0.1 + 0.2)]


def test_an_epoch_that_was_not_validated_has_empty_cells(file: MetricsFile) -> None:
    file.append({"epoch": 1, "train/loss": 2.0})
    assert results.read(file.path) == [{"epoch": 1, "train/loss": 2.0}]


def test_reopening_drops_rows_after_the_last_checkpoint(file: MetricsFile) -> None:
    for epoch in (1, 2, 3):
        file.append(row(epoch))
    again = MetricsFile(file.path)
    again.reopen(2)
    again.append(row(3, acc=0.5))
    assert results.read(file.path) == [row(1), row(2), row(3, acc=0.5)] == again.rows


@pytest.mark.parametrize("torn", ["3", "3,0.1,0.2", "3,0.1,0.2,0.3,0.4,0.5,0.6,0.7,"])
def test_a_line_cut_off_by_a_kill_is_dropped(file: MetricsFile, torn: str) -> None:
    file.append(row(1))
    with file.path.open("a") as end:
        end.write(torn)
    again = MetricsFile(file.path)
    again.reopen(1)
    assert results.read(file.path) == [row(1)]


def test_a_file_from_before_f1_is_continued(tmp_path: Path) -> None:
    old = tmp_path / "metrics.csv"
    old.write_text(
        "epoch,train/loss,train/acc,val/loss,val/acc,val/objective,lr,seconds,images_per_second\n1,2,0.1,2,0.2,2,1,3,4\n"
    )
    file = MetricsFile(old)
    file.reopen(1)
    file.append(row(2, f1=0.5))
    first, second = results.read(old)
    assert (first["val/acc"], second["val/f1"]) == (0.2, 0.5)
    assert "val/f1" not in first
    assert file.best("val/f1", "max")["epoch"] == 2


def test_best_is_the_first_of_equals(file: MetricsFile) -> None:
    for epoch, acc in enumerate([0.3, 0.5, 0.5, 0.4], 1):
        file.append(row(epoch, acc=acc))
    assert file.best("val/acc", "max")["epoch"] == 2
    assert file.best("val/acc", "min")["epoch"] == 1


def test_best_passes_over_epochs_without_the_metric(file: MetricsFile) -> None:
    assert file.best("val/acc", "max") is None
    file.append({"epoch": 1, "train/acc": 0.9})
    assert file.best("val/acc", "max") is None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"metrics.csv is missing"):
        results.read(tmp_path / "metrics.csv")


@pytest.mark.parametrize(
    ("metric", "mode", "message"),
    [
        (
            "val/accc",
            "max",
            (
                "monitor.metric must be one of train/loss, train/acc, val/loss, val/acc, val/objective,"
                " train/f1, train/balanced_acc, val/f1, val/balanced_acc, got 'val/accc'"
            ),
        ),
        ("val/f1", "min", "monitor.mode must be max for val/f1, got 'min'"),
        ("val/balanced_acc", "min", "monitor.mode must be max for val/balanced_acc, got 'min'"),
        ("test/acc", "max", "monitor.metric must be one of "),
        (3, "max", "monitor.metric must be one of "),
        ("val/acc", "maximum", "monitor.mode must be one of min, max, got 'maximum'"),
        ("val/acc", "min", "monitor.mode must be max for val/acc, got 'min'"),
        ("val/objective", "max", "monitor.mode must be min for val/objective, got 'max'"),
    ],
)
def test_an_invalid_monitor_is_refused(metric, mode: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        check_monitor("monitor", metric, mode)
    assert str(refusal.value).startswith(message)


def test_names_the_node_that_watches() -> None:
    with pytest.raises(ConfigError, match=r"^callbacks.early_stopping.monitor must be one of "):
        check_monitor("callbacks.early_stopping", "foo", "max")
