"""How a run or a job ends: its state, and the errors, other than bugs, that end it."""

import enum


class JobState(enum.StrEnum):
    """How a run or a job ended; its text is what files hold."""

    COMPLETED = "completed"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # cut off from outside: to be run again
    LOST = "lost"  # its worker process died
    REFUSED = "refused"  # what is wrong with it is wrong with all jobs of its sweep
    DETACHED = "detached"  # it continues without its sweeper

    @property
    def is_failure(self) -> bool:
        """Whether the job itself is to blame."""
        return self in (JobState.DIVERGED, JobState.FAILED, JobState.LOST)


class ConfigError(Exception):
    """The user asked for something that cannot be: names the key, the rule and the value, in one line."""


class SweepRefused(ConfigError):
    """What is wrong with a job is wrong with all jobs of its sweep, which ends."""


class DataChanged(ConfigError):
    """The data are not those that a study was started with, which holds for all its trials: the sweep ends."""


class RunFailed(Exception):
    """A run that could not be finished for a reason outside the program, such as a full disk."""


class StorageLost(RunFailed):
    """A study's storage could not be reached for too long. What was running is to be run again."""


class Diverged(Exception):
    """The loss became NaN or infinite."""


class Interrupted(BaseException):
    """A signal asked the run to end. Not an Exception, so that nothing on the way up handles it by accident."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        self.is_printed = False  # how what it has interrupted goes on


class TimeOver(Interrupted):
    """The time of a trial is over: it ends in order, as pruned."""

    def __init__(self, signum: int, note: str) -> None:
        super().__init__(signum)
        self.note = note

    def __str__(self) -> str:
        return self.note
