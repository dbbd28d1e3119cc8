"""What a config may call: for each node of the config the exact dotted names that its ``_target_`` may have.

There are no wildcards: ``torch.nn.*`` would admit functions that import files, and methods of classes. A name is
compared as the config has it, before anything is imported; then the object must be a subclass of the node's base, or
the listed function itself (`lightsweep.config.build`). All arguments are keywords.

Users name code that they trust in the environment, ``LIGHTSWEEP_TRUST=mypackage.*,other.Net``. It is read
here, before Hydra starts: no config and no override can grant trust. Trusted names are allowed in every node, may be
functions, and may have trusted names below them.

Left out on purpose: Lightning's LambdaCallback, OnExceptionCheckpoint, SpikeDetection, BatchSizeFinder,
LearningRateFinder, ThroughputMonitor and ModelPruning, which call their arguments or write to any path; its
Comet, MLFlow, Neptune and W&B loggers, which connect to servers; Ray's launchers that start machines.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_VARIABLE = "LIGHTSWEEP_TRUST"
_ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\.\*)?")


@dataclass(frozen=True)
class AllowedNode:
    """What a node of the config may name.

    Args:
        base: dotted name of the class that all of `classes` are or derive from.
        partial: the node may have ``_partial_``.
    """

    base: str
    classes: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    partial: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.classes, *self.functions)


def _named(package: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{package}.{name}" for name in names)


_OPTIMIZERS = (
    *_named("torch.optim", "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon"),
    *_named("torch.optim", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD", "SparseAdam"),
    "lightsweep.training.optimization.KerasRMSprop",
)
_CALLBACKS = (
    *_named("pytorch_lightning.callbacks", "DeviceStatsMonitor", "EMAWeightAveraging", "EarlyStopping"),
    *_named("pytorch_lightning.callbacks", "GradientAccumulationScheduler", "LearningRateMonitor", "ModelCheckpoint"),
    *_named("pytorch_lightning.callbacks", "ModelSummary", "RichModelSummary", "RichProgressBar"),
    *_named("pytorch_lightning.callbacks", "StochasticWeightAveraging", "TQDMProgressBar", "Timer"),
    "lightsweep.training.callbacks.WeightAverage",
    "lightsweep.training.checkpoints.BestCheckpoint",
    "lightsweep.training.loggers.Graph",
    "lightsweep.training.loggers.Histograms",
    "lightsweep.reports.scored_run.RunFigures",
    "lightsweep.training.callbacks.LearningRateMonitor",
    "lightsweep.training.callbacks.ProgressLine",
)
_LAUNCHERS = (
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
    "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher",
)
_SWEEPERS = (
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
    "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper",
    "hydra_plugins.lightsweep_sweeper.LightsweepSweeper",
)
_SAMPLERS = AllowedNode(
    "optuna.samplers.BaseSampler",
    classes=(
        *_named("optuna.samplers", "BruteForceSampler", "CmaEsSampler", "GPSampler", "GridSampler", "NSGAIISampler"),
        *_named("optuna.samplers", "NSGAIIISampler", "PartialFixedSampler", "QMCSampler", "RandomSampler"),
        "optuna.samplers.TPESampler",
        "lightsweep.sweeper.auto.AutoSampler",
    ),
    functions=_named("hydra_plugins.hydra_optuna_sweeper._impl", "create_nsgaii_sampler", "create_nsgaiii_sampler"),
    partial=True,  # the grid sampler's points are found later
)
_PRUNERS = AllowedNode(
    "optuna.pruners.BasePruner",
    classes=(
        *_named("optuna.pruners", "HyperbandPruner", "MedianPruner", "NopPruner", "PatientPruner", "PercentilePruner"),
        *_named("optuna.pruners", "SuccessiveHalvingPruner", "ThresholdPruner", "WilcoxonPruner"),
        "lightsweep.sweeper.auto.AutoPruner",
    ),
)

BATCH_FUNCTIONS = ("lightsweep.app.populations.train_batch",)  # hydra.sweeper.batch_function

NODES: Mapping[str, AllowedNode] = {
    "model": AllowedNode("torch.nn.Module", classes=_named("lightsweep.nets", "CNN", "MLP", "ResMLP")),
    "optimizer": AllowedNode("torch.optim.Optimizer", classes=_OPTIMIZERS, partial=True),
    "scheduler": AllowedNode(
        "builtins.dict",  # what they return; there is no class
        functions=_named("lightsweep.training.optimization", "constant", "cosine", "plateau", "step"),
        partial=True,
    ),
    "data": AllowedNode(
        "lightsweep.data.module.ImageDataModule",
        classes=(
            "lightsweep.data.datasets.CIFAR10DataModule",
            "lightsweep.data.datasets.CIFAR100DataModule",
            "lightsweep.data.datasets.DigitsDataModule",
            "lightsweep.data.datasets.FakeDataModule",
            "lightsweep.data.image_folder.ImageFolderDataModule",
        ),
    ),
    "data.augment": AllowedNode("lightsweep.data.transforms.Augment", classes=("lightsweep.data.transforms.Augment",)),
    "callbacks.*": AllowedNode("pytorch_lightning.callbacks.Callback", classes=_CALLBACKS),
    "logger.*": AllowedNode(
        "pytorch_lightning.loggers.Logger",
        classes=_named("pytorch_lightning.loggers", "CSVLogger", "TensorBoardLogger"),
        functions=_named("lightsweep.training.loggers", "mlflow_logger", "wandb_logger"),
    ),
    "trainer": AllowedNode("pytorch_lightning.Trainer", classes=("pytorch_lightning.Trainer",)),
    "hydra.callbacks.*": AllowedNode(
        "hydra.experimental.callback.Callback", classes=("lightsweep.runs.saved_config.ConfigFirst",)
    ),
    "hydra.launcher": AllowedNode("hydra.plugins.launcher.Launcher", classes=_LAUNCHERS),
    "hydra.sweeper": AllowedNode("hydra.plugins.sweeper.Sweeper", classes=_SWEEPERS),
    "hydra.sweeper.sampler": _SAMPLERS,
    "hydra.sweeper.sampler.base_sampler": _SAMPLERS,
    "hydra.sweeper.sampler.independent_sampler": _SAMPLERS,
    "hydra.sweeper.pruner": _PRUNERS,
    "hydra.sweeper.pruner.wrapped_pruner": _PRUNERS,
}


@dataclass(frozen=True)
class PathArguments:
    """Arguments of a target that together are one path, which must be in the run's folder unless it is typed.

    Args:
        parts: each below the one before it: ``save_dir/name/version``. The first is relative to the working directory.
        own: the only other path that is allowed without typing, our default, below the outputs' folder. A database
            in the run's folder would be of another user.
    """

    parts: tuple[str, ...]
    own: str | None = None


PATHS: Mapping[str, tuple[PathArguments, ...]] = {
    "pytorch_lightning.callbacks.ModelCheckpoint": (PathArguments(("dirpath", "filename")),),
    "pytorch_lightning.loggers.CSVLogger": (PathArguments(("save_dir", "name", "version")),),
    "pytorch_lightning.loggers.TensorBoardLogger": (
        PathArguments(("save_dir", "name", "version", "sub_dir", "filename_suffix")),
    ),
    "lightsweep.training.checkpoints.BestCheckpoint": (PathArguments(("dirpath",)),),
    "lightsweep.training.loggers.mlflow_logger": (PathArguments(("store",), own="mlruns"), PathArguments(("run_dir",))),
    "lightsweep.training.loggers.wandb_logger": (PathArguments(("run_dir",)),),
}

# Arguments by which a run would send data elsewhere, with the only value that is allowed without typing.
FIXED: Mapping[str, Mapping[str, object]] = {
    "lightsweep.training.loggers.wandb_logger": {"offline": True},
}

# The names of all these arguments.
GUARDED = frozenset(
    (
        *(argument for paths in PATHS.values() for path in paths for argument in path.parts),
        *(argument for fixed in FIXED.values() for argument in fixed),
    )
)

# Targets that pass further arguments on to another library may be given these only.
ARGUMENTS: Mapping[str, frozenset[str]] = {
    "pytorch_lightning.loggers.TensorBoardLogger": frozenset(
        (
            *("save_dir", "name", "version", "log_graph", "default_hp_metric", "prefix", "sub_dir", "filename_suffix"),
            *("flush_secs", "max_queue"),
        )
    ),
}


def find_node(path: Sequence[str]) -> AllowedNode | None:
    """What the node at ``("callbacks", "checkpoint")`` may name; None where no object is allowed. No node of ours has a
    key with a dot in it."""
    if any("." in part for part in path):
        return None
    return NODES.get(".".join(path)) or NODES.get(".".join((*path[:-1], "*")))


def is_trusted(name: str) -> bool:
    """Does LIGHTSWEEP_TRUST name this object or module, or a package that it is in?"""
    return any(name == entry or (entry.endswith(".*") and f"{name}.".startswith(entry[:-1])) for entry in TRUSTED)


def describe_trust(name: str) -> str:
    """How a user lets a config call something."""
    value = ",".join((*TRUSTED, name)) if _ENTRY.fullmatch(name) else "NAME"  # who made the config chose the name
    return f"if you trust that code, {_VARIABLE}={value} in the environment lets a config call it (docs/own_code.md)"


def read_trusted(text: str) -> tuple[str, ...]:
    """Trusted names, separated by commas: ``mypackage.*`` or exact ones."""
    entries = tuple(entry.strip() for entry in text.split(",") if entry.strip())
    for entry in entries:
        if not _ENTRY.fullmatch(entry) or "." not in entry:
            raise SystemExit(f"{_VARIABLE} must be names such as mypackage.* or mypackage.Net, got {entry!r}")
    return entries


TRUSTED = read_trusted(os.environ.get(_VARIABLE, ""))

# What Hydra itself may call for a config: its callbacks, and trusted functions.
HYDRA = (*NODES["hydra.callbacks.*"].names, *TRUSTED)
