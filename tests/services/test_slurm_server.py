"""The Slurm that tests start for themselves does what they rely on."""

from collections.abc import Iterator

import pytest

import slurm
from slurm import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with slurm.running() as cluster:
        yield cluster


def _submit(cluster: Cluster, script: str, *options: str) -> str:
    return cluster.call("sbatch", "--parsable", "--output=/dev/null", *options, f"--wrap={script}").strip()


def test_states_of_jobs_and_of_tasks_are_known_after_their_end(cluster: Cluster) -> None:
    good, bad = _submit(cluster, "true"), _submit(cluster, "exit 3")
    array = _submit(cluster, "exit $SLURM_ARRAY_TASK_ID", "--array=0-1")
    pending = _submit(cluster, "true", "--hold")
    cluster.cancel(pending)
    assert cluster.wait(good, "COMPLETED", "FAILED") == "COMPLETED"
    assert cluster.wait(bad, "COMPLETED", "FAILED") == "FAILED"
    assert cluster.wait(f"{array}_0", "COMPLETED", "FAILED") == "COMPLETED"
    assert cluster.wait(f"{array}_1", "COMPLETED", "FAILED") == "FAILED"
    assert cluster.jobs()[pending] == "CANCELLED"


def test_more_jobs_run_at_once_than_the_machine_has_cores(cluster: Cluster) -> None:
    jobs = [_submit(cluster, "sleep 60") for _ in range(slurm.CPUS)]
    for job in jobs:
        cluster.wait(job, "RUNNING")
    assert set(jobs) <= {job for job, state in cluster.jobs().items() if state == "RUNNING"}
    for job in jobs:
        cluster.cancel(job)
    for job in jobs:
        cluster.wait(job, "CANCELLED")


def test_a_job_may_be_preempted(cluster: Cluster) -> None:
    low = _submit(cluster, "sleep 60", "--partition=low", f"--cpus-per-task={slurm.CPUS}")
    cluster.wait(low, "RUNNING")
    high = _submit(cluster, "true", "--partition=high")
    assert cluster.wait(high, "COMPLETED", "FAILED") == "COMPLETED"
    assert cluster.jobs()[low] in ("PENDING", "COMPLETING")  # requeued
    cluster.cancel(low)
    cluster.wait(low, "CANCELLED")


def test_a_node_fails_and_comes_back(cluster: Cluster) -> None:
    lost, again = _submit(cluster, "sleep 60", "--no-requeue"), _submit(cluster, "sleep 60", "--requeue")
    for job in (lost, again):
        cluster.wait(job, "RUNNING")
    cluster.fail_node()
    cluster.wait(lost, "NODE_FAIL")
    cluster.wait(again, "PENDING")
    cluster.restore_node()
    later = _submit(cluster, "true")
    cluster.wait(later, "COMPLETED")
    cluster.cancel(again)


def test_two_do_not_disturb_each_other_and_leave_nothing_behind(cluster: Cluster) -> None:
    with slurm.running() as other:
        folder = other.log.parent
        job = _submit(other, "trap '' TERM; sleep 60 & wait; sleep 60", "--job-name=stubborn")
        other.wait(job, "RUNNING")
        assert "stubborn" not in cluster.call("squeue", "--noheader", "--format=%j")
    assert not folder.exists()
    assert not slurm.processes(folder / "slurm.conf")
    cluster.wait(_submit(cluster, "true"), "COMPLETED")
