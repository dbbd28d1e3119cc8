"""A Slurm of the tests' own, one node on loopback: the daemons come from Debian's packages."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

NODE = "node"
CPUS = 8  # as Slurm is told; the machine may have fewer
MEMORY = 32_000  # MB, as Slurm is told

_STARTED = 30  # seconds that a daemon may take
_STOPPED = 10

# `low` is preempted by `high`; jobs in `main` neither preempt nor are preempted. A requeued job waits for cred_expire
# seconds before it starts again. pgid kills what outlives the batch script, as cgroups do; linuxproc does not.
_SETTINGS = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={worker}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=5
MinJobAge=300
ReturnToService=1
SlurmctldTimeout=30
SlurmdTimeout=30
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={worker} CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes={node} Default=YES DefaultTime=60 PriorityTier=1 PreemptMode=OFF
PartitionName=low Nodes={node} DefaultTime=60 PriorityTier=1 PreemptMode=REQUEUE GraceTime=0
PartitionName=high Nodes={node} DefaultTime=60 PriorityTier=10 PreemptMode=OFF
"""


@dataclass(frozen=True)
class Cluster:
    """A Slurm with one node; its partitions are `main` (the default), `low` and `high`, which preempts `low`."""

    env: dict[str, str]  # what sbatch, srun and the others need beside the environment they inherit
    log: Path  # a folder: a file for every daemon

    def call(self, *command: str) -> str:
        """What one of Slurm's commands prints; raises CalledProcessError where it fails."""
        environment = {**os.environ, **self.env}
        return subprocess.run(command, check=True, env=environment, text=True, capture_output=True).stdout

    def jobs(self) -> dict[str, str]:
        """The state of every job that Slurm still knows (five minutes after the end), tasks of arrays by their own."""
        lines = self.call("squeue", "--all", "--states=all", "--array", "--noheader", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def wait(self, job: str, *states: str, timeout: float = 30) -> str:
        """The state of the job once it is one of these; fails where that takes too long."""
        end = time.monotonic() + timeout
        while (state := self.jobs().get(job, "unknown")) not in states:
            assert time.monotonic() < end, f"job {job} is {state}, not {' or '.join(states)}, after {timeout} s"
            time.sleep(0.1)
        return state

    def cancel(self, job: str) -> None:
        """Cancels the job as a user does."""
        self.call("scancel", job)

    def fail_node(self) -> None:
        """The node goes down at once: its jobs are requeued, or end as NODE_FAIL where they may not be."""
        self.call("scontrol", "update", f"nodename={NODE}", "state=down", "reason=test")

    def restore_node(self) -> None:
        """The node comes back; jobs start again."""
        self.call("scontrol", "update", f"nodename={NODE}", "state=resume")


@contextmanager
def running() -> Iterator[Cluster]:
    """A fresh Slurm as long as the block lasts; skips the test where Slurm is not installed."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: the sockets are in it
    folder.chmod(0o755)
    log = folder / "log"
    for name in ("log", "state", "spool"):
        (folder / name).mkdir()
    controller, worker = _free_ports(2)
    settings = folder / "slurm.conf"
    settings.write_text(
        _SETTINGS.format(
            host=socket.gethostname().split(".")[0],
            user=pwd.getpwuid(os.getuid()).pw_name,
            folder=folder,
            controller=controller,
            worker=worker,
            node=NODE,
            cpus=CPUS,
            memory=MEMORY,
        )
    )
    cluster = Cluster({"SLURM_CONF": str(settings)}, log)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(_kill_all, settings)

        def daemon(*command: str) -> subprocess.Popen[bytes]:
            with (log / f"{Path(command[0]).name}.out").open("wb") as output:
                process = subprocess.Popen(
                    command,
                    env={**os.environ, **cluster.env},
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is for pytest
                )
            stack.callback(_stop, process)
            return process

        munged = daemon(programs["munged"], *_munge_options(folder))
        _wait((folder / "munge.socket").is_socket, munged, log)
        daemon(programs["slurmctld"], "-D", "-L", str(log / "slurmctld.log"))
        slurmd = daemon(programs["slurmd"], "-D", "-N", NODE, "-L", str(log / "slurmd.log"))
        _wait(lambda: _idle(cluster), slurmd, log)
        stack.callback(_cancel_all, cluster)
        yield cluster


def processes(settings: Path) -> list[int]:
    """What runs for the Slurm of this slurm.conf: its daemons, its jobs, whatever has it in its environment."""
    mark = f"SLURM_CONF={settings}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or another user's
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def _programs() -> dict[str, str]:
    """Where the daemons are; an ordinary user's PATH lacks Debian's folder of them."""
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    found = {name: shutil.which(name, path=places) for name in ("munged", "slurmctld", "slurmd", "sbatch")}
    missing = [name for name, place in found.items() if place is None]
    if missing:
        pytest.skip(f"Slurm is not installed, no {', '.join(missing)} (Debian: apt-get install slurm-wlm munge)")
    return {name: place for name, place in found.items() if place is not None}


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _munge_options(folder: Path) -> list[str]:
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    files = {"socket": "munge.socket", "pid-file": "munge.pid", "seed-file": "munge.seed", "log-file": "log/munged.log"}
    return ["--foreground", f"--key-file={key}", *(f"--{option}={folder / name}" for option, name in files.items())]


def _idle(cluster: Cluster) -> bool:
    with suppress(subprocess.CalledProcessError):
        return cluster.call("sinfo", "--noheader", "--partition=main", "--format=%T").strip() == "idle"
    return False


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _STARTED
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"Slurm did not start:\n{_told(log)}")
        time.sleep(0.05)


def _told(log: Path) -> str:
    """The end of what every daemon said."""
    return "\n".join(f"{file.name}:\n{file.read_text(errors='replace')[-2000:]}" for file in sorted(log.iterdir()))


def _cancel_all(cluster: Cluster) -> None:
    with suppress(subprocess.CalledProcessError):
        jobs = cluster.call("squeue", "--all", "--noheader", "--format=%A").split()
        if jobs:
            cluster.call("scancel", "--quiet", *jobs)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOPPED)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _kill_all(settings: Path) -> None:
    end = time.monotonic() + _STOPPED
    while (left := processes(settings)) and time.monotonic() < end:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
