"""The learning-rate range test: rates that grow, a suggestion from a known curve, and nothing trained."""

import csv
from pathlib import Path

import numpy as np
import pytest

import train
from digits_runs import opened
from lightsweep.core.errors import ConfigError
from lightsweep.runs.run_folder import CONFIG, LR_FIND, is_run
from lightsweep.training import lr_find
from lightsweep.training.lr_find import PLOT, suggest

RATES = np.logspace(-6, 1, 200)


def test_suggests_a_third_of_where_a_noisy_loss_is_least() -> None:
    valley = 2.3 - 2 * np.exp(-((np.log10(RATES) + 2) ** 2)) + np.random.default_rng(0).normal(0, 0.02, 200)
    assert suggest(RATES, valley) == pytest.approx(0.01 / 3, rel=0.3)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (np.full(9, 2.3), "lr_find: the loss diverged after 9 steps: lower lr_find_range.low"),
        (np.linspace(2.3, 9, 200), "lr_find: the loss never fell: lower lr_find_range.low"),
    ],
)
def test_the_error_says_why_nothing_is_suggested(losses: np.ndarray, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        suggest(RATES[: len(losses)], losses)
    assert str(refusal.value) == message


@pytest.fixture
def found(compose, tmp_path: Path, capsys):
    def find(*overrides: str) -> tuple[float, Path, str]:
        folder = tmp_path / "test"
        folder.mkdir()
        cfg = compose("lr_find=true", "lr_find_range.steps=60", "data.limit=600", *overrides)
        rate = train.run(cfg, opened(cfg, folder, "run", ["++lr_find=true", *overrides]))
        return rate, folder, capsys.readouterr().out

    return find


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer=sgd", "scheduler=plateau"],
        ["trainer.accumulate_grad_batches=3", "trainer.gradient_clip_val=1"],
        ["trainer.precision=bf16-mixed", "callbacks=default", "logger=tensorboard"],
    ],
    ids=" ".join,
)
def test_writes_a_picture_and_the_numbers_and_prints_a_command(found, overrides: list[str]) -> None:
    rate, folder, printed = found(*overrides)
    assert sorted(file.name for file in folder.iterdir()) == [LR_FIND, PLOT]
    assert (folder / PLOT).read_bytes().startswith(b"\x89PNG")
    with (folder / LR_FIND).open(newline="") as file:
        rows = list(csv.DictReader(file))
    rates = [float(row["lr"]) for row in rows]
    assert rates[0] == pytest.approx(1e-6)
    assert np.diff(np.log(rates)) == pytest.approx(np.log(1e7) / 59)
    assert 1e-6 < rate < 10
    assert printed.splitlines()[-1] == f"train with it: python src/train.py {' '.join(overrides)} optimizer.lr={rate:g}"


def test_repeating_it_gives_the_same(found, tmp_path: Path) -> None:
    _, folder, _ = found("model.dropout=0.2")
    first = (folder / LR_FIND).read_text()
    folder.rename(tmp_path / "first")
    assert (found("model.dropout=0.2")[1] / LR_FIND).read_text() == first


def test_its_folder_cannot_be_resumed(found) -> None:
    _, folder, _ = found()
    (folder / CONFIG).touch()
    assert not is_run(folder)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("low=0", "lr_find_range.low must be > 0, got 0"),
        ("high=1e-7", "lr_find_range.high must be above low, 1e-06, got 1e-07"),
        ("steps=19", "lr_find_range.steps must be an integer in [20, 100000], got 19"),
    ],
)
def test_refuses_an_invalid_range(found, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        found(f"lr_find_range.{override}")
    assert str(refusal.value) == message


def test_is_refused_in_grids_and_sweeps(compose, tmp_path: Path) -> None:
    cfg = compose("lr_find=true")
    for kind in ("job", "trial"):
        with pytest.raises(ConfigError, match=r"^lr_find must be false in a grid or a sweep"):
            train.run(cfg, opened(cfg, tmp_path, kind, []))


def test_smoothing_shifts_nothing() -> None:
    peak = np.zeros(41)
    peak[20] = 1.0
    smoothed = lr_find.smooth(peak)
    assert smoothed[20] == smoothed.max() == pytest.approx(1 / 5)
    assert smoothed == pytest.approx(smoothed[::-1])
