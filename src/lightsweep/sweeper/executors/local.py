"""Jobs that submitit runs as processes of this machine (``hydra/launcher=submitit_local``)."""

import os
import platform
import re
import signal
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightsweep.sweeper.executors import submission
from lightsweep.sweeper.executors.cluster import DONE, RUNNING, State
from lightsweep.sweeper.executors.node import NodeJob

_ID = re.compile(r"[0-9]{1,9}")


class Local:
    """Processes of this machine.

    Args:
        keys: ``hydra.launcher``.
        folder: the sweep's.
    """

    name = f"submitit on {platform.node()}"

    def __init__(self, keys: Any, folder: Path) -> None:
        self.keys, self.folder = keys, folder
        self._jobs: dict[str, Any] = {}

    def check(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            submission.executor("local", self.keys, Path(folder))

    def submit(self, jobs: Sequence[NodeJob]) -> list[str]:
        submitted = submission.submit(submission.executor("local", self.keys), jobs)
        self._jobs |= {job.job_id: job for job in submitted}
        return [job.job_id for job in submitted]

    def states(self, ids: Sequence[str]) -> dict[str, State]:
        return {job_id: State(RUNNING if self._lives(job_id) else DONE) for job_id in ids}

    def is_ours(self, job_id: str) -> bool:
        return _ID.fullmatch(job_id) is not None and self._lives(job_id)

    def cancel(self, ids: Sequence[str]) -> bool:
        """The process that submitit starts hands the signal on to the job."""
        for job_id in ids:
            if self._lives(job_id):
                with suppress(OSError):
                    os.kill(int(job_id), signal.SIGTERM)
        return True

    def log(self, job_id: str) -> Path:
        return submission.log(self.keys, job_id)

    def _lives(self, job_id: str) -> bool:
        if job_id in self._jobs:
            return not self._jobs[job_id].done()
        with suppress(OSError, ValueError):
            command = Path(f"/proc/{job_id}/cmdline").read_text(encoding="utf-8").split("\0")
            folder = Path(command[command.index("submitit.local._local") + 1]).resolve()
            return any(folder.is_relative_to(place) for place in submission.places(self.keys, self.folder))
        return False
