"""The MariaDB that tests start for themselves does what they rely on."""

import subprocess
import sys
from collections.abc import Iterator

import optuna
import pytest
from optuna.trial import TrialState

import mariadb
from mariadb import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

_WORKER = """
import sys, optuna
study = optuna.load_study(study_name="many", storage=sys.argv[1])
for _ in range(10):
    trial = study.ask()
    study.tell(trial, trial.suggest_float("x", 0, 1))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with mariadb.running() as server:
        yield server


def test_what_is_committed_outlives_a_crash(server: Server) -> None:
    optuna.create_study(study_name="crash", storage=server.url).optimize(lambda _: 0.5, n_trials=3)
    server.stop()
    server.start()
    assert len(optuna.load_study(study_name="crash", storage=server.url).trials) == 3


def test_processes_share_a_study(server: Server) -> None:
    study = optuna.create_study(study_name="many", storage=server.url)
    workers = [subprocess.Popen([sys.executable, "-c", _WORKER, server.url]) for _ in range(4)]
    assert [worker.wait(60) for worker in workers] == [0] * 4
    assert sorted(trial.number for trial in study.trials) == list(range(40))
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
