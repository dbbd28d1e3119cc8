"""A sweep on a system such as macOS, where no process can ask for the cores that it may use."""

import os
from pathlib import Path

import pytest

from toy_sweeps import check_books

ABSENT = """
import os, pathlib
del os.sched_getaffinity
pathlib.Path(__file__).with_name(f"{os.getpid()}.absent").touch()
"""


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_sweep_runs_without_sched_getaffinity(sweep, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(ABSENT)
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    done = sweep.run("hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=2", environment={"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    check_books(sweep, 3)
    assert len(list(folder.glob("*.absent"))) >= 3  # the sweeper and both workers
