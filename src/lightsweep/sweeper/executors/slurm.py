"""Jobs of Slurm (``hydra/launcher=submitit_slurm``), with or without accounting (slurmdbd)."""

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightsweep.core.errors import ConfigError, RunFailed
from lightsweep.core.text import Wait
from lightsweep.sweeper.executors import submission
from lightsweep.sweeper.executors.cluster import DONE, FAULT, NO_FAULT, RUNNING, UNKNOWN, State
from lightsweep.sweeper.executors.node import NodeJob

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
_ID = re.compile(r"[0-9]{1,12}(_[0-9]{1,12})?")
_PATIENCE = 300.0  # seconds
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
        with tempfile.TemporaryDirectory() as folder:
            made = submission.executor("slurm", self.keys, Path(folder))._executor
            script = Path(folder, "check.sh")
            script.write_text(made._make_submission_file_text("true", "check"), encoding="utf-8")
            tried = _run("sbatch", "--test-only", str(script))
        if tried.returncode != 0:
            raise ConfigError(f"hydra.launcher: Slurm refuses the jobs: {_reason(tried.stderr)}")

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
        if _ID.fullmatch(job_id) is None:
            return False
        if time.monotonic() > self._ours_until:  # a sweep that goes on asks for each of its trials again and again
            self._ours, self._ours_until = {}, time.monotonic() + _KNOWN_FOR
        if job_id not in self._ours:
            _, script = self._told([job_id]).get(job_id, ("", ""))
            places = submission.places(self.keys, self.folder)
            self._ours[job_id] = script != "" and any(Path(script).resolve().is_relative_to(each) for each in places)
        return self._ours[job_id]

    def cancel(self, ids: Sequence[str]) -> bool:
        """Whether Slurm has taken the order."""
        return _run("scancel", "--", *ids).returncode == 0

    def _told(self, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """What the scheduler remembers of jobs, however long it takes to answer: without its word a job that runs would
        be run again.

        Raises:
            RunFailed: it does not answer.
        """
        waiting = Wait()
        while (told := self._queue(ids)) is None:
            if waiting.seconds > _PATIENCE:
                raise RunFailed(f"slurm did not answer for {_PATIENCE:.0f} s; the same command goes on")
            waiting.still(f"slurm to say what has become of the jobs, at most {_PATIENCE:.0f} s")
            time.sleep(1.0)
        return told

    def log(self, job_id: str) -> Path:
        return submission.log(self.keys, job_id)

    def _queue(self, ids: Sequence[str]) -> dict[str, tuple[str, str]] | None:
        """State and script of each job that the scheduler remembers; None where it does not answer."""
        options = ("--me", "--states=all", "--array", "--noheader", "--format=%i|%T:%r|%o", f"--jobs={','.join(ids)}")
        asked = _run("squeue", *options)
        if asked.returncode != 0:
            return {} if "Invalid job id" in asked.stderr else None
        lines = (line.split("|", 2) for line in asked.stdout.splitlines() if line.count("|") >= 2)
        return {job_id.strip(): (state.strip(), script.strip()) for job_id, state, script in lines}  # STATE:reason

    def _accounts(self, ids: Sequence[str]) -> dict[str, str]:
        if shutil.which("sacct") is None:
            return {}
        asked = _run("sacct", "-X", "-n", "-P", "-o", "JobID,State", "-j", ",".join(ids))
        if asked.returncode != 0:
            return {}
        lines = (line.split("|", 1) for line in asked.stdout.splitlines() if "|" in line)
        return {job_id: state.split(" ")[0] for job_id, state in lines}  # "CANCELLED by 1000"


def _reason(said: str) -> str:
    """The line that says why."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("Try ")]
    return lines[-1] if lines else "no reason given"


def _state(told: str | None) -> State:
    if told is None:
        return State(UNKNOWN)
    word, _, reason = told.partition(":")
    if word == "PENDING":
        return State(RUNNING, reason)
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
