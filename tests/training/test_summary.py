"""The short table that a run ends with."""

from dataclasses import replace
from pathlib import Path

import pytest

from lightsweep.core.errors import JobState
from lightsweep.runs.results import RunResult
from lightsweep.training import trainer

SCORES = {
    "train/loss": 0.25,
    "train/acc": 0.9,
    "val/loss": 0.5,
    "val/acc": 0.81,
    "test/loss": 0.6,
    "test/acc": 0.8,
}
F1 = ("train/f1", "val/f1", "test/f1")
RESULT = RunResult(
    state=JobState.COMPLETED,
    facts={"params": 1710346},
    scores=SCORES,
    monitor="val/acc",
    best_value=0.81,
    best_epoch=3,
    epochs=5,
    seconds=12.4,
    last_lr=0.1,
    hardware={},
    config={},
)


def test_shows_scores_size_time_and_the_folder(capsys: pytest.CaptureFixture) -> None:
    folder = Path("/a/very/long/path") / "/".join(["with[red]brackets"] * 8)
    trainer.print_scores(RESULT, folder, of_best=True)
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines()[1:4]] == [
        ["train", "0.2500", "0.9000"],
        ["val", "0.5000", "0.8100"],
        ["test", "0.6000", "0.8000"],
    ]
    assert "best epoch 3 of 5, 1,710,346 parameters, 12 s of training" in out
    assert f"run folder: {folder}\n" in out
    assert "never measured" not in out


def test_the_last_epoch_is_not_called_the_best(capsys: pytest.CaptureFixture) -> None:
    trainer.print_scores(replace(RESULT, best_epoch=5), Path("/run"), of_best=False)
    out = capsys.readouterr().out
    assert "scored epoch 5 of 5, " in out
    assert "best epoch" not in out


def test_without_a_validation_no_epoch_is_the_best(capsys: pytest.CaptureFixture) -> None:
    trainer.print_scores(
        replace(RESULT, monitor="val/f1", best_value=None, scores=SCORES | dict.fromkeys(F1, 0.1)),
        Path("/run"),
        of_best=False,
    )
    assert "val/f1 was never measured, so no epoch is the best one" in capsys.readouterr().out


def test_leaves_out_what_was_not_scored(capsys: pytest.CaptureFixture) -> None:
    scores = {key: value for key, value in SCORES.items() if not key.startswith("test/")}
    trainer.print_scores(replace(RESULT, scores=scores), Path("/run"), of_best=True)
    assert "test" not in capsys.readouterr().out


def test_has_a_column_for_the_monitored_metric(capsys: pytest.CaptureFixture) -> None:
    scores = SCORES | dict(zip(F1, (0.7, 0.6, 0.5), strict=True))
    trainer.print_scores(replace(RESULT, monitor="val/f1", scores=scores), Path("/run"), of_best=True)
    header, _, _, test = capsys.readouterr().out.splitlines()[:4]
    assert header.split() == ["loss", "accuracy", "macro", "F1"]
    assert test.split() == ["test", "0.6000", "0.8000", "0.5000"]
