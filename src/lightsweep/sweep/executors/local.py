"""Jobs that submitit runs as processes of this machine (``hydra/launcher=submitit_local``)."""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightsweep.sweep.executors import submission
from lightsweep.sweep.executors.cluster import DONE, RUNNING, State
from lightsweep.sweep.executors.node import NodeJob


class Local:
    """Processes of this machine.

    Args:
        keys: ``hydra.launcher``.
        folder: the sweep's.
    """

    name = "local"

    def __init__(self, keys: Any, folder: Path) -> None:
        self.keys, self.folder = keys, folder
        self._jobs: dict[str, Any] = {}

    def check(self) -> None:
        submission.executor("local", self.keys)

    def submit(self, jobs: Sequence[NodeJob]) -> list[str]:
        submitted = submission.submit(submission.executor("local", self.keys), jobs)
        self._jobs |= {job.job_id: job for job in submitted}
        return [job.job_id for job in submitted]

    def states(self, ids: Sequence[str]) -> dict[str, State]:
        return {job_id: State(RUNNING if self._lives(job_id) else DONE) for job_id in ids}

    def is_ours(self, job_id: str) -> bool:
        return job_id.isdecimal() and self._lives(job_id)

    def cancel(self, ids: Sequence[str]) -> None:
        """The process that submitit starts hands the signal on to the job."""
        for job_id in ids:
            if self._lives(job_id):
                with suppress(OSError):
                    os.kill(int(job_id), signal.SIGTERM)

    def log(self, job_id: str) -> Path:
        return submission.log(self.keys, job_id)

    def _lives(self, job_id: str) -> bool:
        if job_id in self._jobs:
            return not self._jobs[job_id].done()
        with suppress(OSError):
            command = Path(f"/proc/{job_id}/cmdline").read_bytes().decode(errors="replace")
            return "submitit.local._local" in command and f"{self.folder}/" in command
        return False
