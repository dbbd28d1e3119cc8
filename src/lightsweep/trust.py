"""What a config may call. A config, a saved run or a checkpoint from somebody else is data: it cannot run code.

The list is narrow on purpose: ``torch.*`` would let a config load pickles and run a shell, and of our own package only
the classes and functions that a config is meant to name are on it.

A person who trusts a package of his own says so in the environment, ``LIGHTSWEEP_TRUST=mypackage.*``, which is
read here, before Hydra starts: no config and no override can grant trust.
"""

import os

_OWN = tuple(entry.strip() for entry in os.environ.get("LIGHTSWEEP_TRUST", "").split(",") if entry.strip())

WHITELIST = (
    *_OWN,
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
    "lightsweep.checkpoints.BestCheckpoint",
    "lightsweep.data.augment.Augment",
    "lightsweep.data.cifar10.CIFAR10DataModule",
    "lightsweep.data.digits.DigitsDataModule",
    "lightsweep.run_folder.ConfigFirst",
)
