"""Files in a run's folder from somebody else: links, pipes, tables."""

import os
import shutil
from pathlib import Path

import pytest
from tensorboard.summary.writer.record_writer import RecordWriter

import evaluate
import export
import report
from saved_runs import one_line

LINKS = ("metrics.csv", "train.log", "checkpoints", "figures", "deep/below/it", ".hydra")


@pytest.mark.parametrize("name", LINKS)
def test_nothing_is_written_through_a_link(scene, foreign, launch, name: str) -> None:
    link = foreign / name
    if link.is_dir():
        shutil.rmtree(link)
    link.unlink(missing_ok=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(scene.victim if "." in name and name != ".hydra" else scene.victim.parent)
    done = launch(f"resume={foreign}", "trainer.max_epochs=2")
    assert done.code == 1
    assert "symbolic link" in done.err.strip().splitlines()[-1]
    scene.assert_untouched()


def test_links_inside_the_folder_do_no_harm(foreign, launch) -> None:
    (foreign / "newest.ckpt").symlink_to("checkpoints/last.ckpt")
    assert launch(f"resume={foreign}", "trainer.max_epochs=2").code == 0


@pytest.mark.parametrize("name", ["evaluation", "evaluation/test"])
def test_an_evaluation_is_not_written_through_a_link(scene, foreign, call, name: str) -> None:
    link = foreign / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(scene.victim.parent)
    one_line(call(evaluate.main, foreign), "symbolic link")
    scene.assert_untouched()


def test_an_export_is_not_written_through_a_link(scene, foreign, call) -> None:
    shutil.move(foreign / "checkpoints", scene.victim.parent / "ckpt")
    (foreign / "checkpoints").symlink_to(scene.victim.parent / "ckpt")
    one_line(call(export.main, foreign), "symbolic link")
    assert not list(scene.victim.parent.rglob("*.onnx"))


READ_BY_EVALUATE = ("result.json", "config.yaml", "best.yaml")


PIPES = (
    "result.json",
    "metrics.csv",
    "config.yaml",
    ".hydra/hydra.yaml",
    "confusion_val.csv",
    "best.yaml",
    "study.journal",
)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", PIPES)
@pytest.mark.parametrize("kind", ["pipe", "endless"])
def test_a_report_waits_for_no_pipe(foreign, call, tmp_path, name: str, kind: str) -> None:
    path = foreign / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    call(report.main, foreign, "--html", tmp_path / "page.html")
    if name in READ_BY_EVALUATE:
        call(evaluate.main, foreign)


@pytest.mark.timeout(20)
def test_an_evaluation_waits_for_no_pipe_that_is_a_reports(foreign, call) -> None:
    for name in set(PIPES) - set(READ_BY_EVALUATE):
        (foreign / name).parent.mkdir(exist_ok=True)
        (foreign / name).unlink(missing_ok=True)
        os.mkfifo(foreign / name)
    call(evaluate.main, foreign)


def test_a_table_leads_no_evaluation_elsewhere(scene, foreign, call, tmp_path) -> None:
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    for folder in (str(foreign), "../run", "trial-0000/../../run", "trial-0000\n"):
        (sweep / "leaderboard.csv").write_text(f'rank,trial,folder\n1,0,"{folder}"\n')
        one_line(call(evaluate.main, sweep), "is a sweep without a complete trial")
    assert not (foreign / "evaluation").exists()


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_no_cell_of_a_table_is_a_formula(name: str) -> None:
    import numpy as np

    from lightsweep.core.text import plain_text, spreadsheet_cell
    from lightsweep.runs.results import confusion_csv

    rows = confusion_csv(np.eye(2, dtype=int), (name, "cat")).splitlines()
    assert all(not cell.strip('"').startswith(("=", "+", "-", "@", "\t")) for row in rows for cell in row.split(","))
    assert plain_text(spreadsheet_cell(name)) == name
    assert plain_text(spreadsheet_cell("'quoted'")) == "'quoted'"


TABLES = ["a,b\n1,2\n", "epoch,lr\nnan,2\n", "epoch,lr\n1e999,2\n", "epoch\n" + "x" * 200_000 + "\n", "\0\0\n"]


@pytest.mark.parametrize("text", TABLES, ids=range(len(TABLES)))
def test_a_table_of_metrics_that_is_none_of_ours_is_dropped(foreign, launch, text: str) -> None:
    (foreign / "metrics.csv").write_text(text)
    assert launch(f"resume={foreign}", "trainer.max_epochs=2").code == 0


def test_one_that_is_no_text_is_one_line(foreign, launch) -> None:
    (foreign / "metrics.csv").write_bytes(b"\xff\xfe\n1,2\n")
    one_line(launch(f"resume={foreign}", "trainer.max_epochs=2"), "metrics.csv is no table of metrics")


@pytest.mark.timeout(30)
def test_event_files_that_are_none_do_not_hold_up_a_run(foreign, launch) -> None:
    os.mkfifo(foreign / "events.out.tfevents.1.pipe")
    (foreign / "events.out.tfevents.2.garbage").write_bytes(b"\xff" * 100)
    with (foreign / "events.out.tfevents.3.no-event").open("wb") as file:
        RecordWriter(file).write(b"\xff\xff\xff no event")
    assert launch(f"resume={foreign}", "trainer.max_epochs=2", "logger=tensorboard").code == 0


@pytest.mark.parametrize("folder", ["trial-0000", "confirm/best-seed-101", "trial-0000/seed-1"])
def test_a_sweep_uses_no_run_that_lies_elsewhere(scene, kept: Path, call, folder: str) -> None:
    mine = scene.victim.parent / "mine"
    shutil.copytree(kept, mine)
    (mine / "result.json").write_text('{"status": "completed", "best_value": 0.5}')
    link = scene.run / folder
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(mine)
    (scene.run / "leaderboard.csv").write_text("rank,trial,folder\n1,0,trial-0000\n")
    (scene.run / "confirmation.json").write_text('{"best_trial": 0}')
    scene.before = scene._elsewhere()
    for main in (evaluate.main, export.main):
        one_line(call(main, scene.run), "symbolic link")
    scene.assert_untouched()
