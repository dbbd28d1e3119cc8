"""What the runs of one process have in common, made once: the data that they read, what is known of their networks, and
callbacks to copy."""

import copy
import json
from functools import cache
from typing import Any

from pytorch_lightning.callbacks import Callback

from lightsweep.app import jobs, steps
from lightsweep.app.jobs import Run
from lightsweep.app.validation import RunConfig
from lightsweep.data import user_data
from lightsweep.data.module import ImageDataModule
from lightsweep.population import kinds
from lightsweep.runs.data_record import Fingerprint
from lightsweep.training import trainer
from lightsweep.training.classifier import Classifier

# What decides on the batches only, each an attribute of the data module.
_OF_BATCHES = ("seed", "augment", "batch_size", "eval_batch_size", "drop_last", "sampler")
_OURS = "lightsweep.data."
_IN_A_WORKER = 1  # a trial alone with its data has all memory


class Shared:
    """Keeps data modules of `lightsweep.data`, and callbacks that `population.kinds` knows.

    Args:
        data_sets: how many are kept, the latest ones.
    """

    def __init__(self, data_sets: int) -> None:
        self._data_sets = data_sets
        self._read: dict[str, tuple[ImageDataModule, Fingerprint]] = {}
        self._modules: dict[str, ImageDataModule] = {}  # with batches of their own
        self._fitting: set[str] = set()  # what fits into memory
        self._callbacks: dict[str, list[Callback]] = {}

    def data(self, config: RunConfig) -> tuple[ImageDataModule, Fingerprint]:
        """The run's data module, set up, and what its data are made of.

        Raises:
            ConfigError: an argument is out of its range, or there are too few images.
        """
        key = _key({name: value for name, value in config.data.items() if name not in _OF_BATCHES})
        if key not in self._read:
            if len(self._read) == self._data_sets:
                self._read, self._modules = {}, {}  # before others are read
            read = steps.read_data(config)
            if not type(read).__module__.startswith(_OURS):  # a user's, which may keep anything
                return read, read.fingerprint()
            self._read[key] = read, read.fingerprint()
            self._modules[_key(config.data)] = read
        module, fingerprint = self._read[key]
        whole = _key(config.data)
        if whole not in self._modules:
            self._modules[whole] = _with_batches(module, user_data.build_data(config.data))
        return copy.copy(self._modules[whole]), fingerprint  # of which a Trainer makes its own

    def classifier(
        self, config: RunConfig, data: ImageDataModule, fingerprint: Fingerprint, *, resumed: bool
    ) -> Classifier:
        """As `steps.initial_classifier`. A network with the shapes of an earlier one is known to fit into memory."""
        key = _key([kinds.shapes_of(config), data.batches, data.input_shape, data.num_classes])
        made = steps.initial_classifier(config, data, fingerprint, resumed=resumed, fits=key in self._fitting)
        self._fitting.add(key)
        return made

    def callbacks(self, config: RunConfig, opened: Run, *, has_logger: bool) -> list[Callback]:
        """The run's callbacks, as `trainer.build_callbacks` makes them; none of them knows the run's folder."""
        nodes = {name: {**node, "dirpath": None} for name, node in config.callbacks.items()}
        key = _key([nodes, has_logger, opened.is_trial])
        if key not in self._callbacks:
            options = {"has_logger": has_logger, "in_trial": opened.is_trial}
            self._callbacks[key] = trainer.build_callbacks(config.callbacks, opened.folder, **options)
        return copy.deepcopy(self._callbacks[key])


@cache
def _of_worker() -> Shared:
    return Shared(_IN_A_WORKER)


def shared_by_run() -> Shared:
    """What the run that goes on shares: a job in a worker with the others there, any other run nothing."""
    return _of_worker() if jobs.is_in_worker() else Shared(1)


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _with_batches(module: ImageDataModule, wanted: Any) -> ImageDataModule:
    """The module with the batches of another one, which has not read its data."""
    own = copy.copy(module)
    for name in _OF_BATCHES:
        setattr(own, name, getattr(wanted, name))
    own.check_changes(own.loaded)
    return own
