"""Several sweepers on one real PostgreSQL: what machines with one storage do."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier, Thread

import optuna
import pytest
from optuna.trial import TrialState

import postgresql
from lightsweep.sweeper import opening
from lightsweep.sweeper.storage import Address, connect
from lightsweep.sweeper.trial_queue import TrialQueue
from lightsweep.sweeper.trials import is_interrupted
from postgresql import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


@pytest.fixture(scope="module")
def database(server: Server) -> str:
    """URL of a fresh PostgreSQL on loopback."""
    return server.url


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgresql.running() as server:
        yield server


@pytest.fixture
def fresh(database: str) -> Callable[[str], str]:
    """A database of that name in which nothing is yet; gives its URL."""

    def create(name: str) -> str:
        import psycopg  # of the extra

        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(f"create database {name}")
        return f"{database.rpartition('/')[0]}/{name}"

    return create


def test_two_sweepers_share_a_study(sweeps, database):
    arguments = (f"hydra.sweeper.storage={database}", "hydra.sweeper.n_trials=16", "hydra.sweeper.n_jobs=2")
    pair = [sweeps(name).start(*arguments, seconds=1.0) for name in ("one", "two")]
    for process in pair:
        _, errors = process.communicate(timeout=150)
        assert process.returncode == 0, errors
    study = optuna.load_study(study_name="quick", storage=database)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 16
    owners = [trial.user_attrs["lightsweep"]["owner"] for trial in study.trials]
    assert len(set(owners)) == 2
    folders = [folder.name for name in ("one", "two") for folder in sweeps(name).folder.glob("trial-*")]
    assert sorted(folders) == [f"trial-{number:04d}" for number in range(16)]


def test_a_lease_that_was_lost_is_taken_over_and_a_late_result_refused(sweeps, database):
    """A trial of a machine that is never heard of again: nobody can ask for its lock, so its lease runs out."""
    study = optuna.create_study(study_name="lost", storage=database, direction="maximize")
    storage = f"hydra.sweeper.storage={database}"
    assert sweeps("lost").run(storage, "hydra.sweeper.study_name=lost", "hydra.sweeper.n_trials=1").returncode == 0
    orphan = study.ask()
    orphan.set_user_attr("lightsweep", {"owner": "0" * 16, "host": "a machine far away", "seen": 0.0})
    done = sweeps("lost").run(storage, "hydra.sweeper.study_name=lost", "hydra.sweeper.n_trials=3")
    assert done.returncode == 0, done.stderr
    assert study.trials[orphan.number].user_attrs["interrupted"] is True
    with pytest.raises(ValueError, match=r"finished trial|already|Cannot tell"):
        study.tell(orphan, 1.0)
    assert sum(trial.state == TrialState.COMPLETE for trial in study.trials) == 3


def test_machines_that_begin_together_on_a_fresh_database(sweeps, fresh, tmp_path, monkeypatch):
    """Each has a temporary folder of its own, so that no lock of one reaches another."""
    url = fresh("together")
    arguments = (f"hydra.sweeper.storage={url}", "hydra.sweeper.n_trials=9", "hydra.sweeper.n_jobs=1")
    machines = []
    for name in ("one", "two", "three"):
        (tmp_path / f"temporary-{name}").mkdir()
        monkeypatch.setenv("TMPDIR", str(tmp_path / f"temporary-{name}"))
        machines.append(sweeps(name).start(*arguments, seconds=0.3))
    for process in machines:
        _, errors = process.communicate(timeout=150)
        assert process.returncode == 0, errors
    trials = optuna.load_study(study_name="quick", storage=url).trials
    ended_badly = {trial.number: trial.user_attrs for trial in trials if trial.state != TrialState.COMPLETE}
    assert not ended_badly  # nobody took another's trial for dead
    assert sum(trial.user_attrs.get("baseline", False) for trial in trials) == 1
    assert 9 <= len(trials) <= 11  # with as many more as were under way when the total was reached


@pytest.mark.parametrize("attempt", range(5))
def test_one_of_many_begins_the_study_and_one_confirms_it(fresh, attempt: int):
    url = fresh(f"race{attempt}")
    together = Barrier(4)
    queues, confirms, errors = [], [], []

    def machine() -> None:
        try:
            together.wait()
            storage = connect.__wrapped__(url)  # a connection of its own
            study = optuna.create_study(study_name="study", storage=storage, load_if_exists=True)
            with opening._opening_lease(study):
                if not study.user_attrs.get("begun"):
                    study.enqueue_trial({"x": 1})
                    study.set_user_attr("begun", True)
            queue = TrialQueue(study, Address(url, "study"), n_trials=1, retries=0)
            queues.append(queue)
            together.wait()
            confirms.append(queue.may_confirm())
        except Exception as error:
            together.abort()
            errors.append(error)

    threads = [Thread(target=machine, daemon=True) for _ in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not errors
    assert sorted(confirms) == [False, False, False, True]
    assert len(queues[0].trials()) == 1
    for queue in queues:
        queue.close()


def _until(path: Path) -> None:
    while not path.exists():
        time.sleep(0.05)


def test_a_server_that_is_restarted_costs_no_trial(sweep, server, fresh):
    url = fresh("restarted")
    arguments = (f"hydra.sweeper.storage={url}", "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=2")
    process = sweep.start(*arguments, seconds=1.0)
    _until(sweep.folder / "trial-0001" / "starts")
    server.stop()
    time.sleep(10.0)
    server.start()
    _, errors = process.communicate(timeout=150)
    assert process.returncode == 0, errors
    (line,) = errors.splitlines()
    assert line.startswith("waiting for hydra.sweeper.storage: postgresql://")
    assert line.endswith("at most 300 s")
    trials = optuna.load_study(study_name="quick", storage=url).trials
    assert [trial.state for trial in trials if not is_interrupted(trial)] == [TrialState.COMPLETE] * 6
    assert not [trial for trial in trials if is_interrupted(trial) and "lightsweep" in trial.user_attrs]


def test_a_server_that_stays_away_is_one_line_and_the_same_command_goes_on(sweep, server, fresh, tmp_path, monkeypatch):
    url = fresh("away")
    source = Path(__file__).parents[2] / "src"
    (tmp_path / "sitecustomize.py").write_text(
        # Longer than two of the longest pauses between tries: it must say that it waits.
        f"import sys\nsys.path.insert(0, {str(source)!r})\n"
        "from lightsweep.sweeper import storage\nstorage.RETRY_SECONDS = 12.0\n"
    )
    arguments = (f"hydra.sweeper.storage={url}", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2")
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
        process = sweep.start(*arguments, seconds=1.0)
        _until(sweep.folder / "trial-0001" / "starts")
        server.stop()
        _, errors = process.communicate(timeout=150)
    server.start()
    assert process.returncode == 1
    waits, line = errors.splitlines()
    assert waits.startswith("waiting for hydra.sweeper.storage: postgresql://")
    assert "could not be used for 12 s" in line
    assert line.endswith("the same command continues")
    done = sweep.run(*arguments)
    assert done.returncode == 0, done.stderr
    trials = optuna.load_study(study_name="quick", storage=url).trials
    assert [trial.state for trial in trials if not is_interrupted(trial)] == [TrialState.COMPLETE] * 4
