"""What Optuna and its official sweeper have no public way for; no other module reaches into them.

- Attributes of a study that dashboards do not show: `Study.system_attrs` is gone, storages still have them.
- A trial that another process began: `Trial` is made from the id that only the storage knows.
- CMA-ES keeps its state pickled in a study's trials and unpickles what it finds there: with a study from somebody else,
  that runs any command. `restrict_cmaes` lets nothing but cmaes' own optimizers and arrays come out of such a pickle.
- Hydra's search space grammar as Optuna's distributions: the official sweeper's own functions.
"""

import io
import pickle
from types import SimpleNamespace
from typing import Any

import optuna
from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl
from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides as create_params_from_overrides
from optuna.samplers import _cmaes
from optuna.storages.journal._file import BaseJournalFileLock as BaseJournalFileLock
from optuna.trial import FrozenTrial, Trial

from lightsweep.core.errors import RunFailed

grid_choices = OptunaSweeperImpl._to_grid_sampler_choices


def storage_of(study: optuna.Study) -> Any:
    return study._storage


def system_attributes(study: optuna.Study) -> dict[str, Any]:
    return study._storage.get_study_system_attrs(study._study_id)


def set_system_attribute(study: optuna.Study, name: str, value: Any) -> None:
    study._storage.set_study_system_attr(study._study_id, name, value)


def trial_id(trial: Trial | FrozenTrial) -> int:
    """The storage's own number of a trial."""
    return trial._trial_id


def set_attribute(study: optuna.Study, trial: Trial | FrozenTrial, name: str, value: Any) -> None:
    """Set a user attribute; from any thread, and of a trial that another process began."""
    study._storage.set_trial_user_attr(trial._trial_id, name, value)


def current(study: optuna.Study, trial: Trial | FrozenTrial) -> FrozenTrial:
    """A trial as it is in the storage now."""
    return study._storage.get_trial(trial._trial_id)


def take_over(study: optuna.Study, trial: FrozenTrial) -> Trial:
    """A running trial that another process began, to be told here."""
    return Trial(study, trial._trial_id)


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
    """Give Optuna's CMA-ES sampler an unpickler that calls nothing else, in this process. Again does nothing new."""
    assert hasattr(_cmaes, "pickle"), "this version of Optuna restores CMA-ES in another way"
    _cmaes.pickle = SimpleNamespace(loads=_loads, dumps=pickle.dumps)  # type: ignore[assignment]


def _loads(data: bytes) -> Any:
    try:
        return _Unpickler(io.BytesIO(data)).load()
    except Exception as error:  # a damaged pickle can raise anything
        raise RunFailed(
            f"hydra/sweeper/sampler=cmaes cannot go on with this study: what it keeps in it is no optimizer of cmaes"
            f" ({' '.join(str(error).split())})"
        ) from error
