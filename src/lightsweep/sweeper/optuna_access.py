"""A storage whose operations are retried, and what Optuna has no public way for.

No other module uses private names of Optuna's:

- Attributes of a study that dashboards do not show: `Study.system_attrs` is gone, storages still have them.
- The whole study, of which Hyperband's pruner shows a sampler those trials that it judges together.
- A trial that another process started: `Trial` is made from the id that only the storage knows.
- CMA-ES keeps its state pickled in a study's trials and unpickles what it finds there: with a study from somebody else,
  that runs any command. `restrict_cmaes` lets nothing but cmaes' own optimizers and arrays come out of such a pickle.
"""

import errno
import io
import pickle
import random
import time
from collections.abc import Callable, Container, Sequence
from copy import copy
from types import SimpleNamespace
from typing import Any, TypeVar

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import GridSampler, _cmaes
from optuna.storages import BaseStorage
from optuna.storages.journal._file import BaseJournalFileLock as BaseJournalFileLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from lightsweep.core.errors import RunFailed, StorageLost
from lightsweep.core.text import Wait

_NAMES = ("EIO", "ESTALE", "ENOSPC", "EDQUOT", "EAGAIN", "EBUSY", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENOLCK")
_DISK_ERRORS = {getattr(errno, name) for name in _NAMES if hasattr(errno, name)}
_DATABASE_ERRORS = (  # of SQLAlchemy, which is not imported
    "OperationalError",
    "InterfaceError",
    "InternalError",
    "TimeoutError",
    "PendingRollbackError",  # of the operation after one whose connection was lost as it ended
)
_Result = TypeVar("_Result")


class Retry:
    """Retries what fails because a storage is out of reach. Threads share one: an outage is printed once.

    Args:
        name: of the storage, for messages.
        seconds: for which an operation is retried.
        pauses: in seconds, the first and the longest between two attempts.
    """

    def __init__(self, name: str, *, seconds: float, pauses: tuple[float, float]) -> None:
        self.name, self.seconds, self.pauses = name, seconds, pauses
        self.reached_since = 0.0  # seconds since the epoch: when the last outage was over
        self._wait = Wait()
        self._lost = False

    def __call__(self, operation: Callable[[], _Result]) -> _Result:
        """The operation's result.

        Raises:
            StorageLost: it failed for `seconds`.
        """
        started, pause = time.monotonic(), self.pauses[0]
        while True:
            try:
                result = operation()
            except Exception as error:
                reason = outage_reason(error)
                if reason is None:
                    raise
                if self._lost or time.monotonic() - started > self.seconds:
                    self._lost = True  # further operations, as the sweep ends, fail at once
                    raise StorageLost(
                        f"{self.name} could not be used for {self.seconds:.0f} s ({reason}); the same command continues"
                    ) from error
                self._wait.update(f"{self.name} ({reason}), at most {self.seconds:.0f} s")
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, self.pauses[1])
                continue
            if self._wait.seconds:
                self.reached_since = time.time()
                self._wait.end()
            self._lost = False
            return result


class RetryingStorage(BaseStorage):
    """A storage all of whose operations are retried.

    An operation whose answer was lost may have been done. Most can be done twice. Of a new trial that runs, the first
    one then has no owner, and is found as lost. The other exceptions have methods here.
    """

    def __init__(self, storage: BaseStorage, retry: Retry) -> None:
        self._storage, self.retry = storage, retry

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """A queued trial must not be added twice: before another attempt it is looked for."""
        if template_trial is None:
            return self.retry(lambda: self._storage.create_new_trial(study_id))
        attributes = (template_trial.user_attrs, template_trial.system_attrs)
        known = {trial._trial_id for trial in self.get_all_trials(study_id, deepcopy=False)}

        def once() -> int:
            for trial in self._storage.get_all_trials(study_id, deepcopy=False):
                if trial._trial_id not in known and (trial.user_attrs, trial.system_attrs) == attributes:
                    return trial._trial_id
            return self._storage.create_new_trial(study_id, template_trial)

        return self.retry(once)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """A trial that was closed before the answer was lost is not closed again, which would be an error."""
        attempts = 0

        def once() -> bool:
            nonlocal attempts
            attempts += 1
            if attempts > 1 and state.is_finished() and self._storage.get_trial(trial_id).state == state:
                return True
            return self._storage.set_trial_state_values(trial_id, state, values)

        return self.retry(once)


def _retried(name: str) -> Callable[..., Any]:
    return lambda self, *arguments, **named: self.retry(lambda: getattr(self._storage, name)(*arguments, **named))


for _name in vars(BaseStorage).keys() - vars(RetryingStorage).keys():
    if not _name.startswith("_"):
        setattr(RetryingStorage, _name, _retried(_name))
RetryingStorage.__abstractmethods__ = frozenset()


class OneObjective(RetryingStorage):
    """A study of several objectives as one that has this objective alone: Optuna reports and prunes in no other.

    Args:
        index: of the objective.
    """

    def __init__(self, storage: RetryingStorage, index: int) -> None:
        super().__init__(storage._storage, storage.retry)
        self.index = index

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return [self.retry(lambda: self._storage.get_study_directions(study_id))[self.index]]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._reduced(self.retry(lambda: self._storage.get_trial(trial_id)))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = self.retry(lambda: self._storage.get_all_trials(study_id, deepcopy, states))
        return [self._reduced(trial) for trial in trials]

    def _reduced(self, trial: FrozenTrial) -> FrozenTrial:
        reduced = copy(trial)
        reduced._values = None if trial._values is None else [trial._values[self.index]]
        return reduced


def outage_reason(error: BaseException) -> str | None:
    """Why a storage is out of reach, if that is the error or its cause; None for another error."""
    cause: BaseException | None = error
    while cause is not None:
        kind = type(cause)
        if isinstance(cause, OSError) and cause.errno in _DISK_ERRORS:
            return str(cause.strerror)
        if kind.__module__.startswith("sqlalchemy") and kind.__name__ in _DATABASE_ERRORS:
            return " ".join(str(getattr(cause, "orig", None) or cause).split())[:200]
        cause = cause.__cause__
    return None


def retry_of(study: optuna.Study) -> Retry:
    """The `Retry` of a study on a `RetryingStorage`."""
    return study._storage.retry  # type: ignore[attr-defined]


def system_attributes(study: optuna.Study) -> dict[str, Any]:
    return study._storage.get_study_system_attrs(study._study_id)


def set_system_attribute(study: optuna.Study, name: str, value: Any) -> None:
    study._storage.set_study_system_attr(study._study_id, name, value)


def whole_study(study: optuna.Study) -> optuna.Study:
    """The study that a sampler was given a part of."""
    return getattr(study, "_study", study)


def trial_id(trial: Trial | FrozenTrial) -> int:
    """The storage's own number of a trial."""
    return trial._trial_id


def set_attribute(study: optuna.Study, trial: Trial | FrozenTrial, name: str, value: Any) -> None:
    """Set a user attribute; from any thread, and of a trial that another process started."""
    study._storage.set_trial_user_attr(trial._trial_id, name, value)


def current(study: optuna.Study, trial: Trial | FrozenTrial) -> FrozenTrial:
    """A trial as it is in the storage now."""
    return study._storage.get_trial(trial._trial_id)


def take_over(study: optuna.Study, trial: FrozenTrial) -> Trial:
    """A running trial that another process started, to be closed here."""
    return Trial(study, trial._trial_id)


def tell(study: optuna.Study, number: int, state: TrialState, values: Sequence[float] | None) -> None:
    """Close a trial, unless it is closed."""
    try:
        study.tell(number, values, state=state, skip_if_finished=True)
    except UpdateFinishedTrialError:
        raise
    except RuntimeError:
        # The grid sampler stops the study after its last point, which is an error outside `Study.optimize`.
        if not isinstance(study.sampler, GridSampler):
            raise


_ALLOWED = {
    ("cmaes._cma", "CMA"),
    ("cmaes._sepcma", "SepCMA"),
    ("cmaes._cmawm", "CMAwM"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),  # NumPy 1
    ("numpy.core.multiarray", "scalar"),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def restrict_cmaes() -> None:
    """Give Optuna's CMA-ES sampler an unpickler that calls nothing else, in this process."""
    assert hasattr(_cmaes, "pickle"), "this version of Optuna restores CMA-ES in another way"
    _cmaes.pickle = SimpleNamespace(loads=_loads, dumps=pickle.dumps)  # type: ignore[assignment]


def _loads(data: bytes) -> Any:
    try:
        return _Unpickler(io.BytesIO(data)).load()
    except Exception as error:  # a damaged pickle can raise anything
        raise RunFailed(
            "hydra.sweeper.sampler: CMA-ES cannot continue this study: its attributes hold no optimizer of cmaes"
            f" ({' '.join(str(error).split())})"
        ) from error
