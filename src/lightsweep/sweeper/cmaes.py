"""Optuna's CMA-ES sampler without its trust in a study.

It keeps its state pickled in a study's trials and unpickles what it finds there: with a study from somebody else, that
runs any command. Here nothing but cmaes' own optimizers and arrays can come out of such a pickle.
"""

import io
import pickle
from types import SimpleNamespace
from typing import Any

from optuna.samplers import _cmaes

from lightsweep.core.errors import RunFailed

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


def restrict() -> None:
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
