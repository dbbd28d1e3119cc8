"""Pictures and the classification report of a scored run, and pictures that cannot be drawn."""

import errno
import json
import logging
from pathlib import Path

import pytest
import torch
from PIL import Image

from digits_runs import trained
from lightsweep.core.errors import ConfigError
from lightsweep.reports import scored_run

PICTURES = {
    "curves",
    "confusion_test",
    "confusion_test_normalised",
    "most_wrong_test",
    "class_counts",
    "images_train",
    "images_val",
}


def test_a_run_writes_its_pictures(finished) -> None:
    files = list((finished.folder / "figures").iterdir())
    assert {file.name for file in files} == {f"{name}.png" for name in PICTURES}
    assert all(Image.open(file).size > (300, 100) for file in files)
    assert sum(file.stat().st_size for file in files) < 1_500_000


def test_the_report_agrees_with_the_result(finished) -> None:
    report = json.loads((finished.folder / "report_test.json").read_text())
    assert report["accuracy"] == pytest.approx(finished.result["test/acc"])
    assert [line["name"] for line in report["classes"]] == list("0123456789")
    assert (finished.folder / "report_test.txt").read_text().startswith("test: accuracy 0.")


def test_val_is_shown_if_test_was_not_scored(finished, tmp_path: Path) -> None:
    run = trained(tmp_path, "test=false", "callbacks=figures", "trainer.max_epochs=1", shown=True)
    for part, each in (("val", run), ("test", finished)):
        assert (each.folder / f"report_{part}.txt").exists()
        assert (each.folder / "figures" / f"confusion_{part}.png").exists()
        assert len(list(each.folder.glob("report_*.json"))) == 1


@pytest.mark.parametrize(
    ("kind", "overrides", "drawn"),
    [
        ("trial", [], False),
        ("seed", [], False),
        ("trial", ["callbacks.figures.in_trials=true"], True),
        ("confirmation", [], True),
        ("run", ["callbacks=none"], False),
    ],
)
def test_trials_draw_nothing_unless_asked(tmp_path: Path, monkeypatch, kind: str, overrides: list, drawn: bool) -> None:
    monkeypatch.setattr(scored_run, "list_pictures", lambda run, **sizes: {"curves": lambda: b"png"})
    trained(tmp_path, "trainer.max_epochs=1", "callbacks=default", *overrides, kind=kind, shown=True)
    assert (tmp_path / "figures" / "curves.png").exists() is drawn
    assert (tmp_path / "report_test.txt").exists() is drawn


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("a bug\nof ours")])
def test_a_picture_that_cannot_be_drawn_is_named_in_a_warning(
    tmp_path: Path, monkeypatch, caplog, error: Exception
) -> None:
    def fail() -> bytes:
        raise error

    monkeypatch.setattr(
        scored_run, "list_pictures", lambda run, **sizes: {"curves": fail, "class_counts": lambda: b"png"}
    )
    with caplog.at_level(logging.WARNING):
        done = trained(tmp_path, "trainer.max_epochs=1", "callbacks=figures", shown=True)
    assert done.result["status"] == "completed"
    assert [record.message for record in caplog.records if "figures/" in record.message] == [
        f"figures/curves.png is missing ({type(error).__name__}: {' '.join(str(error).split())})"
    ]
    assert [file.name for file in (done.folder / "figures").iterdir()] == ["class_counts.png"]


def test_the_result_is_written_before_anything_is_drawn(tmp_path: Path, monkeypatch) -> None:
    def interrupted(run, **sizes):
        assert json.loads((tmp_path / "result.json").read_text())["status"] == "completed"
        raise KeyboardInterrupt

    monkeypatch.setattr(scored_run, "list_pictures", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, "trainer.max_epochs=1", shown=True)
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "completed"


@pytest.mark.parametrize(
    "overrides",
    [
        ("data.normalize=feature", "data.augment.noise=0.1", "data.augment.noise_redraw=false"),
        ("data.normalize=channel", "data.limit=30", "data.val_fraction=0.4", "callbacks.figures.samples=200"),
    ],
)
def test_normalised_noisy_and_tiny_data_can_be_shown(tmp_path: Path, caplog, overrides: tuple[str, ...]) -> None:
    small = ("trainer.max_epochs=1", "data.batch_size=8", "callbacks=figures")
    trained(tmp_path, *small, *overrides, shown=True)
    assert {record.name for record in caplog.records} <= {"lightsweep.training.summary"}
    assert len(list((tmp_path / "figures").iterdir())) == len(PICTURES)


def test_a_mixed_target_names_the_classes_in_it() -> None:
    names = ("cat", "dog", "eel")
    assert scored_run._caption(torch.tensor(1), names) == "dog"
    assert scored_run._caption(torch.tensor([0.3, 0.7, 0.0]), names) == "70% dog\n30% cat"


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("callbacks.figures.samples=0", "callbacks.figures.samples must be an integer in [1, 200], got 0"),
        (
            "callbacks.figures.mistakes=many",
            "callbacks.figures.mistakes must be an integer in [1, 200], got 'many'",
        ),
        ("callbacks.figures.in_trials=1", "callbacks.figures.in_trials must be true or false, got 1"),
        ("callbacks.histograms.every=0", "callbacks.histograms.every must be an integer >= 1, got 0"),
        ("callbacks.graph.in_trials=0.5", "callbacks.graph.in_trials must be true or false, got 0.5"),
        ("report=1", "report must be true or false, got 1"),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, override: str, line: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        trained(tmp_path, "callbacks=default", override, shown=True)
    assert str(refusal.value) == line


def test_report_true_prints_the_classification_report(run, capsys) -> None:
    run("trainer.max_epochs=1", "report=true")
    assert "weighted average" in capsys.readouterr().out
