"""A job that is made from an earlier one is as if Hydra had composed and begun it."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core import utils as hydra_utils
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, read_write

from lightsweep.app import arguments
from lightsweep.app.sweeping import TRAINING
from lightsweep.config import allowlist, permissions
from lightsweep.runs.saved_config import ConfigFirst
from lightsweep.sweeper import job_copies
from lightsweep.sweeper.application import sweepable
from lightsweep.sweeper.job import Job, JobState, current_trial
from lightsweep.sweeper.job_copies import Jobs
from lightsweep.sweeper.job_running import JobSetup, run_job
from lightsweep.sweeper.job_scene import JobScene
from lightsweep.sweeper.references import FunctionHere

FIXED = ("sweep=mlp", "data=digits", "optimizer=sgd")
CONF = str(Path(__file__).parents[2] / "conf")


@sweepable(TRAINING)
def function(cfg: DictConfig) -> float:
    return 1.0


@pytest.fixture
def setup(tmp_path: Path) -> JobSetup:
    """A sweep of train.py."""
    arguments.register_resolvers()
    hydra_utils.setup_globals()
    hydra_utils.JobRuntime.instance().set("name", "train")
    GlobalHydra.instance().clear()
    typed = [*FIXED, f"hydra.sweep.dir={tmp_path}/sweep"]
    permissions.declare_typed(permissions.read_typed(typed))  # for the checked loader, where a test has installed it
    hydra = Hydra.create_main_hydra2("train", create_config_search_path(CONF))
    try:
        config = hydra.compose_config("train", typed, RunMode.MULTIRUN, with_log_configuration=False)
    finally:
        GlobalHydra.instance().clear()
    callbacks = Callbacks()
    callbacks.callbacks.append(ConfigFirst())
    context = HydraContext(hydra.config_loader, callbacks, list(allowlist.HYDRA))
    return JobSetup(config, context, FunctionHere(function), (), ())


def job(number: int, *overrides: str) -> Job:
    return Job("trial", (*FIXED, *overrides), f"trial-{number:04d}", number)


def described(scene: JobScene) -> dict[str, Any]:
    """All that a job's function can see, and its files."""
    with scene.entered():
        resolved = OmegaConf.to_container(scene.cfg, resolve=True)
        assert current_trial() is scene.trial
    files = {
        str(file.relative_to(scene.folder)): file.read_text() for file in scene.folder.rglob("*") if file.is_file()
    }
    files[".hydra/hydra.yaml"] = OmegaConf.to_container(OmegaConf.create(files[".hydra/hydra.yaml"]))  # lines may break
    seen: Any = OmegaConf.to_container(scene.hydra, resolve=False)
    whole: Any = OmegaConf.to_container(scene.config, resolve=False, enum_to_str=True)
    return {"resolved": resolved, "files": files, "hydra": seen["hydra"], "whole": whole, "flags": _flags(scene)}


def _flags(scene: JobScene) -> list[Any]:
    nodes = (scene.cfg, scene.config, scene.config.hydra, scene.cfg.model)
    return [(OmegaConf.is_struct(node), OmegaConf.is_readonly(node)) for node in nodes]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("optimizer.lr=0.1", "model.width=32"), ("optimizer.lr=1e-3", "model.width=64")),
        (("model.dropout=0.1", "init_from=null"), ("model.dropout=0", "init_from='a b'")),
        (("optimizer=adamw", "model.bn=true", "seed=1"), ("optimizer=adamw", "model.bn=false", "seed=2")),
        (("model={width: 8}", "+name=one"), ("model={width: 8}", "+name=two")),
    ],
    ids=["numbers", "others", "beside a group", "beside a mapping"],
)
def test_a_copy_is_as_if_it_had_been_composed(
    setup: JobSetup, monkeypatch: pytest.MonkeyPatch, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    composed = described(Jobs(setup, function).begin(job(2, *second)))
    for file in sorted((setup.folder / "trial-0002").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    jobs = Jobs(setup, function)
    jobs.begin(job(1, *first))
    monkeypatch.setattr(job_copies, "compose", None)
    assert described(jobs.begin(job(2, *second))) == composed


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("optimizer=sgd",), ("optimizer=adam",)),
        (("model.hidden=[8,4]",), ("model.hidden=[4,8]",)),
        (("seed=1", "seed=2"), ("seed=3", "seed=4")),
        (("model.width=8", "model={width: 9}"), ("model.width=7", "model={width: 9}")),
        (("name=x",), ("name=${seed}",)),
    ],
    ids=["groups", "lists", "twice", "what a mapping overwrites", "interpolations"],
)
def test_what_is_no_plain_value_is_composed_anew(
    setup: JobSetup, monkeypatch: pytest.MonkeyPatch, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    jobs, composed = Jobs(setup, function), []
    compose = job_copies.compose
    monkeypatch.setattr(job_copies, "compose", lambda *given: composed.append(given) or compose(*given))
    jobs.begin(job(1, *first))
    jobs.begin(job(2, *second))
    assert len(composed) == 2


def test_each_job_has_its_own_log_and_directory(setup: JobSetup) -> None:
    jobs = Jobs(setup, function)
    scenes = [jobs.begin(job(number, f"seed={number}")) for number in range(3)]
    outside = logging.getLogger().handlers[:]
    for scene in (*scenes, *scenes):
        with scene.entered():
            logging.getLogger("any").warning("seed %d", scene.cfg.seed)
    for number, scene in enumerate(scenes):
        scene.end(None)
        assert (scene.folder / "train.log").read_text().count(f"seed {number}") == 2
        assert "seed" not in (scene.folder / "train.log").read_text().replace(f"seed {number}", "")
    assert logging.getLogger().handlers == outside


@pytest.mark.parametrize("node", [{"env_set": {"RUN_SEED": "${seed}"}}, {"env_set": {"RUN": "${hydra.job.num}"}}])
def test_what_hydra_makes_of_a_jobs_values_is_not_copied(
    setup: JobSetup, monkeypatch: pytest.MonkeyPatch, node: dict[str, Any]
) -> None:
    jobs, compose = Jobs(setup, function), job_copies.compose

    def with_environment(*given: Any) -> DictConfig:
        config = compose(*given)
        with read_write(config.hydra):
            config.hydra.job.env_set = node["env_set"]
        return config

    monkeypatch.setattr(job_copies, "compose", with_environment)
    wanted = {"${seed}": ["5", "6"], "${hydra.job.num}": ["1", "2"]}[next(iter(node["env_set"].values()))]
    for number, value in enumerate(wanted, start=1):
        with jobs.begin(job(number, f"seed={number + 4}")).entered():
            assert os.environ[next(iter(node["env_set"]))] == value


def test_what_the_app_lets_hydra_call_holds_inside_a_job(setup: JobSetup) -> None:
    scene = Jobs(setup, function).begin(job(1, "seed=1"))
    with scene.entered(), pytest.raises(Exception, match=r"os\.getcwd"):
        instantiate({"_target_": "os.getcwd"})


def test_a_folder_that_is_gone_costs_its_own_job_only(setup: JobSetup) -> None:
    scene = Jobs(setup, function).begin(job(1, "seed=1"))
    scene.directory = scene.folder / "gone"
    with scene.entered():
        assert current_trial() is scene.trial


def test_a_worker_runs_a_job_as_hydra_does(setup: JobSetup) -> None:
    def files() -> dict[str, str]:
        return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}

    second, folder, jobs = job(2, "optimizer.lr=1e-3", "seed=3"), setup.folder / "trial-0002", Jobs(setup, function)
    plain, left = run_job(setup, second), files()
    folder.rename(setup.folder / "aside")
    jobs.run(job(1, "optimizer.lr=0.1", "seed=2"))
    assert jobs.run(second) == plain
    assert files().keys() == left.keys()
    assert files()["repeat.yaml"] == left["repeat.yaml"]
    wrong = job(3, "model.width=1", "nothing=1")
    assert jobs.run(wrong) == run_job(setup, wrong)
    assert jobs.run(wrong).state == JobState.FAILED


def test_a_log_of_its_own_is_not_copied(setup: JobSetup) -> None:
    jobs, node = Jobs(setup, function), "+hydra.job_logging.loggers.mine={handlers: [file], propagate: false}"
    for number in (1, 2):
        scene = jobs.begin(job(number, f"seed={number}", node))
        with scene.entered():
            logging.getLogger("mine").warning("seed %d", number)
        scene.end(None)
        assert f"seed {number}" in (scene.folder / "train.log").read_text()
    logging.getLogger("mine").handlers.clear()
