"""Which executor the keys choose."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from lightsweep.core.errors import ConfigError
from lightsweep.sweeper import executors
from lightsweep.sweeper.executors.schedulers import LocalProcesses, Scheduler, Slurm


def plan(launcher: str | None = "basic", executor: str | None = None, n_jobs: int = 1, **others: Any) -> Any:
    """As much of a plan as the choice needs. The launcher's own keys are those of `keys`."""
    choices = {} if launcher is None else {"hydra/launcher": launcher}
    config = OmegaConf.create({"hydra": {"runtime": {"choices": choices}, "launcher": others.pop("keys", {})}})
    folder = others.pop("folder", Path())
    settings = {"executor": executor, "n_jobs": n_jobs, "on_interrupt": "cancel", "storage": None, **others}
    return SimpleNamespace(config=config, folder=folder, settings=SimpleNamespace(**settings))


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({}, "workers"),
        ({"launcher": None, "n_jobs": 4}, "workers"),
        ({"n_jobs": 0}, "inline"),
        ({"executor": "ray"}, "ray"),
        ({"executor": "ray", "n_jobs": 0}, "ray"),
        ({"launcher": "ray"}, "ray"),
        ({"launcher": "ray", "executor": "ray"}, "ray"),
        ({"launcher": "submitit_slurm"}, "slurm"),
        ({"launcher": "submitit_slurm", "n_jobs": 0}, "slurm"),
        ({"launcher": "submitit_local"}, "local"),
        ({"launcher": "joblib"}, "launcher"),
        ({"launcher": "mine"}, "launcher"),
    ],
)
def test_the_keys_choose_the_executor(keys: dict[str, Any], kind: str) -> None:
    assert executors.executor_kind(plan(**keys)) == kind


@pytest.mark.parametrize("launcher", ["submitit_slurm", "submitit_local", "joblib", "ray_aws"])
def test_two_choices_that_contradict_are_refused(launcher: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        executors.executor_kind(plan(launcher, executor="ray"))
    assert str(refusal.value) == f"hydra.sweeper.executor=ray does not go with hydra/launcher={launcher}"


@pytest.mark.parametrize(
    "keys", [{}, {"n_jobs": 0}, {"executor": "ray"}, {"launcher": "ray"}, {"launcher": "joblib"}], ids=str
)
def test_jobs_that_end_with_the_sweep_cannot_be_left(keys: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="hydra.sweeper.on_interrupt=leave needs hydra/launcher=submitit_slurm"):
        executors.check_executor(plan(**keys, on_interrupt="leave"))


def test_jobs_of_a_scheduler_can_be_left(tmp_path: Path) -> None:
    config = pytest.importorskip("hydra_plugins.hydra_submitit_launcher.config", reason="needs the extra slurm")
    keys = OmegaConf.structured(config.LocalQueueConf(submitit_folder=str(tmp_path), name="toy"))
    executors.check_executor(plan("submitit_local", on_interrupt="leave", keys=keys, folder=tmp_path))


@pytest.mark.parametrize("scheduler", [Slurm, LocalProcesses])
@pytest.mark.parametrize("name", ["nodes", "tasks_per_node"])
@pytest.mark.parametrize("value", [0, 2, "2"])
def test_a_trial_trains_in_one_process(scheduler: type[Scheduler], name: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        scheduler(OmegaConf.create({name: value}), tmp_path).check()
    assert str(refusal.value) == f"hydra.launcher.{name} must be 1, a trial runs in one process, got {value!r}"
