"""The last lines of a sweep."""

import shlex
from pathlib import Path

import pytest
from optuna.trial import TrialState, create_trial

from lightsweep.app.sweeping import TRAINING
from lightsweep.sweeper import view
from lightsweep.sweeper.storage import Address

COMPLETE = create_trial(value=1.0)
PRUNED = create_trial(state=TrialState.PRUNED)
FAILED = create_trial(state=TrialState.FAIL)
INTERRUPTED = create_trial(state=TrialState.FAIL, user_attrs={"interrupted": True})
RETRY = create_trial(state=TrialState.WAITING, user_attrs={"retry_of": 3})
ENQUEUED = create_trial(state=TrialState.WAITING)


def test_the_summary_counts_the_trials_and_has_the_time() -> None:
    every = [COMPLETE, COMPLETE, PRUNED, FAILED, INTERRUPTED, RETRY]
    assert view.format_summary(every, 0, 200.0) == "4 trials: 2 completed, 1 pruned, 1 failed, in 3 min"
    assert view.format_summary(every, 3, 8.0) == "4 trials: 2 completed, 1 pruned, 1 failed; 1 of them now, in 8 s"
    assert view.format_summary([COMPLETE], 0, 1.0) == "1 trial: 1 completed, 0 pruned, 0 failed, in 1 s"


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        (["sweep=mlp", "hydra.mode=MULTIRUN"], "python src/train.py sweep=mlp"),
        (["-m", "sweep=a", "model.width=choice(1,2)"], "python src/train.py -m sweep=a 'model.width=choice(1,2)'"),
        (
            ["sweep=a", "hydra.sweep.dir=/my sweeps/it's"],
            """python src/train.py sweep=a 'hydra.sweep.dir=/my sweeps/it'"'"'s'""",
        ),
        (
            ["sweep=a", "hydra.sweeper.storage=${lightsweep.storage:}"],
            "LIGHTSWEEP_STORAGE=… python src/train.py sweep=a",
        ),
    ],
)
def test_the_command_that_continues_is_the_one_that_was_typed(typed: list[str], command: str) -> None:
    assert view.repeat_command("python src/train.py", typed) == command


def test_an_interrupted_sweep_reports_how_many_trials_ended() -> None:
    trials = [COMPLETE, PRUNED, INTERRUPTED, RETRY, ENQUEUED]
    line = view.format_interrupted(trials, 9, "python src/train.py", ["sweep=quick"])
    assert line.startswith("interrupted: 2 of 9 trials have ended, 1 is to be run again; ")
    assert "python src/train.py sweep=quick" in line


def test_escape_sequences_are_escaped_in_the_last_line() -> None:
    line = view.format_interrupted([], 9, "python app.py", ["sweep=quick", "hydra.sweep.dir=\x1b[2J"])
    assert "\x1b" not in line


@pytest.mark.parametrize("name", ["quick", "two words", "it's"])
def test_the_report_command_can_be_pasted(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    parts = shlex.split(
        TRAINING.report_command(folder, view.storage_option(Address(str(folder / "study.journal"), "a")))
    )
    assert parts == ["python", "src/report.py", str(folder), "--html", str(folder / "report.html")]


def test_the_report_command_names_a_database_server() -> None:
    command = TRAINING.report_command(Path("a"), view.storage_option(Address("postgresql://host/db", "a")))
    assert command.endswith(" --storage postgresql://host/db")
    assert view.storage_option(Address("sqlite:///a/study.db", "a")) is None


@pytest.mark.parametrize("confirm", [[], ["hydra.sweeper.confirm=2"], ["++hydra.sweeper.confirm=2"]])
def test_the_command_that_confirms(confirm: list[str]) -> None:
    command = view.command_with("python src/train.py", "hydra.sweeper.confirm", 18, ["sweep=a", *confirm, "x=1"])
    assert command == "python src/train.py sweep=a x=1 hydra.sweeper.confirm=18"
