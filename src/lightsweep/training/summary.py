"""Before training: the memory that a network takes, computed before it is allocated; the device; what a run prints."""

import logging
import platform
import resource
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

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

_TRIED = 2  # images that go through; BatchNorm wants two
_STAND_IN = 1000  # units of a layer by which an optimizer is measured
_OURS = "lightsweep.nets."
_CPU = torch.device("cpu")


class Footprint(NamedTuple):
    """Bytes: of the weights, of as many gradients, of the optimizer's state, of what the backward pass needs of an
    image, and of an image's largest features."""

    parameters: int
    weights: float
    gradients: float
    states: float
    kept: float = 0.0
    largest: float = 0.0

    @property
    def standing(self) -> float:
        """What is there all the time."""
        return self.weights + self.states

    @property
    def checkpoint(self) -> float:
        """What is put together in memory before it is written, when the gradients are gone."""
        return self.weights + self.states

    def __str__(self) -> str:
        weights, states, gradients, checkpoint = map(
            memory.format_bytes, (self.weights, self.states, self.gradients, self.checkpoint)
        )
        return (
            f"{self.parameters:,} parameters (weights {weights}, the optimizer's state {states}, gradients {gradients}"
            f" or, after them, a checkpoint {checkpoint}) need"
        )


def check_memory(
    description: Description,
    optimizer: partial,
    *,
    batches: Sequence[int],
    precision: Any,
    accelerator: Any,
) -> None:
    """Check that a network can be trained in the available memory. A user's own network is not checked: its
    constructor may do anything, and would do it twice.

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
    found = _scaled(_measured(description, optimizer), str(precision))
    on_cpu = accelerator == "cpu" or not torch.accelerator.is_available()
    here = found.standing if on_cpu else 0.0
    memory.require("model", here + max(found.gradients, found.checkpoint), str(found))
    free = memory.available() if on_cpu else _of_largest_accelerator()
    memory.require("model", found.standing + found.gradients, str(found), free)
    train, scored = batches
    rule = "the network and what {:,} images become in it need"
    training = found.standing + found.gradients + train * found.kept
    memory.require("data.batch_size", training, rule.format(train), free)
    memory.require("data.eval_batch_size", found.standing + scored * found.largest, rule.format(scored), free)


def measure_footprint(net: nn.Module, optimizer: partial, *, input_shape: Sequence[int]) -> Footprint:
    """Of a network that lies on the meta device, in float32."""
    parameters = list(net.parameters())
    count = sum(tensor.numel() for tensor in parameters)
    weights = sum(tensor.nbytes for tensor in [*parameters, *net.buffers()])
    gradients = sum(tensor.nbytes for tensor in parameters if tensor.requires_grad)
    found = Footprint(count, weights, gradients, gradients * _states_of_a_weight(optimizer))
    if found.standing > memory.available():  # the rest would take long to find, and change nothing
        return found
    kept, largest = _features(net, input_shape)
    return found._replace(kept=kept, largest=largest)


def _measured(description: Description, optimizer: partial) -> Footprint:
    try:
        with torch.device("meta"):
            net = description.build_net()
            return measure_footprint(net, optimizer, input_shape=description.input_shape)
    except (ConfigError, RuntimeError) as error:
        if not memory.is_exhausted(error.__cause__ or error):
            raise
        raise ConfigError("model must fit into memory: it has more weights than 64 bits can count") from error


def _states_of_a_weight(optimizer: partial) -> float:
    """How many numbers the optimizer keeps for each weight after its first step."""
    stand_in = nn.Linear(_STAND_IN, _STAND_IN, bias=False, device="meta")
    stand_in.weight.grad = torch.empty_like(stand_in.weight)
    try:
        made = optimization.build_optimizer(optimizer, stand_in, decay_all=True, may_fuse=False)
        made.step()
    except Exception:  # a value out of its range, which is refused elsewhere, or an optimizer that knows no meta device
        return 0.0
    kept = [value for value in made.state[stand_in.weight].values() if isinstance(value, Tensor)]
    return sum(value.nbytes for value in kept) / stand_in.weight.nbytes


def _features(net: nn.Module, input_shape: Sequence[int]) -> tuple[float, float]:
    """What is kept of an image for the backward pass, and the most that one layer makes of it."""
    own = {tensor.untyped_storage()._cdata for tensor in [*net.parameters(), *net.buffers()]}
    storages: dict[int, torch.UntypedStorage] = {}  # views share one
    outputs: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            storages[storage._cdata] = storage
        return tensor

    hooks = [layer.register_forward_hook(lambda *said: outputs.append(said[2].nbytes)) for layer in net.modules()]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net(torch.empty(_TRIED, *input_shape, device="meta"))
    for hook in hooks:
        hook.remove()
    return sum(storage.nbytes() for storage in storages.values()) / _TRIED, max(outputs) / _TRIED


def _scaled(found: Footprint, precision: str) -> Footprint:
    """Sizes in this precision, at the least: under a mixed one only some features have 16 bits."""
    weight = {"64-true": 2.0, "16-true": 0.5, "bf16-true": 0.5}.get(precision, 1.0)
    feature = 0.5 if "16" in precision else weight
    sizes = (found.weights * weight, found.gradients * weight, found.states * weight)
    return Footprint(found.parameters, *sizes, found.kept * feature, found.largest * feature)


def _of_largest_accelerator() -> float:
    if not torch.cuda.is_available():
        return float("inf")
    return max(torch.cuda.get_device_properties(index).total_memory for index in range(torch.cuda.device_count()))


def count_parameters(net: nn.Module) -> dict[str, int]:
    """`params`, the trainable ones, and `params_keras`, Keras's ``count_params()``, with BatchNorm's running mean and
    variance."""
    every = sum(parameter.numel() for parameter in net.parameters())
    running = sum(
        buffer.numel() for name, buffer in net.named_buffers() if name.endswith(("running_mean", "running_var"))
    )
    trainable = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    return {"params": trainable, "params_keras": every + running}


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the processor's with the number of torch's threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'s' if threads > 1 else ''}"


def describe_hardware(device: torch.device = _CPU) -> dict[str, Any]:
    """What result.json says of the machine: the device, and bytes of memory at most."""
    return {"device": device_name(device), **peak_memory(device)}


def peak_memory(device: torch.device) -> dict[str, int]:
    """Bytes: the largest resident set of this process so far, and of the accelerator's memory where there is one."""
    unit = 1 if sys.platform == "darwin" else 1024
    memory = {"peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if device.type == "cuda":
        memory["peak_device_memory"] = torch.cuda.max_memory_allocated(device)
    return memory


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


log = logging.getLogger(__name__)

_NAMED = 5  # classes, in a line
_NAME = 20  # letters of a class's name
_COARSE = 0.5  # points of accuracy that one validation image may be worth
_FEW_STEPS = 5  # of the optimizer, an epoch
_PARTS = {"train": "training", "val": "validation", "test": "test"}


class StartSummary(Callback):
    """Logs the summary when training starts: then the Trainer knows its batches and its device.

    Args:
        data: set up.
        network: the name of its class.
        parameters: how many are trained.
    """

    def __init__(self, data: ImageDataModule, *, network: str, parameters: int) -> None:
        self.data, self.network, self.parameters = data, network, parameters

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        labels = {part: self.data.labels(part) for part in _PARTS}
        batches, steps = int(trainer.num_training_batches), _steps(trainer)
        log.info("data: %s, %s", self.data.title, _data(labels, self.data.class_names))
        log.info(
            "an epoch: %s; network: %s, %s parameters; device: %s",
            _epoch(batches, self.data.batch_size, len(labels["train"]) // trainer.world_size),
            self.network,
            f"{self.parameters:,}",
            device_name(pl_module.device),
        )
        for line in (*few_images(labels, self.data.class_names), *few_steps(steps, self.data.batch_size)):
            log.warning("%s", line)


def few_images(labels: dict[str, np.ndarray], class_names: tuple[str, ...]) -> list[str]:
    """Where one image more or less moves a score a lot. `labels` are ``int64 [N]`` of each part."""
    lines = []
    validating = len(labels["val"])
    if 0 < validating < 100 / _COARSE:
        lines.append(f"{_count(validating, 'validation image')}: one is {100 / validating:.1f} points of accuracy")
    for part, numbers in labels.items():
        counts = np.bincount(numbers, minlength=len(class_names))
        few = [f"{_short(class_names[label])} ({counts[label]})" for label in np.flatnonzero(counts < 2)]
        if len(numbers) and few:
            lines.append(f"fewer than two {_PARTS[part]} images: {_some(few)}")
    return lines


def few_steps(steps: int, batch_size: int) -> list[str]:
    """Where an epoch has too few steps of the optimizer to learn from."""
    if steps >= _FEW_STEPS:
        return []
    return [f"an epoch has {_count(steps, 'step')}: a smaller data.batch_size (now {batch_size}) makes more"]


def _data(labels: dict[str, np.ndarray], class_names: tuple[str, ...]) -> str:
    sizes = ", ".join(f"{len(numbers):,} {_PARTS[part]}" for part, numbers in labels.items())
    return f"images: {sizes}; {_count(len(class_names), 'class', 'es')}: {_some([*map(_short, class_names)])}"


def _epoch(batches: int, batch_size: int, images: int) -> str:
    """`images` is what a process has of the training part."""
    dropped = images - min(images, batches * batch_size)
    unused = f", {_count(dropped, 'image')} dropped" if dropped else ""
    return f"{_count(batches, 'batch', 'es')} of {min(batch_size, images):,}{unused}"


def _steps(trainer: pl.Trainer) -> int:
    return -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)


def _short(name: str) -> str:
    return shorten(name, _NAME)


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:_NAMED])} and {more} more"


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number:,} {noun if number == 1 else noun + plural}"
