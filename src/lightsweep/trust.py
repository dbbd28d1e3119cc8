"""What a config may call. A config, a saved run or a checkpoint from somebody else is data: it cannot run code.

The list is narrow on purpose: ``torch.*`` would let a config load pickles and run a shell, and of our own package only
the classes and functions that a config is meant to name are on it.
"""

WHITELIST = (
    "torch.nn.*",
    "torch.optim.*",
    "pytorch_lightning.Trainer",
    "pytorch_lightning.trainer.trainer.Trainer",
    "pytorch_lightning.callbacks.*",
    "pytorch_lightning.loggers.*",
    "lightsweep.nets.*",
    "lightsweep.schedules.*",
    "lightsweep.progress.ProgressLine",
    "lightsweep.checkpoints.BestCheckpoint",
    "lightsweep.data.augment.Augment",
    "lightsweep.data.cifar10.CIFAR10DataModule",
    "lightsweep.data.digits.DigitsDataModule",
    "lightsweep.run_folder.ConfigFirst",
)
