"""A study's storage that is tried again where it cannot be reached for a while: a database that is restarted or locked,
a network disk that hangs, a disk that is full."""

import errno
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from lightsweep.core.errors import StorageLost
from lightsweep.core.waiting import Wait

PATIENCE = 300.0  # seconds that an operation is tried again
_PAUSES = (0.1, 5.0)  # seconds: the first and the longest between two tries
_NAMES = ("EIO", "ESTALE", "ENOSPC", "EDQUOT", "EAGAIN", "EBUSY", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENOLCK")
_DISK = {getattr(errno, name) for name in _NAMES if hasattr(errno, name)}
_DATABASE = (
    "OperationalError",
    "InterfaceError",
    "InternalError",
    "TimeoutError",
    "PendingRollbackError",  # of the operation after one whose connection was lost as it ended
)  # of SQLAlchemy, which is not imported
_Result = TypeVar("_Result")


class Patience:
    """Tries again what fails because a storage is out of reach. Threads share one: an outage is told once.

    Args:
        name: of the storage, in what is said.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.reached_since = 0.0  # seconds since the epoch: when the last outage was over
        self._wait = Wait()
        self._lost = False

    def __call__(self, operation: Callable[[], _Result]) -> _Result:
        """The operation's result.

        Raises:
            StorageLost: it failed again and again, for `PATIENCE` seconds.
        """
        began, pause = time.monotonic(), _PAUSES[0]
        while True:
            try:
                result = operation()
            except Exception as error:
                reason = transient(error)
                if reason is None:
                    raise
                if self._lost or time.monotonic() - began > PATIENCE:
                    self._lost = True  # what is still to be done as the sweep ends fails at once
                    raise StorageLost(
                        f"{self.name} could not be used for {PATIENCE:.0f} s ({reason}); the same command goes on"
                    ) from error
                self._wait.still(f"{self.name} ({reason}), at most {PATIENCE:.0f} s")
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, _PAUSES[1])
                continue
            if self._wait.seconds:
                self.reached_since = time.time()
                self._wait.over()
            self._lost = False
            return result


class PatientStorage(BaseStorage):
    """A storage all of whose operations are tried again.

    An operation whose answer was lost may have been done all the same. Most can be done twice. Of a new trial that
    runs, the first one has no owner then, and is found as cut off. The other exceptions have methods of their own.
    """

    def __init__(self, storage: BaseStorage, patience: Patience) -> None:
        self._storage, self.patience = storage, patience

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """A trial that is to wait must not be asked for twice: it is looked for before it is made again."""
        if template_trial is None:
            return self.patience(lambda: self._storage.create_new_trial(study_id))
        known = {trial._trial_id for trial in self.get_all_trials(study_id, deepcopy=False)}

        def once() -> int:
            for trial in self._storage.get_all_trials(study_id, deepcopy=False):
                if trial._trial_id not in known and _same(trial, template_trial):
                    return trial._trial_id
            return self._storage.create_new_trial(study_id, template_trial)

        return self.patience(once)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """A trial that was told before the answer was lost is not told again, which would be an error."""
        tried: list[bool] = []

        def once() -> bool:
            if tried and state.is_finished() and self._storage.get_trial(trial_id).state == state:
                return True
            tried.append(True)
            return self._storage.set_trial_state_values(trial_id, state, values)

        return self.patience(once)


def _tried_again(name: str) -> Callable[..., Any]:
    def method(self: PatientStorage, *arguments: Any, **named: Any) -> Any:
        return self.patience(lambda: getattr(self._storage, name)(*arguments, **named))

    return method


_OPERATIONS = {name for name in vars(BaseStorage) if not name.startswith("_") and name not in vars(PatientStorage)}
for _name in _OPERATIONS:
    setattr(PatientStorage, _name, _tried_again(_name))
PatientStorage.__abstractmethods__ = frozenset()


def transient(error: BaseException) -> str | None:
    """Why a storage is out of reach, if that is what the error says or was caused by; None if it is another."""
    cause: BaseException | None = error
    while cause is not None:
        kind = type(cause)
        if isinstance(cause, OSError) and cause.errno in _DISK:
            return str(cause.strerror)
        if kind.__module__.startswith("sqlalchemy") and kind.__name__ in _DATABASE:
            return " ".join(str(getattr(cause, "orig", None) or cause).split())[:200]
        cause = cause.__cause__
    return None


def _same(trial: FrozenTrial, template: FrozenTrial) -> bool:
    return (trial.user_attrs, trial.system_attrs) == (template.user_attrs, template.system_attrs)
