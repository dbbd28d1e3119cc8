"""What a config may call. A config, a saved run or a checkpoint from somebody else is data: it cannot run code.

The list is narrow on purpose: ``torch.*`` would let a config load pickles and run a shell, and of our own package only
the classes and functions that a config is meant to name are on it.

A person who trusts a package of his own says so in the environment, ``LIGHTSWEEP_TRUST=mypackage.*``, which is
read here, before Hydra starts: no config and no override can grant trust.
"""

import os
import re

_VARIABLE = "LIGHTSWEEP_TRUST"
_ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\.\*)?")


def own_entries(text: str) -> tuple[str, ...]:
    """The names that a person trusts, separated by commas: a package's ``mypackage.*``, or exact ones."""
    entries = tuple(entry.strip() for entry in text.split(",") if entry.strip())
    for entry in entries:
        if not _ENTRY.fullmatch(entry) or "." not in entry:
            raise SystemExit(f"{_VARIABLE} must be names such as mypackage.* or mypackage.Net, got {entry!r}")
    return entries


WHITELIST = (
    *own_entries(os.environ.get(_VARIABLE, "")),
    "torch.nn.*",
    "torch.optim.*",
    "pytorch_lightning.Trainer",
    "pytorch_lightning.trainer.trainer.Trainer",
    "pytorch_lightning.callbacks.*",
    "pytorch_lightning.loggers.*",
    "lightsweep.nets.*",
    "lightsweep.schedules.*",
    "lightsweep.keras_rmsprop.KerasRMSprop",
    "lightsweep.progress.ProgressLine",
    "lightsweep.averaging.WeightAverage",
    "lightsweep.checkpoints.BestCheckpoint",
    "lightsweep.insight.run_figures.RunFigures",
    "lightsweep.insight.layers.Histograms",
    "lightsweep.insight.layers.Graph",
    "lightsweep.tracking.loggers.mlflow",
    "lightsweep.tracking.loggers.wandb",
    "lightsweep.data.augment.Augment",
    "lightsweep.data.cifar10.CIFAR10DataModule",
    "lightsweep.data.cifar100.CIFAR100DataModule",
    "lightsweep.data.digits.DigitsDataModule",
    "lightsweep.data.fake.FakeDataModule",
    "lightsweep.data.image_folder.ImageFolderDataModule",
    "lightsweep.run_folder.ConfigFirst",
)
