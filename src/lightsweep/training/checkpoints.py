"""Checkpoints: tensors and plain dicts only, replaced in one step, and enough in them to rebuild the network."""

import logging
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint, WeightAveraging
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from lightsweep.core import checks
from lightsweep.core.errors import ConfigError
from lightsweep.core.files import is_inside, replace_atomically
from lightsweep.core.moved import with_new_names
from lightsweep.core.text import printable
from lightsweep.data.decode import NO_PIXELS
from lightsweep.data.normalization import Normalization
from lightsweep.nets import build_network
from lightsweep.runs import saved_config
from lightsweep.runs.run_folder import BEST_CHECKPOINT, LAST_CHECKPOINT, find_initial_weights, is_follower

log = logging.getLogger(__name__)

_PRECISIONS = ("16", "16-true", "16-mixed", "bf16", "bf16-true", "bf16-mixed", "32", "32-true", "64", "64-true")
_SHORT, _SHARE = 0.5, 0.1  # seconds that a checkpoint may take after each epoch; a longer one's share of the time
_PREFIX = re.compile(r"(net\.)?(_orig_mod\.)?")  # of a LightningModule, of a network that was compiled


@dataclass(frozen=True)
class Description:
    """What a checkpoint keeps to rebuild the network: its config node, the data's shape and classes, and how an image
    of any size becomes an input: `resize` (a name from `data.decode.RESIZES`), then the normalisation."""

    model: dict[str, Any]
    input_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    normalization: Normalization
    resize: str

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.input_shape[1:]

    @property
    def grayscale(self) -> bool:
        """Whether an input is gray, not coloured.

        Raises:
            ConfigError: it is neither; no image file is like that.
        """
        channels = self.input_shape[0]
        if channels not in (1, 3):
            raise ConfigError(f"the network takes images with {channels} channels; image files have 1 or 3")
        return channels == 1

    def require_pixels(self) -> None:
        """Check that it is known how pixels become inputs.

        Raises:
            ConfigError: it is not.
        """
        if self.resize == NO_PIXELS:
            raise ConfigError(
                "this network was trained on float images of a user data module without mean and std"
                " (docs/own_code.md): image files cannot be turned into its inputs"
            )

    def as_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "input_shape": list(self.input_shape),
            "class_names": list(self.class_names),
            "mean": self.normalization.mean,
            "std": self.normalization.std,
            "resize": self.resize,
        }

    def build_net(self) -> nn.Module:
        """A fresh network with initial weights, built under the allowlist."""
        return build_network(self.model, self.input_shape, len(self.class_names))


@dataclass(frozen=True)
class Trained:
    """A network with its trained weights, in eval mode on the CPU, and what it needs to see images as in training.

    `epoch` counts from 1; 0 means not trained yet, or an ensemble. `precision` is that of its training, as the Trainer
    names it.
    """

    net: nn.Module
    description: Description
    epoch: int
    precision: str


def load(path: Path) -> Trained:
    """Rebuild a network from a checkpoint file alone.

    Raises:
        ConfigError: the file is missing, damaged, or no checkpoint of lightsweep. It is never unpickled freely.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        saved = content["lightsweep"]
        model = OmegaConf.create(with_new_names(saved["model"]))
        saved_config.add_missing_keys(model)
        description = Description(
            dict(OmegaConf.to_container(model)),  # type: ignore[arg-type]
            tuple(saved["input_shape"]),
            tuple(saved["class_names"]),
            Normalization(saved["mean"], saved["std"]),
            saved.get("resize", "squash"),  # older ones lack it
        )
        weights = {key.removeprefix("net."): value for key, value in content["state_dict"].items()}
        _check_types(description)
        epoch = content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        if type(epoch) is not int or not 0 <= epoch < 2**31:
            raise ValueError(f"its number of epochs is {epoch}")
        precision = str(saved.get("precision", "32-true"))  # older ones lack it
        if precision not in _PRECISIONS:
            raise ValueError(f"its precision is {precision}")
    except Exception as error:  # torch raises whatever a damaged file provokes
        raise ConfigError(f"{path} is no checkpoint of lightsweep ({' '.join(str(error).split())[:200]})") from error
    net = description.build_net()
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(f"{path} has weights of another network ({' '.join(str(error).split())[:200]})") from error
    return Trained(net.eval(), description, epoch, precision)


def _check_types(description: Description) -> None:
    """Check the types of what the network and its input are built from: the file is not trusted."""
    shape, names = description.input_shape, description.class_names
    if len(shape) != 3 or not all(type(size) is int and size > 0 for size in shape):
        raise ValueError(f"input_shape is {shape}")
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"class_names are {str(names)[:50]}")
    for name in ("mean", "std"):
        value = getattr(description.normalization, name)
        if not (isinstance(value, torch.Tensor) and value.is_floating_point() and value.device.type == "cpu"):
            raise ValueError(f"{name} is no tensor of numbers")
        torch.broadcast_shapes(value.shape, shape)
        if not set(value.shape) <= {1, *shape}:
            raise ValueError(f"{name} is for images of {tuple(value.shape)}")
    if not isinstance(description.resize, str):
        raise ValueError(f"resize is {description.resize}")


def load_initial_weights(source: Any, net: nn.Module) -> None:
    """Copy the weights that fit into a network, and log the others.

    Args:
        source: a run's folder, or a file: a checkpoint, or a plain state_dict.

    Raises:
        ConfigError: the file is missing or damaged, or nothing of it fits.
    """
    path, saved = find_initial_weights(source), read_weights(source)
    fitting, own = fitting_weights(saved, net), net.state_dict()
    if not fitting:
        raise ConfigError(f"init_from: no weight in {path} has the name and the shape of one of this network")
    net.load_state_dict(fitting, strict=False)
    if is_follower():
        return
    report = f"init_from: {len(fitting)} of {len(own)} tensors from {path}"
    for title, tensors in (("not used", saved), ("keeps its initial values", own)):
        others = [f"{name} {list(tensor.shape)}" for name, tensor in tensors.items() if name not in fitting]
        report += f"; {title}: {', '.join(others)}" if others else ""
    log.info("%s", printable(report))


def fitting_weights(saved: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """The saved tensors whose names and shapes a network has; none if no parameter is among them."""
    own = net.state_dict()
    fitting = {name: tensor for name, tensor in saved.items() if name in own and tensor.shape == own[name].shape}
    return fitting if any(name in fitting for name, _ in net.named_parameters()) else {}


def read_weights(source: Any) -> dict[str, Tensor]:
    """The tensors of a run's best checkpoint, or of a file.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    path = find_initial_weights(source)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        weights = content.get("state_dict", content)
        return {_PREFIX.sub("", name, 1): weight for name, weight in weights.items() if isinstance(weight, Tensor)}
    except Exception as error:  # torch raises whatever a damaged file provokes
        raise ConfigError(f"init_from: {path} is no checkpoint ({' '.join(str(error).split())[:200]})") from error


def put_averaged_weights(checkpoint: dict[str, Any], trainer: pl.Trainer) -> None:
    """Put averaged weights, if there are any, into a checkpoint of weights only; Lightning does so in the others."""
    if "optimizer_states" in checkpoint:
        return
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, WeightAveraging):
            callback.on_save_checkpoint(trainer, trainer.lightning_module, checkpoint)
            checkpoint.pop("current_model_state", None)
            checkpoint.pop("averaging_state", None)


def is_in_folders(path: Any, folders: Iterable[Path]) -> bool:
    """Whether a path is in one of the folders; not the address of a remote file."""
    if not isinstance(path, str) or path == "" or "://" in path or "::" in path:
        return False
    return any(is_inside(Path(path), folder) for folder in folders)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a temporary file in the same folder, and renames it. Lightning's own writes to the system's temporary
    folder and copies from there: the copy of a killed process is incomplete.

    Args:
        folders: only checkpoints in these are deleted. Lightning deletes the files that a loaded checkpoint, which may
            be from another person, names as older ones.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        super().__init__()
        self.folders = tuple(folders)

    def remove_checkpoint(self, path: Any) -> None:
        if is_in_folders(str(path), self.folders):
            Path(path).unlink(missing_ok=True)  # checkpoints are never folders here
        else:
            log.warning("%s is no checkpoint of this run: not deleted", printable(str(path)))

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_checkpoint(checkpoint, Path(path))


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint in one step; its folder is made."""
    buffer = BytesIO()  # written directly to a full disk, torch raises an error that does not name the cause
    torch.save(content, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_atomically(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


class _OneCheckpoint(ModelCheckpoint):
    """A file that is replaced by a better or later one, always at the end of an epoch: right after a validation the
    epoch is not counted yet, and not every epoch is validated."""

    def __init__(self, folder: Path | str, name: str, **arguments: Any) -> None:
        arguments |= {"save_top_k": 1, "save_on_train_epoch_end": True, "enable_version_counter": False}
        super().__init__(folder, filename=Path(name).stem, **arguments)
        self.path = Path(str(self.dirpath)) / name

    @property
    def state_key(self) -> str:
        return type(self).__name__


class LastCheckpoint(_OneCheckpoint):
    """last.ckpt at the start of training and after every epoch. (ModelCheckpoint's own `save_last` skips epochs that
    did not improve.)

    Where it takes long, as for a large network on a fast device, it comes so seldom that it costs a tenth of the time;
    the last epoch always has it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, LAST_CHECKPOINT)
        self._not_before = 0.0  # of time.monotonic

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if trainer.global_step == 0:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        started = time.monotonic()
        is_due = started >= self._not_before or trainer.should_stop or _is_last_epoch(trainer)
        if not trainer.strategy.reduce_boolean_decision(is_due, all=False):  # all processes save, or none does
            return
        super().on_train_epoch_end(trainer, pl_module)
        if (took := time.monotonic() - started) > _SHORT:
            self._not_before = started + took / _SHARE

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass  # the file's name never changes, and the folder's is not the saved one after a move


def _is_last_epoch(trainer: pl.Trainer) -> bool:
    return trainer.current_epoch + 1 == trainer.max_epochs or trainer.global_step == trainer.max_steps


class BestCheckpoint(_OneCheckpoint):
    """best.ckpt: replaced whenever the monitored metric is better than before; of equal epochs the first is kept.

    Args:
        dirpath: the folder.
        monitor: a metric's name.
        mode: max or min.
        keep_last: whether a trial of a sweep keeps last.ckpt beside it when it has ended (`app.steps`).
    """

    def __init__(self, *, dirpath: str, monitor: str, mode: str, keep_last: bool) -> None:
        checks.flag("callbacks.checkpoint.keep_last", keep_last)
        # Weights only: a run resumes from last.ckpt, and the optimizer's state is twice as large.
        super().__init__(dirpath, BEST_CHECKPOINT, monitor=monitor, mode=mode, save_weights_only=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.monitor in trainer.callback_metrics:  # not every epoch is validated
            super().on_train_epoch_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the score to beat, also in a run's folder that was moved meanwhile."""
        score = state_dict["best_model_score"]
        if score is None or state_dict["monitor"] != self.monitor:
            return
        self.best_model_score = self.kth_value = self.current_score = score
        self.best_model_path = self.kth_best_model_path = str(self.path)
        self.best_k_models = {str(self.path): score}
