"""The time that a trial may take over all its jobs, as the sweeper sees it; `time_limit` ends a job from inside."""

import time
from dataclasses import replace

from lightsweep.sweeper.job import JobResult, JobState
from lightsweep.sweeper.time_limit import PATIENCE, describe_time_over


class TrialTime:
    """The time of one trial.

    Args:
        seconds: that it may take; None for as long as it takes.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._spent = self._started = 0.0

    def of_job(self) -> tuple[float, float] | None:
        """For the job that starts now: `Job.timeout`."""
        self._started = time.monotonic()
        return None if self.seconds is None else (self.seconds, max(0.0, self.seconds - self._spent))

    def is_overdue(self, grace: float) -> bool:
        """Whether the job should have ended itself: a process that hangs outside of Python cannot.

        Args:
            grace: seconds that it has to end in order.
        """
        if self.seconds is None:
            return False
        left = max(0.0, self.seconds - self._spent)  # no step of the job was longer
        return time.monotonic() - self._started > (1 + PATIENCE) * left + grace

    def ended(self, result: JobResult, grace: float) -> JobResult:
        """A job's result; pruned where its process was killed because it was overdue."""
        overdue = result.state == JobState.LOST and self.is_overdue(grace)
        self._spent += result.seconds
        if self.seconds is None or not overdue:
            return result
        return replace(result, state=JobState.PRUNED, error=describe_time_over(self.seconds))
