"""Jobs of Slurm (``hydra/launcher=submitit_slurm``), with or without accounting (slurmdbd)."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightsweep.errors import ConfigError
from lightsweep.sweep.executors import submission
from lightsweep.sweep.executors.cluster import DONE, FAULT, NO_FAULT, RUNNING, UNKNOWN, State
from lightsweep.sweep.executors.node import NodeJob

_COMMAND_SECONDS = 60.0
_KNOWN_FOR = 10.0  # seconds that it is not asked again whose a job is
_FAULTS = {
    "TIMEOUT": "Slurm ended the job at its time limit (hydra.launcher.timeout_min)",
    "DEADLINE": "Slurm ended the job at its deadline",
    "OUT_OF_MEMORY": "Slurm ended the job, it ran out of memory (hydra.launcher.mem_gb)",
}
_NO_FAULTS = {
    "CANCELLED": "the job was cancelled",
    "PREEMPTED": "the job was preempted",
    "NODE_FAIL": "the node failed",
    "BOOT_FAIL": "the node did not start",
    "REVOKED": "the job was revoked",
}
_PUT_BACK = ("PREEMPTED", "NODE_FAIL", "BOOT_FAIL")  # where Slurm may run the job again by itself
_ENDED = ("COMPLETED", "FAILED")


class Slurm:
    """The scheduler.

    Args:
        keys: ``hydra.launcher``.
        folder: the sweep's, on a disk that the nodes share.
    """

    name = "slurm"

    def __init__(self, keys: Any, folder: Path) -> None:
        self.keys, self.folder = keys, folder
        self._ours: dict[str, bool] = {}
        self._ours_until = 0.0

    def check(self) -> None:
        """Let Slurm look at a trial's job without running it.

        Raises:
            ConfigError: it would refuse the job, or there is no Slurm.
        """
        for command in ("sbatch", "squeue", "scancel", "srun"):
            if shutil.which(command) is None:
                raise ConfigError(f"hydra/launcher=submitit_slurm needs Slurm's command {command}, which is not here")
        made = submission.executor("slurm", self.keys)._executor
        with tempfile.NamedTemporaryFile("w", suffix=".sh") as script:
            script.write(made._make_submission_file_text("true", "check"))
            script.flush()
            tried = _run("sbatch", "--test-only", script.name)
        if tried.returncode != 0:
            lines = [line for line in tried.stderr.splitlines() if line.strip()]
            raise ConfigError(f"hydra.launcher: Slurm refuses the jobs: {lines[-1] if lines else 'no reason given'}")

    def submit(self, jobs: Sequence[NodeJob]) -> list[str]:
        return [job.job_id for job in submission.submit(submission.executor("slurm", self.keys), jobs)]

    def states(self, ids: Sequence[str]) -> dict[str, State] | None:
        """From the scheduler's memory; what it has forgotten, minutes after its end, from the accounts if there are."""
        told = self._queue(ids)
        if told is None:
            return None
        missing = [job_id for job_id in ids if job_id not in told]
        found = {job_id: word for job_id, (word, _) in told.items()}
        found |= self._accounts(missing) if missing else {}
        return {job_id: _state(found.get(job_id)) for job_id in ids}

    def is_ours(self, job_id: str) -> bool:
        """Known by its script, which submitit writes into the sweep's folder."""
        if not job_id.replace("_", "", 1).isdecimal():
            return False
        if time.monotonic() > self._ours_until:  # a sweep that goes on asks for each of its trials again and again
            self._ours, self._ours_until = {}, time.monotonic() + _KNOWN_FOR
        if job_id not in self._ours:
            _, script = (self._queue([job_id]) or {}).get(job_id, ("", ""))
            self._ours[job_id] = script != "" and Path(script).resolve().is_relative_to(self.folder.resolve())
        return self._ours[job_id]

    def cancel(self, ids: Sequence[str]) -> None:
        _run("scancel", *ids)

    def log(self, job_id: str) -> Path:
        return submission.log(self.keys, job_id)

    def _queue(self, ids: Sequence[str]) -> dict[str, tuple[str, str]] | None:
        """State and script of each job that the scheduler remembers; None where it does not answer."""
        options = ("--me", "--states=all", "--array", "--noheader", "--format=%i|%T|%o", f"--jobs={','.join(ids)}")
        asked = _run("squeue", *options)
        if asked.returncode != 0:
            return {} if "Invalid job id" in asked.stderr else None
        lines = (line.split("|", 2) for line in asked.stdout.splitlines() if line.count("|") >= 2)
        return {job_id.strip(): (state.strip(), script.strip()) for job_id, state, script in lines}

    def _accounts(self, ids: Sequence[str]) -> dict[str, str]:
        if shutil.which("sacct") is None:
            return {}
        asked = _run("sacct", "-X", "-n", "-P", "-o", "JobID,State", "-j", ",".join(ids))
        if asked.returncode != 0:
            return {}
        lines = (line.split("|", 1) for line in asked.stdout.splitlines() if "|" in line)
        return {job_id: state.split(" ")[0] for job_id, state in lines}  # "CANCELLED by 1000"


def _state(word: str | None) -> State:
    if word is None:
        return State(UNKNOWN)
    if word in _FAULTS:
        return State(FAULT, _FAULTS[word])
    if word in _NO_FAULTS:
        return State(NO_FAULT, _NO_FAULTS[word], final=word not in _PUT_BACK)
    return State(DONE if word in _ENDED else RUNNING)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    """One of Slurm's commands; Ctrl-C, which is for the sweeper, does not reach it."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, start_new_session=True, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
