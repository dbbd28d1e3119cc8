"""The benchmarks' own parts that could measure the wrong thing."""

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from benchmarks import books, reporting
from lightsweep.core.files import ROOT
from lightsweep.reports import finding, table


def test_generated_runs_are_read_like_real_ones(tmp_path: Path) -> None:
    size = reporting.write(tmp_path, 30)
    found = finding.find_runs([tmp_path])
    assert (len(found.runs), found.broken, found.unfinished) == (30, {}, [])
    assert size == sum(file.stat().st_size for file in tmp_path.rglob("result.json"))
    (ranked,) = table.build_tables(found.runs)
    assert ranked.differing == ("model.width", "model.dropout", "optimizer.lr")


def test_a_command_that_fails_is_no_measurement() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        reporting._measured([sys.executable, "-c", "raise SystemExit(1)"])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_training_is_measured_and_compared(tmp_path: Path) -> None:
    options = f"--bf16 --images=450 --epochs=2 --repeats=1 --threads=1 --out={tmp_path / 'out.json'}".split()
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), "train", *options]
    environment = {name: value for name, value in os.environ.items() if name != "LIGHTSWEEP_DATA"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "n = 1 rounds of 2 epochs of 384 images (generated)" in " ".join(done.stdout.split())
    rates = json.loads((tmp_path / "out.json").read_text())["images_per_second"]
    fast = "plain loop, our AdamW and dropout"
    ours = {"lightsweep", fast, "lightsweep, bf16", f"{fast}, bf16"}
    assert set(rates) == {*ours, "plain loop", "template, 0 workers", "template, 2 workers"}
    assert all(len(each) == 1 and each[0] > 0 for each in rates.values())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_threads_are_measured_idle_and_beside_a_busy_program(tmp_path: Path) -> None:
    options = f"--networks=digits --neighbour=1 --repeats=1 --out={tmp_path / 'out.json'}".split()
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), "threads", *options]
    subprocess.run(command, capture_output=True, text=True, check=True)
    measured = json.loads((tmp_path / "out.json").read_text())["measured"]
    assert set(measured) == {"digits, idle", "digits, busy"}
    for found in measured.values():
        assert {name: [each["threads"] for each in every] for name, every in found.items()} == {
            "1": [1],
            "2": [2],
            "auto": [1],
        }


def test_the_books_of_a_trial_are_all_but_its_epochs_and_scoring() -> None:
    trials = []
    for number in range(4):
        trial = create_trial(value=1.0, user_attrs={"facts": {"seconds": 6.0, "score_seconds": 1.0}})
        trial.datetime_start = datetime(2026, 1, 1) + timedelta(seconds=10 * number)
        trial.datetime_complete = trial.datetime_start + timedelta(seconds=8 + number / 2)
        trials.append(trial)
    found = [tuple(each.values()) for each in books.books_of(trials)]
    assert found == [(2.0 + 1.5, 2.0, 1.5, 7.0), (2.5 + 1.0, 2.5, 1.0, 7.0)]  # all, inside, between, work


def test_earlier_trials_are_like_the_first_one(tmp_path: Path) -> None:
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    study = optuna.create_study(study_name="custom", storage=storage)
    first = study.ask({"x": optuna.distributions.FloatDistribution(0.5, 2.0)})
    first.set_user_attr("facts", {"seconds": 1.0})
    study.tell(first, 0.5)
    books.add_trials(tmp_path / "study.journal", 5)
    trials = study.get_trials()
    assert [trial.user_attrs["folder"] for trial in trials[1:]] == [f"trial-{number:04d}" for number in range(1, 6)]
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert len({trial.params["x"] for trial in trials}) == 6
    assert all(trial.user_attrs["facts"] == {"seconds": 1.0} for trial in trials)
