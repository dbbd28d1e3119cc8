"""The short table that a run ends with."""

from pathlib import Path

import pytest

from lightsweep.training import display

FACTS = {
    "train/loss": 0.25,
    "train/acc": 0.9,
    "val/loss": 0.5,
    "val/acc": 0.81,
    "test/loss": 0.6,
    "test/acc": 0.8,
    "best_epoch": 3,
    "epochs": 5,
    "params": 1710346,
    "seconds": 12.4,
    "monitor": "val/acc",
    "best_value": 0.81,
}


def test_shows_scores_size_time_and_where_the_run_lies(capsys: pytest.CaptureFixture) -> None:
    folder = Path("/a/very/long/path") / "/".join(["with[red]brackets"] * 8)
    display.print_scores(FACTS, folder, of_best=True)
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
    display.print_scores({**FACTS, "best_epoch": 5}, Path("/run"), of_best=False)
    out = capsys.readouterr().out
    assert "scored epoch 5 of 5, " in out
    assert "best epoch" not in out


def test_where_nothing_was_validated_no_epoch_is_the_best(capsys: pytest.CaptureFixture) -> None:
    display.print_scores(
        {**FACTS, "monitor": "val/f1", "val/f1": 0.1, "train/f1": 0.1, "test/f1": 0.1, "best_value": None},
        Path("/run"),
        of_best=False,
    )
    assert "val/f1 was never measured, so no epoch is the best one" in capsys.readouterr().out


def test_leaves_out_what_was_not_scored(capsys: pytest.CaptureFixture) -> None:
    display.print_scores(
        {key: value for key, value in FACTS.items() if not key.startswith("test/")}, Path("/run"), of_best=True
    )
    assert "test" not in capsys.readouterr().out


def test_has_a_column_for_a_score_of_unequal_classes_that_was_watched(capsys: pytest.CaptureFixture) -> None:
    f1 = {f"{part}/f1": value for part, value in (("train", 0.7), ("val", 0.6), ("test", 0.5))}
    display.print_scores({**FACTS, **f1, "monitor": "val/f1"}, Path("/run"), of_best=True)
    header, _, _, test = capsys.readouterr().out.splitlines()[:4]
    assert header.split() == ["loss", "accuracy", "macro", "F1"]
    assert test.split() == ["test", "0.6000", "0.8000", "0.5000"]
