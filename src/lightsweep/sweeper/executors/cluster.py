"""What a queue of jobs knows of a scheduler."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lightsweep.sweeper.executors.node import NodeJob

RUNNING, DONE, FAULT, NO_FAULT, UNKNOWN = "running", "done", "fault", "no fault", "unknown"


@dataclass(frozen=True)
class State:
    """What a scheduler says of a job.

    Args:
        kind: RUNNING also of one that waits; DONE where it ended by itself; FAULT where it was ended for something that
            it did, NO_FAULT for something else.
        why: in words, of one that was ended, or waits to begin.
        final: false where the scheduler may put it back into the queue.
    """

    kind: str
    why: str = ""
    final: bool = True


class Cluster(Protocol):
    """A scheduler."""

    name: str

    def submit(self, jobs: Sequence[NodeJob]) -> list[str]:
        """Submit jobs, several as one array; their ids."""
        ...

    def states(self, ids: Sequence[str]) -> dict[str, State] | None:
        """What is known of jobs; None where the scheduler does not answer."""
        ...

    def is_ours(self, job_id: str) -> bool:
        """Whether this is a job that was submitted from the sweep's folder: `job.json` may be somebody else's."""
        ...

    def cancel(self, ids: Sequence[str]) -> bool:
        """Whether the scheduler has taken the order."""
        ...

    def log(self, job_id: str) -> Path:
        """The file with what the job printed as an error."""
        ...
