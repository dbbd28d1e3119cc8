"""Sweeps and grids on a real cluster of Ray: two nodes on this machine."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

import ray_cluster
from lightsweep.sweeper.trials import is_interrupted
from ray_cluster import Cluster
from toy_sweeps import Sweep, check_books, good_then_bad

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("TOY_EPOCHS", "8")  # a node has the environment that it was started in
    monkeypatch.setenv("TOY_SECONDS", "4")
    with ray_cluster.running() as cluster:
        yield cluster


@pytest.fixture
def start(cluster: Cluster, sweep: Sweep) -> Callable[..., subprocess.Popen]:
    """Start a sweep of toy jobs, from a folder that is not the project's."""

    def started(*overrides: str, **environment: str) -> subprocess.Popen:
        return sweep.start(*overrides, environment={**cluster.environment, **environment}, cwd=Path("/"))

    return started


def finish(process: subprocess.Popen, code: int = 0) -> str:
    out, err = process.communicate(timeout=150)
    assert process.returncode == code, out + err
    return out + err


def wait_for(sweep: Sweep, number: int) -> None:
    end = time.monotonic() + 60
    while not sweep.starts(number):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_sweep_that_is_pruned_and_loses_a_node(cluster, sweep, start):
    process = start(
        "hydra.sweeper.executor=ray",
        "hydra.sweeper.n_jobs=3",
        "hydra.sweeper.n_trials=12",
        "hydra/sweeper/sampler=random",
        "hydra/sweeper/pruner=percentile",
        "hydra.sweeper.pruner.n_startup_trials=2",
        "hydra.sweeper.pruner.n_warmup_steps=1",
        "hydra.sweeper.pruner.percentile=50",
        good_then_bad(7),
    )
    for number in range(4):
        wait_for(sweep, number)
    time.sleep(1)
    cluster.remove_second()
    finish(process)

    check_books(sweep, 12)
    trials = sweep.study().trials
    lost = [trial for trial in trials if is_interrupted(trial)]
    assert 1 <= len(lost) <= 2
    assert {trial.user_attrs["error"] for trial in lost} == {"interrupted (the node failed)"}
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    assert pruned
    assert all(0 < len(trial.intermediate_values) <= 8 for trial in pruned)
    assert all(len(t.intermediate_values) == 8 for t in trials if t.state == TrialState.COMPLETE)


def test_the_launcher_of_ray_and_its_resources(sweep, start):
    """Two trials share a CPU; a worker that is killed costs its trial, which has failed."""
    process = start(
        "hydra/launcher=ray",
        "+hydra.launcher.ray.remote.num_cpus=0.5",
        "hydra.sweeper.n_jobs=6",
        "hydra.sweeper.n_trials=6",
    )
    for number in range(6):
        wait_for(sweep, number)
    os.kill(int((sweep.folder / "trial-0002" / "starts").read_text().split()[0]), signal.SIGKILL)
    finish(process)
    check_books(sweep, 6)
    dead = sweep.study().trials[2]
    assert dead.state == TrialState.FAIL
    assert dead.user_attrs["error"].startswith("the worker died (log: ")


def test_ctrl_c_ends_the_jobs(sweep, start):
    process = start("hydra.sweeper.executor=ray", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=4")
    wait_for(sweep, 1)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    finish(process, 130)
    assert time.monotonic() - began < 20
    trials = sweep.study().trials
    assert [is_interrupted(trial) for trial in trials[:2]] == [True, True]
    finish(start("hydra.sweeper.executor=ray", "hydra.sweeper.n_jobs=3", "hydra.sweeper.n_trials=4"))
    check_books(sweep, 4)


def test_what_cannot_be_is_one_line(sweep, start):
    said = finish(start("hydra.sweeper.executor=ray", RAY_ADDRESS="127.0.0.1:9"), 1)
    assert said.strip() == "RAY_ADDRESS=127.0.0.1:9: no cluster of Ray answers ([Errno 111] Connection refused)"
    assert not sweep.folder.exists()
    said = finish(start("hydra.sweeper.executor=ray", "hydra.sweeper.ray.num_gpus=0.25", RAY_ADDRESS=""), 1)
    assert said.strip().startswith("hydra.sweeper.ray: a trial takes 1 CPUs and 0.25 GPUs, and this machine has ")
    said = finish(start("hydra/launcher=ray", "+hydra.launcher.ray.remote.num_cpus=two"), 1)
    assert said.strip() == "hydra.launcher.ray.remote.num_cpus must be >= 0, got 'two'"
    said = finish(start("hydra.sweeper.executor=ray", "hydra.sweeper.on_interrupt=leave"), 1)
    assert said.strip().startswith("hydra.sweeper.on_interrupt=leave needs hydra/launcher=submitit_slurm")
