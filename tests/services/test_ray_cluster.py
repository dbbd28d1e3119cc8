"""The tests' own Ray cluster: a driver finds it by its address, its second node can be lost, and it leaves nothing."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ray_cluster

DRIVER = f"""
import sys, time
import ray

ray.init(log_to_driver=False, logging_level="ERROR")

@ray.remote(max_retries=0)
def place():
    return ray.get_runtime_context().get_node_id()

@ray.remote(max_retries=0, resources={{"{ray_cluster.SECOND}": 1}})
def endless(path):
    open(path, "w").close()
    while True:
        time.sleep(0.1)

second = ray.get(place.options(resources={{"{ray_cluster.SECOND}": 1}}).remote(), timeout=60)
print("nodes", len(ray.nodes()), "driver elsewhere", second != ray.get_runtime_context().get_node_id(), flush=True)
try:
    ray.get(endless.remote(sys.argv[1]), timeout=60)
except ray.exceptions.NodeDiedError as error:
    print("lost the second node", second in str(error), flush=True)
"""


def left(address: str) -> list[str]:
    """The processes of the cluster at an address: the command lines of all nodes name the head."""
    listed = subprocess.run(["ps", "-e", "-ww", "-o", "args="], check=True, capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if f"--gcs-address={address}" in line]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_driver_uses_both_nodes_and_loses_one(tmp_path: Path) -> None:
    started = tmp_path / "started"
    with ray_cluster.running() as cluster:
        assert cluster.address.startswith("127.0.0.1:")
        assert left(cluster.address)
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(started)],
            env={**os.environ, **cluster.environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert driver.stdout is not None
            assert driver.stdout.readline() == "nodes 2 driver elsewhere True\n"
            while not started.exists():
                assert driver.poll() is None
                time.sleep(0.05)
            cluster.remove_second()
            rest, _ = driver.communicate(timeout=60)
            assert driver.returncode == 0
            assert "lost the second node True" in rest  # Ray prints there too, the end of the lost node's log
        finally:
            driver.kill()  # a driver without its cluster waits for ever
    assert not left(cluster.address)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_block_that_fails_leaves_nothing() -> None:
    addresses = []

    def fails() -> None:
        with ray_cluster.running() as cluster:
            addresses.append(cluster.address)
            raise KeyError("in the block")

    with pytest.raises(KeyError):
        fails()
    assert not left(addresses[0])


def test_without_ray_the_test_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(pytest.skip.Exception, match="lightsweep\\[ray\\]"), ray_cluster.running():
        pass
