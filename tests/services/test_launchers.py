"""Jobs of Hydra's launchers on this machine, for sweeps and plain grids."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from lightsweep.core.files import ROOT
from lightsweep.sweeper.trials import is_interrupted
from toy_sweeps import Sweep, check_books

pytestmark = pytest.mark.timeout(200)

GRID = ("data=digits", "trainer.max_epochs=1", "callbacks=none", "logger=none", "threads=1")


@pytest.fixture
def python(tmp_path: Path) -> str:
    """A Python that has the packages of this one, but where this program is not installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    (there,) = (tmp_path / "venv" / "lib").glob("*/site-packages")
    (there / "packages.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    fresh = str(tmp_path / "venv" / "bin" / "python")
    found = subprocess.run([fresh, "-c", "import lightsweep"], cwd="/", check=False, capture_output=True)
    assert found.returncode != 0
    return fresh


@pytest.mark.parametrize("launcher", ["submitit_local", "joblib", "ray"])
def test_a_plain_grid_of_a_program_that_is_not_installed(python, tmp_path, launcher):
    command = [python, str(ROOT / "src" / "train.py"), "-m", f"hydra/launcher={launcher}", *GRID]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    done = subprocess.run(
        [*command, "model.dropout=0.1,1.5", f"hydra.sweep.dir={tmp_path}/grid"],
        cwd=tmp_path,
        env={**environment, "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 1
    assert "job 1: model.dropout must be in [0, 1), got 1.5" in done.stderr
    assert "Traceback" not in done.stderr
    (result,) = tmp_path.glob("grid/0-*/result.json")
    assert json.loads(result.read_text())["status"] == "completed"


@pytest.mark.parametrize("launcher", ["submitit_local", "joblib"])
def test_a_sweep_of_a_program_that_is_not_installed(python, sweep: Sweep, launcher):
    done = sweep.run(
        f"hydra/launcher={launcher}",
        "hydra.sweeper.n_trials=6",
        "hydra.sweeper.n_jobs=2",
        "hydra.sweeper.max_failures=6",  # should the sampler draw nothing else
        "hydra/sweeper/sampler=random",
        fail="32",
        cwd=Path("/"),
        python=python,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    check_books(sweep, 6)
    failed = [trial for trial in sweep.study().trials if trial.state == TrialState.FAIL]
    assert all(str(trial.user_attrs["error"]).startswith("RuntimeError: width 32 is unlucky") for trial in failed)
    assert "HYDRA" not in done.stdout  # the launcher's own lines about each job


def test_joblib_runs_every_job_in_a_process_of_its_own(sweep: Sweep):
    """One job at a time it would run in the sweeper's own process, in threads that share Hydra's state."""
    done = sweep.run(
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=1",
        "hydra.launcher.prefer=threads",
        "hydra.sweeper.n_trials=6",
        "hydra.sweeper.n_jobs=3",
        seconds=0.5,
    )
    assert done.returncode == 0, done.stderr
    check_books(sweep, 6)
    assert [trial.state for trial in sweep.study().trials] == [TrialState.COMPLETE] * 6


def test_nothing_comes_from_the_working_directory(tmp_path: Path, sweep: Sweep):
    """Of somebody else's folder: what submitit and joblib start would look there first."""
    for name in ("submitit", "joblib", "multiprocessing", "torch", "optuna"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')")
    for launcher in ("submitit_local", "joblib", "ray", "basic"):
        arguments = (f"hydra/launcher={launcher}", "hydra.sweeper.n_trials=1")
        done = Sweep(tmp_path / launcher).run(*arguments, cwd=tmp_path, environment={"RAY_ADDRESS": ""})
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "marker").exists()


def test_seeds_and_a_confirmation_through_submitit_whose_sweeper_is_killed(sweep: Sweep):
    arguments = (
        "hydra/launcher=submitit_local",
        "hydra.sweeper.n_trials=3",
        "hydra.sweeper.n_jobs=3",
        "hydra.sweeper.seeds=[1,2]",
        "hydra.sweeper.confirm=2",
        "hydra.sweeper.enqueue=[{model.dropout:0.3,optimizer.lr:0.003}]",  # the toy's best: the baseline is not
    )
    for wanted in ("trial-0001/seed-2", "confirm/baseline-seed-101"):  # each time it is killed later
        process = sweep.start(*arguments, seconds=2.0)
        while not (sweep.folder / wanted / "starts").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.kill()
        process.communicate()
    done = sweep.run(*arguments, seconds=2.0)
    assert done.returncode == 0, done.stderr
    trials = sweep.study().trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    for job in (*sweep.folder.glob("trial-*/seed-*"), *sweep.folder.glob("confirm/*")):
        assert len((job / "starts").read_text().splitlines()) == 1, job
    assert len(list(sweep.folder.glob("confirm/*"))) == 4


def test_a_link_in_a_trial_that_is_taken_over_leads_nowhere(sweep: Sweep, tmp_path: Path):
    """The trial's folder may be somebody else's by then."""
    arguments = ("hydra/launcher=submitit_local", "hydra.sweeper.n_trials=1", "hydra.sweeper.seeds=[1,2]")
    process = sweep.start(*arguments, seconds=1.0)
    while not (sweep.folder / "trial-0000" / "seed-1" / "starts").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.kill()
    process.communicate()
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "result.json").write_text("mine")
    (sweep.folder / "trial-0000" / "seed-2").symlink_to(victim)
    done = sweep.run(*arguments)
    assert done.returncode == 1
    assert "is a symbolic link that leads out of" in done.stderr
    assert {file.name: file.read_text() for file in victim.iterdir()} == {"result.json": "mine"}


def test_ctrl_c_through_joblib_ends_at_once(sweep: Sweep):
    process = sweep.start("hydra/launcher=joblib", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=2", seconds=60.0)
    while not (sweep.starts(0) and sweep.starts(1)):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert time.monotonic() - began < 15
    assert [is_interrupted(trial) for trial in sweep.study().trials[:2]] == [True, True]
