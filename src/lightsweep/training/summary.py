"""Before training: the memory that a network needs, measured before it is allocated; the hardware; a logged summary."""

import logging
import platform
import resource
import sys
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from lightsweep.core import memory
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import shorten
from lightsweep.data.module import ImageDataModule
from lightsweep.training import optimization
from lightsweep.training.checkpoints import Description
from lightsweep.training.classifier import Classifier

_TRIED = 2  # images in the measured batch; BatchNorm needs two
_STAND_IN = 1000  # units of the layer on which an optimizer is measured
_OURS = "lightsweep.nets."
_CPU = torch.device("cpu")


class Footprint(NamedTuple):
    """Bytes: of the weights, their gradients, the optimizer's state, and per image of what is kept for the backward
    pass and of the largest features."""

    parameters: int
    weights: float
    gradients: float
    states: float
    kept: float = 0.0
    largest: float = 0.0

    @property
    def permanent(self) -> float:
        """Allocated all the time. A checkpoint needs as much again, when the gradients are freed."""
        return self.weights + self.states

    def __str__(self) -> str:
        sizes = (self.weights, self.states, self.gradients, self.permanent)
        weights, states, gradients, checkpoint = map(memory.format_bytes, sizes)
        return (
            f"{self.parameters:,} parameters (weights {weights}, the optimizer's state {states}, gradients {gradients}"
            f" or, after them, a checkpoint {checkpoint}) need"
        )


def check_memory(
    description: Description, optimizer: partial, *, batches: Sequence[int], precision: Any, accelerator: Any
) -> None:
    """Check that a network can be trained in the available memory. A user's own network is not checked: its
    constructor, which may do anything, would run twice.

    Args:
        batches: images a training step, and images a forward pass when scoring.
        precision, accelerator: as the Trainer names them.

    Raises:
        ConfigError: it cannot, or the network refuses its arguments.
    """
    classes = len(description.class_names)
    memory.require("data", 3 * 8 * classes**2, f"counts of {classes:,} true by {classes:,} predicted classes need")
    if not str(description.model.get("_target_")).startswith(_OURS):
        return
    try:
        with torch.device("meta"):
            net = description.build_net()
            measured = measure_footprint(net, optimizer, input_shape=description.input_shape)
    except (ConfigError, RuntimeError) as error:
        if not memory.is_exhausted(error.__cause__ or error):
            raise
        raise ConfigError("model must fit into memory: it has more weights than 64 bits can count") from error
    found = _scale(measured, str(precision))
    on_cpu = accelerator == "cpu" or not torch.accelerator.is_available()
    memory.require("model", found.permanent * on_cpu + max(found.gradients, found.permanent), str(found))
    free = memory.available() if on_cpu else _largest_accelerator_memory()
    training = found.permanent + found.gradients
    memory.require("model", training, str(found), free)
    train, scored = batches
    rule = "the network and the features of {:,} images need"
    memory.require("data.batch_size", training + train * found.kept, rule.format(train), free)
    memory.require("data.eval_batch_size", found.permanent + scored * found.largest, rule.format(scored), free)


def measure_footprint(net: nn.Module, optimizer: partial, *, input_shape: Sequence[int]) -> Footprint:
    """The footprint of a network on the meta device, in float32."""
    parameters = list(net.parameters())
    count = sum(tensor.numel() for tensor in parameters)
    weights = sum(tensor.nbytes for tensor in [*parameters, *net.buffers()])
    gradients = sum(tensor.nbytes for tensor in parameters if tensor.requires_grad)
    found = Footprint(count, weights, gradients, gradients * _count_states(optimizer))
    if found.permanent > memory.available():  # refused in any case, and the rest would take long to measure
        return found
    kept, largest = _measure_features(net, input_shape)
    return found._replace(kept=kept, largest=largest)


def _count_states(optimizer: partial) -> float:
    """How many numbers the optimizer keeps for each weight after its first step."""
    stand_in = nn.Linear(_STAND_IN, _STAND_IN, bias=False, device="meta")
    stand_in.weight.grad = torch.empty_like(stand_in.weight)
    try:
        made = optimization.build_optimizer(optimizer, stand_in, decay_all=True, may_fuse=False)
        made.step()
    except Exception:  # a value out of range, which is refused elsewhere, or an optimizer without the meta device
        return 0.0
    kept = [value for value in made.state[stand_in.weight].values() if isinstance(value, Tensor)]
    return sum(value.nbytes for value in kept) / stand_in.weight.nbytes


def _measure_features(net: nn.Module, input_shape: Sequence[int]) -> tuple[float, float]:
    """Bytes that are kept of an image for the backward pass, and those of the largest output of a layer."""
    own = {tensor.untyped_storage()._cdata for tensor in [*net.parameters(), *net.buffers()]}
    storages: dict[int, torch.UntypedStorage] = {}  # views share one
    outputs: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            storages[storage._cdata] = storage
        return tensor

    hooks = [layer.register_forward_hook(lambda *call: outputs.append(call[2].nbytes)) for layer in net.modules()]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net(torch.empty(_TRIED, *input_shape, device="meta"))
    for hook in hooks:
        hook.remove()
    return sum(storage.nbytes() for storage in storages.values()) / _TRIED, max(outputs) / _TRIED


def _scale(found: Footprint, precision: str) -> Footprint:
    """The sizes in this precision, at least: with a mixed one only some features have 16 bits."""
    weight = {"64-true": 2.0, "16-true": 0.5, "bf16-true": 0.5}.get(precision, 1.0)
    feature = 0.5 if "16" in precision else weight
    sizes = (found.weights * weight, found.gradients * weight, found.states * weight)
    return Footprint(found.parameters, *sizes, found.kept * feature, found.largest * feature)


def _largest_accelerator_memory() -> float:
    devices = range(torch.cuda.device_count())
    return max((torch.cuda.get_device_properties(index).total_memory for index in devices), default=float("inf"))


def count_parameters(net: nn.Module) -> dict[str, int]:
    """`params`, the trainable ones, and `params_keras`, Keras's ``count_params()``, with BatchNorm's running mean and
    variance."""
    running = [each for name, each in net.named_buffers() if name.endswith(("running_mean", "running_var"))]
    trainable = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    return {"params": trainable, "params_keras": sum(each.numel() for each in [*net.parameters(), *running])}


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the processor's with the number of torch's threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    threads = torch.get_num_threads()
    return f"{_processor_name()}, {_count(threads, 'thread')}"


def describe_hardware(device: torch.device = _CPU) -> dict[str, Any]:
    """The hardware in result.json: the device, the largest resident set of this process so far, and the most memory
    that was allocated on a GPU, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    on_device = {"peak_device_memory": torch.cuda.max_memory_allocated(device)} if device.type == "cuda" else {}
    return {"device": device_name(device), "peak_memory": peak, **on_device}


@cache
def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


log = logging.getLogger(__name__)

_CLASSES_SHOWN = 5  # in a line
_NAME_LENGTH = 20  # of a class, in characters
_COARSE = 0.5  # percentage points of accuracy that one validation image may count
_FEW_STEPS = 5  # of the optimizer in an epoch
_PARTS = {"train": "training", "val": "validation", "test": "test"}


class StartSummary(Callback):
    """Logs the summary when training starts: then the Trainer knows its batches and its device.

    Args:
        data: set up.
        network: the name of its class.
        parameters: the number of trainable ones.
    """

    def __init__(self, data: ImageDataModule, *, network: str, parameters: int) -> None:
        self.data, self.network, self.parameters = data, network, parameters

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            batches, steps = int(trainer.num_training_batches), cast(Classifier, pl_module).steps_per_epoch()
            self.log_summary(pl_module.device, batches=batches, steps=steps, processes=trainer.world_size)

    def log_summary(self, device: torch.device, *, batches: int, steps: int, processes: int = 1) -> None:
        """Log the summary of a run.

        Args:
            batches: of an epoch, in one of the `processes`; `steps` of the optimizer.
        """
        labels = {part: self.data.labels(part) for part in _PARTS}
        log.info("data: %s, %s", self.data.title, _describe_data(labels, self.data.class_names))
        log.info(
            "an epoch: %s; network: %s, %s parameters; device: %s",
            _describe_epoch(batches, self.data.batch_size, len(labels["train"]) // processes),
            self.network,
            f"{self.parameters:,}",
            device_name(device),
        )
        for line in (*few_images(labels, self.data.class_names), *few_steps(steps, self.data.batch_size)):
            log.warning("%s", line)


def few_images(labels: dict[str, np.ndarray], class_names: tuple[str, ...]) -> list[str]:
    """Warnings of parts in which a single image changes a score a lot. `labels` are ``int64 [N]`` of each part."""
    lines = []
    validating = len(labels["val"])
    if 0 < validating < 100 / _COARSE:
        lines.append(f"{_count(validating, 'validation image')}: one is {100 / validating:.1f} points of accuracy")
    for part, numbers in labels.items():
        counts = np.bincount(numbers, minlength=len(class_names))
        few = [f"{_short(class_names[label])} ({counts[label]})" for label in np.flatnonzero(counts < 2)]
        if len(numbers) and few:
            lines.append(f"fewer than two {_PARTS[part]} images: {_join(few)}")
    return lines


def few_steps(steps: int, batch_size: int) -> list[str]:
    """A warning of an epoch with few steps of the optimizer."""
    if steps >= _FEW_STEPS:
        return []
    return [f"an epoch has {_count(steps, 'step')}: a smaller data.batch_size (now {batch_size}) makes more"]


def _describe_data(labels: dict[str, np.ndarray], class_names: tuple[str, ...]) -> str:
    sizes = ", ".join(f"{len(numbers):,} {_PARTS[part]}" for part, numbers in labels.items())
    return f"images: {sizes}; {_count(len(class_names), 'class', 'es')}: {_join([*map(_short, class_names)])}"


def _describe_epoch(batches: int, batch_size: int, images: int) -> str:
    """`images`: of the training part in one process."""
    dropped = images - min(images, batches * batch_size)
    unused = f", {_count(dropped, 'image')} dropped" if dropped else ""
    return f"{_count(batches, 'batch', 'es')} of {min(batch_size, images):,}{unused}"


def _short(name: str) -> str:
    return shorten(name, _NAME_LENGTH)


def _join(names: list[str]) -> str:
    more = len(names) - _CLASSES_SHOWN
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:_CLASSES_SHOWN])} and {more} more"


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number:,} {noun if number == 1 else noun + plural}"
