"""A sweep that is killed, again and again: nothing is lost, nothing is counted twice, nothing is overwritten."""

import os
import random
import signal
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from lightsweep.sweeper.trials import is_interrupted
from toy_sweeps import check_books

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def _workers(parent: int) -> list[int]:
    """Process numbers of a sweeper's workers (its children but multiprocessing's resource tracker)."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in _command(pid)]


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _stop(pid: int) -> None:
    """Stop a process. A signal that comes before it has stopped would still reach it."""
    os.kill(pid, signal.SIGSTOP)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)


def _begun(sweep) -> int:
    """How many trials have begun."""
    return len(list(sweep.folder.glob("trial-*/starts")))


def test_killed_at_random_moments_ends_with_exactly_its_trials(sweep):
    chance = random.Random(7)
    arguments = ("hydra.sweeper.n_trials=40", "hydra.sweeper.n_jobs=2", "hydra.sweeper.max_failures=20")
    sweeper_kills = worker_kills = 0
    while sweeper_kills < 10 or worker_kills < 5:
        process, before = sweep.start(*arguments, seconds=0.4), _begun(sweep)
        time.sleep(chance.uniform(1.0, 5.0))
        while worker_kills < 5 and process.poll() is None and _begun(sweep) == before:
            time.sleep(0.05)  # a worker that dies while it starts costs no trial
        for pid in _workers(process.pid)[:1] if worker_kills < 5 and process.poll() is None else []:
            os.kill(pid, signal.SIGKILL)
            worker_kills += 1
            time.sleep(chance.uniform(0.2, 0.6))
        process.kill()
        process.communicate()
        sweeper_kills += 1
    done = sweep.run(*arguments, seconds=0.01)
    assert done.returncode == 0, done.stderr
    check_books(sweep, 40)
    killed = [trial for trial in sweep.study().trials if "SIGKILL" in str(trial.user_attrs.get("error"))]
    assert killed
    assert all(trial.state == TrialState.FAIL and not is_interrupted(trial) for trial in killed)


def test_journal_cut_in_mid_line_is_repaired(sweep):
    assert sweep.run("hydra.sweeper.n_trials=3").returncode == 0
    journal = sweep.folder / "study.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole[: whole.rstrip(b"\n").rfind(b"\n") + 20])  # the last line is torn: a trial's end is lost
    done = sweep.run("hydra.sweeper.n_trials=5")
    assert done.returncode == 0, done.stderr
    check_books(sweep, 5)


def test_two_hundred_trials_on_four_workers(sweep):
    done = sweep.run("hydra.sweeper.n_trials=200", "hydra.sweeper.n_jobs=4", "hydra/sweeper/sampler=random")
    assert done.returncode == 0, done.stderr
    check_books(sweep, 200)
    assert all(trial.state == TrialState.COMPLETE for trial in sweep.study().trials)
    assert len(sweep.study().trials) == 200


def test_two_sweepers_on_one_journal_share_the_total(sweep):
    arguments = ("hydra.sweeper.n_trials=30", "hydra.sweeper.n_jobs=2")
    pair = [sweep.start(*arguments, seconds=1.0) for _ in range(2)]
    for process in pair:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
    check_books(sweep, 30)
    owners = {trial.user_attrs["lightsweep"]["owner"] for trial in sweep.study().trials}
    assert len(owners) == 2


def test_a_worker_that_dies_costs_its_trial_and_counts(sweep):
    process = sweep.start("hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=1", seconds=1.0)
    while not (sweep.folder / "trial-0001" / "starts").exists():
        time.sleep(0.05)
    os.kill(_workers(process.pid)[0], signal.SIGKILL)
    _out, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    dead = sweep.study().trials[1]
    assert dead.state == TrialState.FAIL
    assert dead.user_attrs["error"] == "the worker died of SIGKILL"
    check_books(sweep, 6)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_marks_running_trials_and_a_resume_asks_for_them_again(sweep, signum):
    arguments = ("hydra.sweeper.n_trials=5", "hydra.sweeper.n_jobs=2")
    process = sweep.start(*arguments, seconds=30.0)  # one worker may be ready long before the other
    while not (sweep.folder / "trial-0001" / "starts").exists():
        time.sleep(0.05)
    process.send_signal(signum)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signum
    trials = sweep.study().trials
    assert {trial.state for trial in trials[:2]} == {TrialState.FAIL}
    assert all(is_interrupted(trial) for trial in trials[:2])
    assert {row["state"] for row in sweep.leaderboard()} == {"interrupted", "waiting"}
    done = sweep.run(*arguments)
    assert done.returncode == 0, done.stderr
    check_books(sweep, 5)


def test_retries_are_spent_in_the_end(sweep):
    arguments = ("hydra.sweeper.n_trials=2", "hydra.sweeper.retries=1")
    for number in range(2):
        process = sweep.start(*arguments, seconds=30.0)
        while not (sweep.folder / f"trial-{number:04d}" / "starts").exists():
            time.sleep(0.05)
        process.kill()
        process.communicate()
    assert sweep.run(*arguments).returncode == 0
    trials = sweep.study().trials
    assert is_interrupted(trials[0])
    assert trials[1].state == TrialState.FAIL
    assert trials[1].user_attrs["error"] == "interrupted 2 times"
    check_books(sweep, 2, retries=1)


def test_a_larger_total_adds_the_difference(sweep):
    assert sweep.run("hydra.sweeper.n_trials=3").returncode == 0
    again = sweep.run("hydra.sweeper.n_trials=3")
    assert again.returncode == 0
    assert len(sweep.study().trials) == 3
    assert sweep.run("hydra.sweeper.n_trials=5").returncode == 0
    check_books(sweep, 5)


def test_sqlite_keeps_the_same_books(sweep, tmp_path):
    storage = f"hydra.sweeper.storage=sqlite:///{tmp_path}/study.db"
    done = sweep.run(storage, "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=2")
    assert done.returncode == 0, done.stderr
    study = optuna.load_study(study_name="quick", storage=f"sqlite:///{tmp_path}/study.db")
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 6


def test_a_second_signal_ends_the_sweep_at_once(sweep):
    process = sweep.start("hydra.sweeper.n_trials=2", seconds=60.0)
    while not (sweep.folder / "trial-0000" / "starts").exists():
        time.sleep(0.05)
    worker = _workers(process.pid)[0]
    _stop(worker)  # it cannot end in order
    process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert is_interrupted(sweep.study().trials[0])


def test_a_stopped_worker_does_not_hold_up_one_signal(sweep, tmp_path, monkeypatch):
    """It hears no signal but SIGKILL, which comes after a while; its trial is asked for again."""
    source = Path(__file__).parents[2] / "src"
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nsys.path.insert(0, {str(source)!r})\n"
        "import functools\n"
        "from lightsweep.sweeper import session\n"
        "session.Limits = functools.partial(session.Limits, grace=2.0)\n"
    )
    arguments = ("hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = sweep.start(*arguments, seconds=30.0)
    while not (sweep.folder / "trial-0000" / "starts").exists():
        time.sleep(0.05)
    _stop(_workers(process.pid)[0])
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert out.count("running jobs did not end within 2 s of the signal: killed, to be retried") == 1
    assert is_interrupted(sweep.study().trials[0])
    assert sweep.run(*arguments).returncode == 0
    check_books(sweep, 2)
