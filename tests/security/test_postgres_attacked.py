"""A study from somebody else on a real PostgreSQL, and the password of its address."""

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

import postgresql

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SCRIPT = Path(__file__).resolve().parents[2] / "src" / "train.py"
SMALL = ("sweep=quick", "~model.width", "data.limit=200", "trainer=cpu", "trainer.max_epochs=1", "callbacks=none")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The server asks for no password, whatever the address holds."""
    with postgresql.running() as server:
        yield server.url.replace("sweeper@", "sweeper:hunter2@")


class Touches:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def train(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    command = [sys.executable, str(SCRIPT), *SMALL, "logger=none", f"hydra.sweep.dir={folder}", *arguments]
    own = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, env=own, capture_output=True, text=True, check=False, timeout=200)


def test_a_pickle_in_a_study_is_not_run(url: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    study = optuna.create_study(study_name="quick", storage=url, direction="maximize")
    for number in range(3):
        params = {"model.dropout": 0.1 * number, "optimizer.lr": 1e-3 * (number + 1), "optimizer.weight_decay": 1e-3}
        bounds = {
            "model.dropout": (0.0, 0.5, False),
            "optimizer.lr": (1e-4, 0.1, True),
            "optimizer.weight_decay": (1e-5, 0.1, True),
        }
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                params=params,
                distributions={
                    name: FloatDistribution(low, high, log=log) for name, (low, high, log) in bounds.items()
                },
                value=0.5,
                system_attrs={"cma:optimizer:0": pickle.dumps(Touches(marker)).hex()},
            )
        )
    done = train(tmp_path / "study", "hydra/sweeper/sampler=cmaes", "hydra.sweeper.n_trials=5", LIGHTSWEEP_STORAGE=url)
    assert done.returncode == 1
    assert "cannot continue this study" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not marker.exists()


@pytest.mark.parametrize("typed", [True, False])
def test_the_password_is_in_no_file_and_no_message(url: str, tmp_path: Path, typed: bool) -> None:
    name = f"hydra.sweeper.study_name=secret-{typed}"
    given = ((f"hydra.sweeper.storage={url}",), {}) if typed else ((), {"LIGHTSWEEP_STORAGE": url})
    done = train(tmp_path / "study", name, "hydra.sweeper.n_trials=2", "hydra.sweeper.confirm=1", *given[0], **given[1])
    assert done.returncode == 0, done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(file.name == "hydra.yaml" for file in written)
    assert [file for file in written if b"hunter2" in file.read_bytes()] == []
    study = optuna.load_study(study_name=f"secret-{typed}", storage=url)
    assert "hunter2" not in repr([(trial.user_attrs, trial.system_attrs) for trial in study.trials])
