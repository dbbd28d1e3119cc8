"""What a job leaves of its result in its folder, in any app."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lightsweep.app.sweeping import TRAINING
from lightsweep.sweeper import job_running
from lightsweep.sweeper.application import sweepable
from lightsweep.sweeper.job import Job, current_trial
from lightsweep.sweeper.job_running import JobFunction
from lightsweep.sweeper.lightning import as_plain_run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    runtime = {"output_dir": str(tmp_path), "cwd": str(tmp_path / "start")}
    hydra = OmegaConf.create({"runtime": runtime, "overrides": {"task": ["a=1"]}})
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: hydra))
    monkeypatch.setattr(job_running, "as_plain_run", lambda *_: lambda function: function)  # for further processes
    return tmp_path


def scored(cfg: DictConfig) -> dict[str, float]:
    current_trial().record({"mine/f1": 0.25})
    return {"loss": 0.5, "acc": 0.75}


def broken(cfg: DictConfig) -> float:
    raise RuntimeError("no luck\nmore of it")


@sweepable(TRAINING)
def training(cfg: DictConfig) -> float:
    raise RuntimeError("no luck")


def left(folder: Path, function: Any, kind: str) -> dict[str, Any]:
    job = Job(kind, ("a=1",), "x", 3, objectives=("loss",))
    JobFunction(function, job)(OmegaConf.create({}))
    return {file.name: json.loads(file.read_text()) for file in folder.glob("*.json")}


def test_a_confirmations_job_leaves_its_numbers(folder: Path) -> None:
    content = left(folder, scored, "confirmation")["job_result.json"]
    assert content["status"] == "completed"
    assert content["overrides"] == ["a=1"]
    assert {name: content[name] for name in ("loss", "acc", "mine/f1")} == {"loss": 0.5, "acc": 0.75, "mine/f1": 0.25}


def test_a_trial_leaves_them_too(folder: Path) -> None:
    assert left(folder, scored, "trial")["job_result.json"]["acc"] == 0.75


def test_a_failed_job_leaves_why(folder: Path) -> None:
    content = left(folder, broken, "trial")["job_result.json"]
    assert (content["status"], content["error"]) == ("failed", "RuntimeError: no luck")


def test_the_file_is_the_applications(folder: Path) -> None:
    assert list(left(folder, training, "trial")) == ["result.json"]


def test_what_the_app_has_written_stays(folder: Path) -> None:
    (folder / "job_result.json").write_text('{"mine": 1}')
    assert left(folder, broken, "confirmation") == {"job_result.json": {"mine": 1}}


@pytest.mark.parametrize(("name", "is_explained"), [("there.csv", True), ("nowhere.csv", False)])
def test_a_file_that_lies_where_the_sweep_started_is_found_another_way(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_explained: bool
) -> None:
    (folder / "start").mkdir()
    (folder / "start/there.csv").touch()
    monkeypatch.chdir(folder)
    error = left(folder, lambda cfg: Path(name).read_text(), "trial")["job_result.json"]["error"]
    assert error.startswith("FileNotFoundError: ")
    assert ("hydra.job.chdir is true, so a trial runs in its own folder" in error) is is_explained


@pytest.mark.parametrize("started_as", [("/there/app.py", None), ("/there/pkg/app.py", "pkg.app")])
def test_in_a_job_the_program_is_the_sweepers(tmp_path: Path, monkeypatch, started_as) -> None:
    """From these Lightning makes the command of its further processes, also in a process that a launcher started."""
    node = {
        "runtime": {"output_dir": str(tmp_path)},
        "output_subdir": None,
        "run": {"dir": "x"},
        "job": {"chdir": None},
    }
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: OmegaConf.create(node)))
    main = sys.modules["__main__"]
    before = sys.argv, main.__spec__
    with as_plain_run(OmegaConf.create({"a": 1}), started_as):
        assert sys.argv == [started_as[0], f"--config-path={tmp_path}/.hydra", "--config-name=config"]
        assert (main.__spec__ and main.__spec__.name) == started_as[1]
    assert (sys.argv, main.__spec__) == before
    assert OmegaConf.load(tmp_path / ".hydra/config.yaml") == {"a": 1}
