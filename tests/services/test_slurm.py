"""Sweeps and grids whose jobs a real Slurm runs, on one node."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

import postgresql
import slurm
from lightsweep.core.files import ROOT
from lightsweep.sweeper.trials import count_ended, is_interrupted
from slurm import Cluster
from toy_sweeps import Sweep, check_books, good_then_bad

pytestmark = pytest.mark.timeout(300)

SLURM = ("hydra/launcher=submitit_slurm", "hydra.sweeper.n_jobs=3")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with slurm.running() as cluster:
        yield cluster


@pytest.fixture
def start(cluster: Cluster, sweep: Sweep) -> Callable[..., subprocess.Popen]:
    """Start a sweep of toy jobs, from a folder that is not the project's."""

    def started(*overrides: str, **options) -> subprocess.Popen:
        environment = {**cluster.env, **options.pop("environment", {})}
        return sweep.start(*SLURM, *overrides, environment=environment, cwd=Path("/"), **options)

    return started


def finish(process: subprocess.Popen, code: int = 0) -> str:
    out, err = process.communicate(timeout=250)
    assert process.returncode == code, out + err
    return out + err


def job_of(sweep: Sweep, number: int) -> str:
    """The id of a trial's job, once it runs."""
    folder, end = sweep.folder / f"trial-{number:04d}", time.monotonic() + 60
    while not (folder / "starts").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    return json.loads((folder / "job.json").read_text())["id"]


def test_twelve_trials_with_one_cancelled_some_pruned_and_the_sweeper_killed(cluster, sweep, start):
    arguments = (
        "hydra.sweeper.n_trials=12",
        "hydra/sweeper/pruner=percentile",
        "hydra.sweeper.pruner.n_startup_trials=3",
        "hydra.sweeper.pruner.n_warmup_steps=1",
        "hydra.sweeper.pruner.percentile=50",
        "hydra/sweeper/sampler=random",
        good_then_bad(5),
    )
    options = {"seconds": 4.0, "environment": {"TOY_EPOCHS": "8"}}
    process = start(*arguments, **options)
    cluster.cancel(job_of(sweep, 1))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = set(cluster.jobs())
    assert {f"{job.partition('_')[0]}" for job in before} == {job_of(sweep, 0).partition("_")[0]}  # one array
    finish(start(*arguments, **options))

    check_books(sweep, 12)
    trials = sweep.study().trials
    assert [trial.number for trial in trials if is_interrupted(trial)] == [1]
    assert trials[1].user_attrs["error"] == "interrupted (the job was cancelled)"
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    assert pruned
    assert all(0 < len(trial.intermediate_values) <= 8 for trial in pruned)
    assert all(len(t.intermediate_values) == 8 for t in trials if t.state == TrialState.COMPLETE)
    assert sweep.starts(0) == sweep.starts(2) == 1  # their results were taken by the second sweeper
    assert len(cluster.jobs()) - len(before) == len(trials) - 3


def test_ctrl_c_cancels_what_was_submitted(cluster, sweep, start):
    process = start("hydra.sweeper.n_trials=3", seconds=30.0)
    jobs = [job_of(sweep, number) for number in range(3)]
    process.send_signal(signal.SIGINT)
    said = finish(process, 130)
    assert f"cancelled 3 jobs ({', '.join(jobs)})" in said
    assert all(cluster.wait(job, "CANCELLED", "COMPLETED", timeout=10) for job in jobs)
    trials = sweep.study().trials
    assert [is_interrupted(trial) for trial in trials[:3]] == [True] * 3
    assert [trial.state for trial in trials[3:]] == [TrialState.WAITING] * 3


def test_ctrl_c_leaves_the_jobs_where_it_is_told_to(cluster, sweep, start):
    arguments = ("hydra.sweeper.n_trials=3", "hydra.sweeper.on_interrupt=leave")
    process = start(*arguments, seconds=8.0)
    jobs = [job_of(sweep, number) for number in range(3)]
    process.send_signal(signal.SIGINT)
    assert f"left 3 jobs ({', '.join(jobs)}) to run: the same command takes the results" in finish(process, 130)
    assert {cluster.jobs()[job] for job in jobs} == {"RUNNING"}
    finish(start(*arguments, seconds=8.0))
    check_books(sweep, 3)
    assert [trial.state for trial in sweep.study().trials] == [TrialState.COMPLETE] * 3


def test_a_failed_node_is_an_interruption(cluster, sweep, start):
    arguments = ("hydra.sweeper.n_trials=2", "+hydra.launcher.additional_parameters.no_requeue=true")
    process = start(*arguments, seconds=3.0)
    job_of(sweep, 0), job_of(sweep, 1)
    cluster.fail_node()
    try:
        for job in (job_of(sweep, 0), job_of(sweep, 1)):
            cluster.wait(job, "NODE_FAIL")
    finally:
        cluster.restore_node()
    finish(process)
    check_books(sweep, 2)
    assert [t.user_attrs["error"] for t in sweep.study().trials if is_interrupted(t)] == [
        "interrupted (the node failed)"
    ] * 2


@pytest.mark.parametrize("grace", [0, 20])
def test_a_job_that_is_preempted_goes_on_when_it_is_its_turn_again(cluster, sweep, start, grace):
    """With a grace time it is asked to end first, and does: Slurm would take that for its end."""
    cluster.call("scontrol", "update", "partitionname=low", f"GraceTime={grace}")
    process = start("hydra.sweeper.n_trials=1", "hydra.launcher.partition=low", seconds=6.0)
    job = job_of(sweep, 0)
    cluster.call("sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap", "sleep 3")
    cluster.wait(job, "PENDING")
    finish(process)
    check_books(sweep, 1, starts=2)
    assert len(sweep.study().trials) == 1
    assert sweep.starts(0) == 2


def test_a_job_that_dies_has_failed_with_the_last_line_and_its_log(sweep, start):
    process = start("hydra.sweeper.n_trials=2", seconds=6.0)
    job = job_of(sweep, 0)
    os.kill(int((sweep.folder / "trial-0000" / "starts").read_text().split()[0]), signal.SIGKILL)
    finish(process)
    dead = sweep.study().trials[0]
    assert dead.state == TrialState.FAIL
    error = dead.user_attrs["error"]
    assert len(error) < 300
    log = error.rpartition("(log: ")[2].removesuffix(")")
    assert log.endswith(f"/{job}/{job}_0_log.err"), error
    assert (sweep.folder / log).is_file()
    check_books(sweep, 2)


def test_a_job_that_raises_has_failed_with_its_line(sweep, start):
    finish(start("hydra.sweeper.n_trials=2", "model.width=32", fail="32"), 1)
    for trial in sweep.study().trials:
        assert trial.user_attrs["error"].startswith("RuntimeError: width 32 is unlucky (log: .submitit/")


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("hydra.launcher.partition=nowhere", "Slurm refuses the jobs"),
        ("hydra.launcher.cpus_per_task=4000", "Slurm refuses the jobs"),
        ("hydra.launcher.nodes=2", "hydra.launcher.nodes must be 1, a trial runs in one process, got 2"),
    ],
)
def test_what_slurm_would_refuse_is_refused_before_the_study_begins(sweep, start, key, line):
    said = finish(start(key), 1)
    assert line in said
    assert len(said.strip().splitlines()) == 1, said
    assert not sweep.folder.exists()


@pytest.fixture
def train(cluster: Cluster, tmp_path: Path) -> Callable[..., subprocess.Popen]:
    """Start train.py itself, from a folder that is not the project's."""

    def started(*overrides: str) -> subprocess.Popen:
        command = [sys.executable, str(ROOT / "src" / "train.py"), *overrides, "threads=1"]
        return subprocess.Popen(
            command,
            env={**os.environ, **cluster.env},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return started


def test_the_time_limit_puts_a_run_back_and_then_ends_it(cluster, train, tmp_path):
    """A minute is the least that Slurm knows: the warning comes 50 seconds before."""
    sweep = Sweep(tmp_path / "study")
    process = train(
        "sweep=quick",
        f"hydra.sweep.dir={sweep.folder}",
        "hydra.sweeper.n_trials=1",
        "hydra.sweeper.retries=0",
        *SLURM,
        *(f"hydra.launcher.{key}" for key in ("timeout_min=1", "signal_delay_s=40", "max_num_timeout=1")),
        "trainer.max_epochs=100000",
        "callbacks=none",
        "logger=none",
    )
    finish(process, 1)
    (trial,) = sweep.study().trials
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["error"].startswith("the time limit was reached (hydra.launcher.timeout_min)")
    epochs = [line.partition(",")[0] for line in (sweep.folder / "trial-0000" / "metrics.csv").read_text().split()]
    assert epochs[1:] == [str(number) for number in range(1, len(epochs))]  # it went on, and did not begin again
    log = (sweep.folder / "trial-0000" / "train.log").read_text()
    assert "last.ckpt" in log or len(epochs) > 1


def test_a_plain_grid(train, tmp_path):
    grid = ("data=digits", "trainer.max_epochs=1", "callbacks=none", "logger=none")
    process = train(
        "-m", "hydra/launcher=submitit_slurm", *grid, "model.dropout=0.1,1.5", f"hydra.sweep.dir={tmp_path}/g"
    )
    said = finish(process, 1)
    assert "job 1: model.dropout must be in [0, 1), got 1.5" in said
    assert "Traceback" not in said
    (result,) = tmp_path.glob("g/0-*/result.json")
    assert json.loads(result.read_text())["status"] == "completed"


def test_an_array_of_sweepers_over_one_database(cluster, tmp_path):
    """scripts/slurm_sweep.sh; one task of the array is cancelled."""
    sweep = Sweep(tmp_path / "study")
    with postgresql.running() as server:
        small = ("trainer.max_epochs=1", "callbacks=none", "logger=none", "threads=1")
        job = subprocess.run(
            [
                *("sbatch", "--parsable", "--array=1-3", "--cpus-per-task=2", "--gpus-per-task=0"),
                *(f"--output={tmp_path}/%a.log", str(ROOT / "scripts" / "slurm_sweep.sh"), "sweep=quick"),
                *(
                    "hydra.sweeper.n_trials=12",
                    "hydra/sweeper/sampler=random",
                    f"hydra.sweep.dir={sweep.folder}",
                    *small,
                ),
            ],
            env={**os.environ, **cluster.env, "LIGHTSWEEP_STORAGE": server.url},
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        while not (sweep.folder / "trial-0002" / "result.json").exists():
            states = {state for number, state in cluster.jobs().items() if number.startswith(f"{job}_")}
            assert "FAILED" not in states, [log.read_text() for log in tmp_path.glob("*.log")]
            time.sleep(0.2)
        cluster.cancel(f"{job}_2")
        for task in (1, 3):
            state = cluster.wait(f"{job}_{task}", "COMPLETED", "FAILED", timeout=150)
            assert state == "COMPLETED", (tmp_path / f"{task}.log").read_text()
        sweep.storage = server.url
        trials = sweep.study().trials
        assert count_ended(trials) == 12
        assert all(trial.state.is_finished() for trial in trials)
        assert len({trial.user_attrs["lightsweep"]["owner"] for trial in trials}) >= 2


def test_nodes_that_are_handed_no_environment(sweep, start):
    """Where a cluster exports nothing into its jobs, the job's script says where the program's modules are."""
    finish(start("hydra.sweeper.n_trials=2", environment={"SBATCH_EXPORT": "NONE"}))
    check_books(sweep, 2)
    assert [trial.state for trial in sweep.study().trials] == [TrialState.COMPLETE] * 2
