"""The callback that prunes a trial in any Lightning app, whether it imports lightning.pytorch or pytorch_lightning."""

import importlib
import math
import sys
from functools import cache
from typing import Any

from lightsweep.sweeper.job import current_trial

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


class _Pruning:
    """Reports a metric after each validation, and ends the trial where the pruner says so; nothing outside a sweep.

    The step that is reported is the epoch, from 1; where an epoch has several validations, it is their count. A metric
    of training is reported at the end of each epoch. Each rank ends where the first one is told to.

    Args:
        monitor: the name under which the metric is logged, such as ``val/acc``.

    Raises:
        optuna.TrialPruned: the trial ends here.
        ValueError: training ends, and the metric was never logged.
    """

    def __init__(self, monitor: str) -> None:
        super().__init__()
        self.monitor = monitor
        self.validations = 0
        self.is_validated = False  # rather than measured in training
        self._before: Any = None

    @property
    def state_key(self) -> str:
        return f"PruningCallback{{'monitor': {self.monitor!r}}}"

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self.validations, "is_validated": self.is_validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.validations, self.is_validated = state_dict["validations"], state_dict["is_validated"]

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self._before = trainer.callback_metrics.get(self.monitor)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self.validations += 1
        value = trainer.callback_metrics.get(self.monitor)
        # What was there before is of training, and has not changed.
        if value is not None and (self.is_validated or self._before is None or bool(value != self._before)):
            self.is_validated = True
            within_epoch = (trainer.val_check_batch or math.inf) < trainer.num_training_batches
            self._report(trainer, self.validations if within_epoch else trainer.current_epoch + 1, value)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        value = trainer.callback_metrics.get(self.monitor)
        if value is not None and not self.is_validated:
            self._report(trainer, trainer.current_epoch + 1, value)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        if self.monitor not in trainer.callback_metrics and not trainer.fast_dev_run:
            logged = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
            raise ValueError(f"PruningCallback: monitor={self.monitor} was never logged; logged: {logged}")

    def _report(self, trainer: Any, step: int, value: Any) -> None:
        import optuna

        trial, message = current_trial(), None
        if trainer.is_global_zero:
            try:
                trial.report(float(value), step)
            except optuna.TrialPruned as error:
                message = str(error)
        # Other ranks are processes of their own, which know of no trial.
        if message := trainer.strategy.broadcast(message):
            raise optuna.TrialPruned(message)


@cache
def _with_bases(*bases: type) -> type:
    made = type("PruningCallback", (_Pruning, *bases), {"__doc__": _Pruning.__doc__, "__module__": "lightsweep"})
    made.__qualname__ = "PruningCallback"
    return made


def pruning_callback() -> type:
    """The class for the Lightning that this process uses: the one that is imported, both, else the one that is there.

    Raises:
        ImportError: neither is installed.
    """
    used = [name for name in _PACKAGES if name in sys.modules] or [_installed()]
    return _with_bases(*(importlib.import_module(name).Callback for name in used))


def _installed() -> str:
    for name in _PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        return name
    raise ImportError("lightsweep.PruningCallback needs Lightning: pip install lightning (or pytorch-lightning)")
