"""What the runs of one process have in common, made once: the data that they read, and callbacks to copy."""

import copy
import json
from typing import Any

from pytorch_lightning.callbacks import Callback

from lightsweep.app import steps
from lightsweep.app.jobs import Run
from lightsweep.app.validation import RunConfig
from lightsweep.data import user_data
from lightsweep.data.module import ImageDataModule
from lightsweep.runs.data_record import Fingerprint
from lightsweep.training import trainer

# What decides on the batches only, each an attribute of the data module.
_OF_BATCHES = ("seed", "augment", "batch_size", "eval_batch_size", "drop_last", "sampler")


class Shared:
    """For runs whose data modules are `lightsweep.data`'s, and whose callbacks `population.kinds` knows."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[ImageDataModule, Fingerprint]] = {}
        self._modules: dict[str, ImageDataModule] = {}  # with batches of their own
        self._callbacks: dict[str, list[Callback]] = {}

    def data(self, config: RunConfig) -> tuple[ImageDataModule, Fingerprint]:
        """The run's data module, set up, and what its data are made of.

        Raises:
            ConfigError: an argument is out of its range, or there are too few images.
        """
        key = _key({name: value for name, value in config.data.items() if name not in _OF_BATCHES})
        if key not in self._read:
            read = steps.read_data(config)
            self._read[key] = read, read.fingerprint()
        module, fingerprint = self._read[key]
        whole = _key(config.data)
        if whole not in self._modules:
            self._modules[whole] = _with_batches(module, user_data.build_data(config.data))
        return self._modules[whole], fingerprint

    def callbacks(self, config: RunConfig, opened: Run, *, has_logger: bool) -> list[Callback]:
        """The run's callbacks, as `trainer.build_callbacks` makes them; none of them knows the run's folder."""
        nodes = {name: {**node, "dirpath": None} for name, node in config.callbacks.items()}
        key = _key([nodes, has_logger, opened.is_trial])
        if key not in self._callbacks:
            options = {"has_logger": has_logger, "in_trial": opened.is_trial}
            self._callbacks[key] = trainer.build_callbacks(config.callbacks, opened.folder, **options)
        return copy.deepcopy(self._callbacks[key])


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _with_batches(module: ImageDataModule, wanted: Any) -> ImageDataModule:
    """The module with the batches of another one, which has not read its data."""
    own = copy.copy(module)
    for name in _OF_BATCHES:
        setattr(own, name, getattr(wanted, name))
    own.augment.check_size(*own.input_shape[1:])
    return own
