"""A Ray cluster of the tests' own: a head and a second node on this machine, in processes of their own."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SECOND = "second"  # a resource that the second node has and the head has not: {SECOND: 1} sends a task there
SETTINGS = {
    "RAY_AUTH_MODE": "disabled",  # leaves no token in ~/.ray
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # keeps 127.0.0.1 as it is; else a driver takes the machine's own address
}


@dataclass(frozen=True)
class Cluster:
    """A head with one CPU and a second node with two, which can be lost."""

    address: str
    environment: dict[str, str]  # what a driver needs: the address and our SETTINGS, without which it waits for ever
    remove_second: Callable[[], None]


@contextmanager
def running() -> Iterator[Cluster]:
    """A fresh cluster on loopback, as long as the block lasts; skips the test where there is no Ray.

    The nodes are children of a process of their own, so the process that calls this is no Ray driver.
    """
    if importlib.util.find_spec("ray") is None:  # not imported here: that takes half a second
        pytest.skip("needs the extra: pip install 'lightsweep[ray]'")
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # the path of a socket has 107 characters at most
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with (folder / "log").open("w") as log:
        nodes = subprocess.Popen(
            [sys.executable, "-P", __file__, str(folder)],  # -P: tests/ is not on the nodes' sys.path
            env={**environment, **SETTINGS},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # what Ray starts stays in this session, by which it is found in the end
        )
    assert nodes.stdin is not None
    assert nodes.stdout is not None

    def answer() -> str:
        line = nodes.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"the cluster has ended:\n{(folder / 'log').read_text()}")
        return line

    def remove_second() -> None:
        print("remove", file=nodes.stdin, flush=True)
        answer()

    try:
        address = answer()
        yield Cluster(address, {**SETTINGS, "RAY_ADDRESS": address}, remove_second)
    finally:
        nodes.stdin.close()  # it ends at the end of its input, also when this process is killed
        try:
            nodes.wait(20)
        except subprocess.TimeoutExpired:
            nodes.kill()
            nodes.wait()
        nodes.stdout.close()
        _end(nodes.pid)
        shutil.rmtree(folder)


def _serve(folder: str) -> None:
    from ray._private.utils import get_ray_address_file
    from ray.cluster_utils import Cluster as Nodes

    # Where the nodes have a folder of their own, Ray does not make that of the file with its address.
    Path(get_ray_address_file(None)).parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in what a shell's script has put into the background
    common = {"node_ip_address": "127.0.0.1", "include_dashboard": False, "dashboard_agent_listen_port": 0}
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "temp_dir": folder, **common})
    second = nodes.add_node(num_cpus=2, resources={SECOND: 2}, **common)
    print(nodes.address, flush=True)
    for _ in sys.stdin:
        nodes.remove_node(second, allow_graceful=False)
        print("removed", flush=True)
    nodes.shutdown()


def _end(session: int) -> None:
    """Kill what is left of a session and wait until it is gone."""
    until = time.monotonic() + 20
    while left := _members(session):
        if time.monotonic() > until:
            raise RuntimeError(f"processes of the cluster do not end: {left}")
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)


def _members(session: int) -> list[int]:
    """The living processes of a session."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,sess=,stat="], check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [int(process) for process, leader, state in rows if int(leader) == session and not state.startswith("Z")]


if __name__ == "__main__":
    _serve(sys.argv[1])
