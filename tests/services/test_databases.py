"""Several sweepers on one database server: PostgreSQL and MariaDB."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import mariadb
import postgresql
from toy_sweeps import Sweep, check_books

pytestmark = pytest.mark.timeout(200)


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[postgresql.Server | mariadb.Server]:
    with {"postgresql": postgresql, "mariadb": mariadb}[request.param].running() as server:
        yield server


def test_three_sweepers_begin_together_and_one_is_killed(server, tmp_path: Path) -> None:
    """The tables are made by whoever comes first; the server goes away for a moment."""
    sweep = Sweep(tmp_path / "study", storage=server.url)
    arguments = ("hydra.sweeper.n_trials=24", "hydra.sweeper.n_jobs=2")
    sweepers = [sweep.start(*arguments, seconds=2.0) for _ in range(3)]
    while sum(sweep.starts(number) for number in range(8)) < 8:
        assert all(each.poll() is None for each in sweepers), [each.communicate() for each in sweepers]
        time.sleep(0.1)
    sweepers[0].kill()
    server.stop()
    time.sleep(2)
    server.start()
    for process in sweepers:
        _, err = process.communicate(timeout=150)
        assert process.returncode == (-9 if process is sweepers[0] else 0), err
    check_books(sweep, 24)
    owners = {trial.user_attrs["lightsweep"]["owner"] for trial in sweep.study().trials}
    assert len(owners) == 3


def test_a_server_that_is_not_there_is_one_line(server, tmp_path: Path) -> None:
    url = server.url.replace("@127.0.0.1:", ":hidden@127.0.0.1:1")  # no such port
    done = Sweep(tmp_path / "study", storage=url).run()
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("hydra.sweeper.storage: ")
    assert "hidden" not in line
    assert len(line) < 500
