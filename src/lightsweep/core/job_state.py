"""How a run or a job ended: one set of words for result.json, the sweep and the loggers."""

import enum

from lightsweep.core import signals
from lightsweep.core.errors import DataChanged, Diverged, Interrupted, Pruned, StorageLost


class JobState(enum.StrEnum):
    """How a run or a job ended; its text is what files hold."""

    COMPLETED = "completed"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # cut off from outside: to be run again
    LOST = "lost"  # its worker process died
    REFUSED = "refused"  # what is wrong with it is wrong with all jobs of its sweep
    DETACHED = "detached"  # it goes on without its sweeper

    @property
    def is_failure(self) -> bool:
        """Whether the job itself is to blame."""
        return self in (JobState.DIVERGED, JobState.FAILED, JobState.LOST)


def state_of(error: BaseException) -> JobState:
    """The state of a run that ended with this error."""
    if isinstance(error, Diverged):
        return JobState.DIVERGED
    if isinstance(error, Pruned):
        return JobState.PRUNED
    if isinstance(error, DataChanged):
        return JobState.REFUSED
    if isinstance(error, Interrupted | KeyboardInterrupt | StorageLost) or signals.received() is not None:
        return JobState.INTERRUPTED
    return JobState.FAILED
