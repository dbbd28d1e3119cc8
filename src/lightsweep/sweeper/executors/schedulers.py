"""The schedulers that submitit submits jobs to: Slurm (``hydra/launcher=submitit_slurm``), with or without accounting
(slurmdbd), and processes of this machine (``hydra/launcher=submitit_local``)."""

import math
import os
import platform
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lightsweep.core.errors import ConfigError, RunFailed
from lightsweep.core.text import Wait
from lightsweep.sweeper.executors.cluster_jobs import ClusterJob, JobStatus, Phase
from lightsweep.sweeper.references import search_path

_COMMAND_SECONDS = 60.0
_ANSWER_SECONDS = 300.0  # that Slurm may be out of reach
_KNOWN_FOR = 10.0  # seconds for which Slurm is not asked again whose a job is
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
_REQUEUED = ("PREEMPTED", "NODE_FAIL", "BOOT_FAIL")  # where Slurm may run the job again by itself
_SLURM_ID = re.compile(r"[0-9]{1,12}(_[0-9]{1,12})?")
_PROCESS_ID = re.compile(r"[0-9]{1,9}")
_CONSTRUCTOR_KEYS = ("max_num_timeout", "python")  # of submitit's executors
_TOKEN = secrets.token_hex(4)


class Scheduler(ABC):
    """A scheduler.

    Args:
        keys: ``hydra.launcher``.
        folder: the sweep's, on a disk that the jobs share.
    """

    name: str
    cluster: str  # as submitit calls it

    def __init__(self, keys: Any, folder: Path) -> None:
        self.keys, self.folder = keys, folder
        self._submitted: dict[str, Any] = {}  # submitit's jobs by id

    def check(self) -> None:
        """See that the scheduler would take a trial's job.

        Raises:
            ConfigError: it would not.
        """
        for name in ("nodes", "tasks_per_node"):
            if (value := self.keys.get(name)) not in (None, 1):
                raise ConfigError(f"hydra.launcher.{name} must be 1, a trial runs in one process, got {value!r}")
        with tempfile.TemporaryDirectory() as folder:
            self._check_in(Path(folder))

    @abstractmethod
    def states(self, ids: Sequence[str]) -> dict[str, JobStatus] | None:
        """The status of jobs; None where the scheduler does not answer."""

    @abstractmethod
    def is_ours(self, job_id: str) -> bool:
        """Whether this job was submitted from the sweep's folder: `job.json` may be another user's."""

    @abstractmethod
    def cancel(self, ids: Sequence[str]) -> bool:
        """Cancel jobs; returns whether the scheduler has accepted that."""

    def submit(self, jobs: Sequence[ClusterJob]) -> list[str]:
        """Submit jobs, several as one array; returns their ids."""
        executor = _submitit_executor(self.cluster, self.keys, _submitit_folder(self.keys))
        with executor.batch() if len(jobs) > 1 else nullcontext():
            submitted = [executor.submit(job) for job in jobs]
        self._submitted |= {job.job_id: job for job in submitted}
        return [job.job_id for job in submitted]

    def log(self, job_id: str) -> Path:
        """The file with the errors of a job of this process, and all that it prints with
        ``hydra.launcher.stderr_to_stdout``."""
        from submitit.core.utils import JobPaths

        paths = JobPaths(_submitit_folder(self.keys), job_id=job_id, task_id=0)
        return paths.stdout if self.keys.stderr_to_stdout else paths.stderr

    def _check_in(self, folder: Path) -> None:
        """See that the scheduler takes a job, with submitit's files in this folder."""
        _submitit_executor(self.cluster, self.keys, folder)

    def _is_in_our_folders(self, path: str) -> bool:
        """Whether a file lies where this sweep's jobs have theirs, whichever process submitted them."""
        from submitit.core.utils import JobPaths

        chosen = JobPaths.get_first_id_independent_folder(Path(str(self.keys.submitit_folder)))
        return any(Path(path).resolve().is_relative_to(each.resolve()) for each in (self.folder, chosen))


class Slurm(Scheduler):
    """Slurm, with or without accounting."""

    name = cluster = "slurm"

    def __init__(self, keys: Any, folder: Path, answer_seconds: float = _ANSWER_SECONDS) -> None:
        super().__init__(keys, folder)
        self.answer_seconds = answer_seconds
        self._known: dict[str, tuple[float, bool]] = {}  # when it was asked whose a job is, and whether it is ours

    def _check_in(self, folder: Path) -> None:
        """Let Slurm look at a trial's job without running it."""
        for command in ("sbatch", "squeue", "scancel", "srun"):
            if shutil.which(command) is None:
                raise ConfigError(f"hydra/launcher=submitit_slurm needs Slurm's command {command}, which is not here")
        executor = _submitit_executor("slurm", self.keys, folder)._executor  # submitit writes no script in public
        script = folder / "check.sh"
        script.write_text(executor._make_submission_file_text("true", "check"), encoding="utf-8")
        tried = _run("sbatch", "--test-only", str(script))
        if tried.returncode != 0:
            lines = [line.strip() for line in tried.stderr.splitlines() if line.strip() and not line.startswith("Try ")]
            reason = (lines or ["no reason given"])[-1]
            raise ConfigError(f"hydra.launcher: Slurm refuses the jobs: {reason}")

    def states(self, ids: Sequence[str]) -> dict[str, JobStatus] | None:
        """From the queue; of a job that left it, minutes after its end, from the accounts if there are any."""
        queue = self._queue(ids)
        if queue is None:
            return None
        words = {job_id: word for job_id, (word, _) in queue.items()}
        if missing := [job_id for job_id in ids if job_id not in queue]:
            words |= self._accounts(missing)
        return {job_id: _status(words.get(job_id)) for job_id in ids}

    def is_ours(self, job_id: str) -> bool:
        """Known by its script, which submitit writes into the sweep's folder."""
        if _SLURM_ID.fullmatch(job_id) is None:
            return False
        asked, ours = self._known.get(job_id, (-math.inf, False))
        if time.monotonic() - asked > _KNOWN_FOR:  # a resumed sweep asks for each of its trials again and again
            _, script = self._wait_for_queue([job_id]).get(job_id, ("", ""))
            ours = script != "" and self._is_in_our_folders(script)
            self._known[job_id] = time.monotonic(), ours
        return ours

    def cancel(self, ids: Sequence[str]) -> bool:
        return _run("scancel", "--", *ids).returncode == 0

    def _wait_for_queue(self, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """As `_queue`, retried until Slurm answers: without an answer a job that runs would be run again."""
        waiting = Wait()
        while (queue := self._queue(ids)) is None:
            if waiting.seconds > self.answer_seconds:
                raise RunFailed(f"slurm did not answer for {self.answer_seconds:.0f} s; the same command continues")
            waiting.update(f"slurm to answer for the jobs, at most {self.answer_seconds:.0f} s")
            time.sleep(1.0)
        return queue

    def _queue(self, ids: Sequence[str]) -> dict[str, tuple[str, str]] | None:
        """State and script of each job that the scheduler still lists; None where it does not answer."""
        options = ("--me", "--states=all", "--array", "--noheader", "--format=%i|%T:%r|%o", f"--jobs={','.join(ids)}")
        asked = _run("squeue", *options)
        if asked.returncode != 0:
            return {} if "Invalid job id" in asked.stderr else None
        lines = (line.split("|", 2) for line in asked.stdout.splitlines() if line.count("|") >= 2)
        return {job_id.strip(): (state.strip(), script.strip()) for job_id, state, script in lines}  # STATE:reason

    def _accounts(self, ids: Sequence[str]) -> dict[str, str]:
        """The state of each job that the accounts know."""
        asked = _run("sacct", "-X", "-n", "-P", "-o", "JobID,State", "-j", ",".join(ids))
        lines = (line.split("|", 1) for line in asked.stdout.splitlines() if "|" in line)
        return {job_id: state.split(" ")[0] for job_id, state in lines}  # "CANCELLED by 1000"


def _status(word: str | None) -> JobStatus:
    if word is None:
        return JobStatus(Phase.UNKNOWN)
    state, _, reason = word.partition(":")
    if state in _FAULTS:
        return JobStatus(Phase.FAULT, _FAULTS[state])
    if state in _NO_FAULTS:
        return JobStatus(Phase.NO_FAULT, _NO_FAULTS[state], is_final=state not in _REQUEUED)
    if state in ("COMPLETED", "FAILED"):
        return JobStatus(Phase.ENDED)
    return JobStatus(Phase.ACTIVE, reason if state == "PENDING" else "")


class LocalProcesses(Scheduler):
    """Processes of this machine."""

    name = f"submitit on {platform.node()}"
    cluster = "local"

    def states(self, ids: Sequence[str]) -> dict[str, JobStatus]:
        return {job_id: JobStatus(Phase.ACTIVE if self._is_running(job_id) else Phase.ENDED) for job_id in ids}

    def is_ours(self, job_id: str) -> bool:
        return _PROCESS_ID.fullmatch(job_id) is not None and self._is_running(job_id)

    def cancel(self, ids: Sequence[str]) -> bool:
        """The process that submitit starts hands the signal on to the job."""
        for job_id in ids:
            if self._is_running(job_id):
                with suppress(OSError):
                    os.kill(int(job_id), signal.SIGTERM)
        return True

    def _is_running(self, job_id: str) -> bool:
        if job_id in self._submitted:
            return not self._submitted[job_id].done()
        _, is_submitit, folder = _command_line(job_id).partition("submitit.local._local ")  # of an earlier sweeper
        return bool(is_submitit) and self._is_in_our_folders(folder)


def _command_line(process: str) -> str:
    """Of a process of this machine, by its id; empty where there is none."""
    if not Path("/proc/self").exists():  # macOS
        return _run("ps", "-ww", "-o", "command=", "-p", process).stdout.strip()
    with suppress(OSError, ValueError):
        return Path("/proc", process, "cmdline").read_text(encoding="utf-8").replace("\0", " ").strip()
    return ""


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the system; Ctrl-C, which is for the sweeper, does not reach it."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, start_new_session=True, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def _submitit_folder(keys: Any) -> Path:
    """Submitit's folder of a job (``%j``: its id), in one that only this process knows: a job runs what it finds there,
    and a sweep's folder may be somebody else's."""
    chosen = Path(str(keys.submitit_folder))
    return chosen.parent / _TOKEN / chosen.name if "%j" in chosen.name else chosen / _TOKEN


def _submitit_executor(cluster: str, keys: Any, folder: Path) -> Any:
    """An executor of submitit with all that ``hydra.launcher`` says.

    Raises:
        ConfigError: submitit does not take it, or is not installed.
    """
    try:
        import submitit
        from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
    except ImportError as error:
        raise ConfigError(f"hydra/launcher=submitit_{cluster} cannot be used: {error}") from error
    settings: Any = OmegaConf.to_container(keys, resolve=True)
    common = {each.name for each in fields(BaseQueueConf)}
    first = {f"{cluster}_{name}": settings[name] for name in _CONSTRUCTOR_KEYS if name in settings}
    named = {
        name if name in common else f"{cluster}_{name}": value
        for name, value in settings.items()
        if name not in (*_CONSTRUCTOR_KEYS, "submitit_folder", "_target_")
    }
    if cluster == "slurm":  # where a job is not handed the environment, it would not find this program
        path = ":".join(search_path())
        named["slurm_setup"] = [
            f"export PYTHONPATH={shlex.quote(path)}${{PYTHONPATH:+:$PYTHONPATH}}",
            "export PYTHONSAFEPATH=1",  # without it the working directory would come first
            "export SLURM_EXPORT_ENV=ALL",  # srun hands on what the job has
            *(settings["setup"] or []),
        ]
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster, **first)
        executor.update_parameters(**named)
    except Exception as error:  # submitit has no class of its own for what a user got wrong
        raise ConfigError(f"hydra.launcher cannot be used: {' '.join(str(error).split())[:300]}") from error
    return executor
