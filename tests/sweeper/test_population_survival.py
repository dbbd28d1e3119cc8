"""Populations whose workers and sweepers are killed: nothing is lost, nothing is counted twice."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from apps.running import SWEEP, App
from lightsweep.sweeper.trials import is_interrupted
from toy_sweeps import Sweep, check_books

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SOURCES = str(Path(__file__).parents[2] / "src")
SETTINGS = (
    *("batch_function=app.train_batch", "metric=loss", "sampler=random", "pruner=none", "study_name=quick"),
    *("population=8", "max_failures=50", "n_trials=60"),
)
TYPED = (*SWEEP, "lr=interval(0,1)", "epochs=10", *(f"hydra.sweeper.{setting}" for setting in SETTINGS))


@pytest.fixture
def app(tmp_path: Path) -> App:
    environment = {"PYTHONWARNINGS": "ignore", "EPOCH_SECONDS": "0.001"}
    return App.copy("batch", "app.py", tmp_path, path=SOURCES, environment=environment)  # type: ignore[arg-type]


@pytest.fixture
def start(app: App) -> Callable[..., subprocess.Popen]:
    def started(*typed: str) -> subprocess.Popen:
        command = [app.python, app.script, *TYPED, *typed]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, cwd=app.folder, env=app._environment(), text=True, **pipes)

    return started


@pytest.fixture
def sweep(app: App) -> Sweep:
    return Sweep(app.folder / "multirun/quick")


def _worker(sweeper: int) -> int | None:
    children = Path(f"/proc/{sweeper}/task/{sweeper}/children").read_text().split()
    workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return int(workers[0]) if workers else None


def _begun(sweep: Sweep) -> int:
    return len(list(sweep.folder.glob("trial-*/starts")))


def test_killed_at_random_moments_a_population_ends_with_exactly_its_trials(app: App, start, sweep: Sweep) -> None:
    chance = random.Random(3)
    app.environment["EPOCH_SECONDS"] = "0.05"
    for number in range(10):
        before = _begun(sweep)
        process = start("hydra.sweeper.retries=10")
        while process.poll() is None and _begun(sweep) == before:
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 0.6))
        if number % 2 and process.poll() is None and (worker := _worker(process.pid)):
            os.kill(worker, signal.SIGKILL)
            time.sleep(chance.uniform(0.0, 0.6))
        process.kill()
        process.communicate()
    app.environment["EPOCH_SECONDS"] = "0.001"
    last = start("hydra.sweeper.retries=10")
    out, _ = last.communicate(timeout=200)
    assert last.returncode == 0, out
    check_books(sweep, 60, retries=10)
    killed = [trial for trial in sweep.study().trials if "SIGKILL" in str(trial.user_attrs.get("error"))]
    assert killed
    assert all(is_interrupted(trial) for trial in killed)
    assert all(trial.state == TrialState.COMPLETE for trial in sweep.study().trials if not is_interrupted(trial))


def test_a_signal_interrupts_all_members_and_a_resume_asks_for_them_again(app, start, sweep: Sweep) -> None:
    app.environment["EPOCH_SECONDS"] = "0.3"
    process = start()
    while process.poll() is None and _begun(sweep) < 8:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert "8 are to be run again" in out
    trials = sweep.study().trials
    assert all(is_interrupted(trial) for trial in trials[:8])
    app.environment["EPOCH_SECONDS"] = "0.001"
    last = start("hydra.sweeper.n_trials=12")
    out, _ = last.communicate(timeout=60)
    assert last.returncode == 0, out
    check_books(sweep, 12)


def test_a_member_that_kills_the_worker_is_found(app: App) -> None:
    """The places are halved with each death, so that the others end."""
    settings = ("n_trials=8", "population=8", "retries=3", "enqueue=[{kind:deadly,lr:0.5}]")
    said = app.run(*TYPED, "kind=choice(member,deadly)", *(f"hydra.sweeper.{setting}" for setting in settings))
    for places in ("4 places", "2 places", "1 place"):
        assert said.count(f"the worker died of SIGKILL: {places} in worker 0 from now on") == 1
    trials = [each for each in Sweep(app.folder / "multirun/quick").study().trials if not is_interrupted(each)]
    states = {(each.params["kind"], each.state) for each in trials}
    assert states == {("member", TrialState.COMPLETE), ("deadly", TrialState.FAIL)}


def test_a_batch_function_that_fails_ends_the_sweep(app: App) -> None:
    settings = ("n_trials=10", "max_failures=2")
    said = app.run(*TYPED, "kind=buggy", *(f"hydra.sweeper.{setting}" for setting in settings), code=1)
    reason = "hydra.sweeper.batch_function: app.train_batch failed (RuntimeError: the batch function has a bug)"
    assert said.splitlines()[-1].startswith(f"2 trials failed in a row, the sweep stops: trial 0: {reason}; trial")


def test_seeds_and_confirmations_are_members(app: App) -> None:
    settings = ("n_trials=4", "seed_key=seed", "seeds=[1,2]", "confirm=2")
    said = app.run(*TYPED, *(f"hydra.sweeper.{setting}" for setting in settings))
    assert "4 trials: 4 completed" in said
    starts = list((app.folder / "multirun/quick").glob("**/starts"))
    assert len(starts) == 4 * 2 + 2 * 2
    assert all(file.read_text().startswith("member ") for file in starts)
