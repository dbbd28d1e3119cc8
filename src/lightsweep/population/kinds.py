"""Which runs a population can hold, and which of them fit into one together.

Everything that a run's config can say is either refused here, or equal within a population, or the member's own.
"""

import json
from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightsweep.app.validation import RunConfig

_TARGET = "_target_"
_NETS = ("lightsweep.nets.MLP", "lightsweep.nets.networks.MLP")
_DATA = "lightsweep.data."
_ELEMENTWISE = ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop")
_OPTIMIZERS = (
    *(f"torch.optim.{name}" for name in _ELEMENTWISE),
    "lightsweep.training.optimization.KerasRMSprop",
)
_SCHEDULES = tuple(f"lightsweep.training.optimization.{name}" for name in ("constant", "step", "cosine", "plateau"))
_AVERAGE = "lightsweep.training.callbacks.WeightAverage"
_LR_MONITOR = "lightsweep.training.callbacks.LearningRateMonitor"
_CALLBACKS = (
    "pytorch_lightning.callbacks.EarlyStopping",
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
    "lightsweep.training.checkpoints.BestCheckpoint",
    "lightsweep.training.callbacks.ProgressLine",
    "lightsweep.reports.scored_run.RunFigures",
    _LR_MONITOR,
    _AVERAGE,
)
_LOGGERS = ("TensorBoardLogger", "CSVLogger")
_PRECISIONS = ("32-true", "32", 32, "bf16-mixed")
# Of the trainer's keys, the values that mean what a population does. All others are alone.
_TRAINER: Mapping[str, tuple[Any, ...]] = {
    "devices": (1, "1", "auto"),
    "strategy": ("auto",),
    "num_nodes": (1,),
    "precision": _PRECISIONS,
    "gradient_clip_algorithm": (None, "norm"),
    "check_val_every_n_epoch": (1,),
    "limit_train_batches": (None, 1.0),
    "limit_val_batches": (None, 1.0),
    "num_sanity_val_steps": (0,),
    "inference_mode": (None, True),
}
_FREE_IN_TRAINER = {"max_epochs", "min_epochs", "gradient_clip_val"}
_ANY_IN_TRAINER = {
    *(_TARGET, "accelerator", "accumulate_grad_batches", "deterministic", "benchmark"),
    *("enable_progress_bar", "enable_model_summary", "log_every_n_steps"),
}
_FREE_IN_MODEL = {"dropout", "init", "head_init", "local"}
_FREE_IN_OPTIMIZER = {"lr", "weight_decay", "momentum", "betas", "eps", "alpha", "rho"}
# Changes of images that one operation makes are on together.
_CHANGES = (("flip",), ("crop",), ("shift", "scale", "rotate"), ("brightness", "contrast"), ("cutout",), ("mixup",))


def why_alone(config: "RunConfig") -> str | None:
    """Why no population can hold this run, in one line; None if one can."""
    return next(_reasons(config), None)


def kind_of(config: "RunConfig") -> Hashable:
    """What runs of one population have in common. `why_alone` must be None."""
    augment = config.data["augment"]
    equal = {
        "model": _without(config.model, _FREE_IN_MODEL),
        "data": _without(config.data, {"seed", "augment"}),
        "changes": [any(augment[name] for name in names) for names in _CHANGES],
        "fill": augment["fill"],
        "optimizer": _without(config.optimizer, _FREE_IN_OPTIMIZER),
        "trainer": _without(config.trainer, _FREE_IN_TRAINER),
        "decay_all": config.decay_all,
        "threads": config.threads,
        "average": any(node.get(_TARGET) == _AVERAGE for node in config.callbacks.values()),
    }
    return json.dumps(equal, sort_keys=True, default=str)


def shapes_of(config: "RunConfig") -> Mapping[str, Any]:
    """What the memory of a network in training follows from, beside its data: of numbers that only scale something,
    whether they are 0."""
    model = {name: bool(value) if name in _FREE_IN_MODEL else value for name, value in config.model.items()}
    optimizer = {name: bool(value) if name in _FREE_IN_OPTIMIZER else value for name, value in config.optimizer.items()}
    hardware = [config.trainer["precision"], config.trainer["accelerator"]]
    return {"model": model, "optimizer": optimizer, "hardware": hardware}


def _reasons(config: "RunConfig") -> Iterator[str]:
    if config.model[_TARGET] not in _NETS:
        yield f"model: a population trains {_NETS[0]} only, got {config.model[_TARGET]}"
    if not str(config.data[_TARGET]).startswith(_DATA):
        yield f"data: a population needs one of lightsweep's data sets, got {config.data[_TARGET]}"
    elif config.data["augment"]["noise"] and not config.data["augment"]["noise_redraw"]:
        yield "data.augment.noise_redraw: a population draws noise anew for each batch, got false"
    if config.optimizer[_TARGET] not in _OPTIMIZERS:
        yield f"optimizer: a population does not support {config.optimizer[_TARGET]}"
    if str(config.scheduler[_TARGET]) not in _SCHEDULES:
        yield f"scheduler: a population does not support {config.scheduler[_TARGET]}"
    for key in ("compile", "lr_find"):
        if getattr(config, key):
            yield f"{key}: a population does not support it, got true"
    yield from _reasons_in_trainer(config.trainer)
    yield from _reasons_in_callbacks(config)


def _reasons_in_trainer(trainer: Mapping[str, Any]) -> Iterator[str]:
    for name, value in trainer.items():
        if name in _TRAINER:
            if not any(
                type(value) is type(each) and value == each for each in _TRAINER[name]
            ):  # 1 is one batch, 1.0 all
                yield f"trainer.{name}: a population does not support {value!r}"
        elif value is not None and name not in _FREE_IN_TRAINER | _ANY_IN_TRAINER:
            yield f"trainer.{name}: a population does not support it, got {value!r}"
    if trainer["max_epochs"] in (None, -1):
        yield f"trainer.max_epochs: a population trains a number of epochs, got {trainer['max_epochs']}"


def _reasons_in_callbacks(config: "RunConfig") -> Iterator[str]:
    for name, node in config.callbacks.items():
        target = node.get(_TARGET)
        if target is None or node.get("in_trials") is False:
            continue
        if target not in _CALLBACKS:
            yield f"callbacks.{name}: {target} needs a Trainer of its own"
        elif node.get("keep_last"):
            yield f"callbacks.{name}.keep_last: a population writes the best weights only, got true"
        elif target == _LR_MONITOR and node.get("logging_interval") == "step" and config.logger:
            yield f"callbacks.{name}.logging_interval: a population logs once an epoch, got step"
    for name, node in config.logger.items():
        target = str(node.get(_TARGET, f".{_LOGGERS[0]}"))
        if target.rpartition(".")[2] not in _LOGGERS:
            yield f"logger.{name}: a population logs to TensorBoard and CSV, got {target}"


def _without(node: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in node.items() if name not in names}
