"""Checkpoints: tensors and plain dicts only, replaced in one step, and enough in them to rebuild the network."""

import logging
from collections.abc import Sequence
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

from lightsweep.core.errors import ConfigError
from lightsweep.core.files import is_inside, replace_atomically
from lightsweep.core.moved import with_new_names
from lightsweep.core.text import printable
from lightsweep.data.decode import NO_PIXELS
from lightsweep.data.transforms import Normalization
from lightsweep.nets import build_network
from lightsweep.runs import run_folder, saved_config
from lightsweep.runs.run_folder import BEST_CHECKPOINT, LAST_CHECKPOINT, find_initial_weights

log = logging.getLogger(__name__)

_PRECISIONS = ("16", "16-true", "16-mixed", "bf16", "bf16-true", "bf16-mixed", "32", "32-true", "64", "64-true")
_PREFIXES = ("net.", "_orig_mod.")  # of a LightningModule, of a network that was compiled


@dataclass(frozen=True)
class Description:
    """What a checkpoint says of itself: the network's config node, the data's shape and classes, and how an image of
    any size becomes an input: `resize` (a name from `data.decode.RESIZES`), then the normalisation."""

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
            ConfigError: it is neither, and no image file is like that.
        """
        channels = self.input_shape[0]
        if channels not in (1, 3):
            raise ConfigError(f"the network takes images with {channels} channels; image files have 1 or 3")
        return channels == 1

    def require_pixels(self) -> None:
        """See that it is known how pixels become inputs.

        Raises:
            ConfigError: it is not.
        """
        if self.resize == NO_PIXELS:
            raise ConfigError(
                "these weights saw float images of a data module of one's own, which did not say how pixels become such"
                " (mean and std, docs/own_code.md): nothing can be made of image files"
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
        """A fresh network with initial weights, built under the whitelist."""
        return build_network(self.model, self.input_shape, len(self.class_names))


@dataclass(frozen=True)
class Trained:
    """A network with its trained weights, in eval mode on the CPU, and what it needs to see images as in training.

    `epoch` counts from 1; 0 means not trained yet. `precision`, as the Trainer names it, is that of its training.
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
        noted = content["lightsweep"]
        description = Description(
            _with_todays_keys(noted["model"]),
            tuple(noted["input_shape"]),
            tuple(noted["class_names"]),
            Normalization(noted["mean"], noted["std"]),
            noted.get("resize", "squash"),  # older ones lack it
        )
        weights = {key.removeprefix("net."): value for key, value in content["state_dict"].items()}
        _check_kinds(description)
        epoch = epochs_finished(content)
        precision = str(noted.get("precision", "32-true"))  # older ones lack it
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


def _check_kinds(description: Description) -> None:
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


def _with_todays_keys(model: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's own node model, with the keys that came with a later version."""
    node = OmegaConf.create(with_new_names(model))
    saved_config.add_missing_keys(node)
    return dict(OmegaConf.to_container(node))  # type: ignore[arg-type]


def epochs_finished(checkpoint: dict[str, Any]) -> int:
    """How many epochs a Lightning checkpoint has behind it."""
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    if type(epochs) is not int or not 0 <= epochs < 2**31:
        raise ValueError(f"it has {epochs} epochs behind it")
    return epochs


def load_initial_weights(source: Any, net: nn.Module) -> None:
    """Copy what fits into a network, and say what was left out.

    Args:
        source: a run's folder, or a file: a checkpoint, or a plain state_dict.

    Raises:
        ConfigError: the file is missing or damaged, or nothing of it fits.
    """
    path, saved = find_initial_weights(source), read_weights(source)
    taken = fitting_weights(saved, net)
    if not taken:
        raise ConfigError(f"init_from: no weight in {path} has the name and the shape of one of this network")
    net.load_state_dict(taken, strict=False)
    if not run_folder.is_follower():
        log.info("%s", printable(_report(path, saved, net.state_dict(), taken)))


def fitting_weights(saved: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """What of the saved tensors a network can take; nothing where no weight is among it."""
    own = net.state_dict()
    taken = {name: tensor for name, tensor in saved.items() if name in own and tensor.shape == own[name].shape}
    return taken if any(name in taken for name, _ in net.named_parameters()) else {}


def read_weights(source: Any) -> dict[str, Tensor]:
    """The tensors of a run's best checkpoint, or of a file.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    path = find_initial_weights(source)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        weights = content.get("state_dict", content)
        return {_bare(name): weight for name, weight in weights.items() if isinstance(weight, Tensor)}
    except Exception as error:  # torch raises whatever a damaged file provokes
        raise ConfigError(f"init_from: {path} is no checkpoint ({' '.join(str(error).split())[:200]})") from error


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _report(path: Path, saved: dict[str, Tensor], own: dict[str, Tensor], fitting: dict[str, Tensor]) -> str:
    left_out = [f"{name} {list(saved[name].shape)}" for name in saved if name not in fitting]
    fresh = [f"{name} {list(own[name].shape)}" for name in own if name not in fitting]
    report = f"init_from: {len(fitting)} of {len(own)} tensors from {path}"
    report += f"; left out: {', '.join(left_out)}" if left_out else ""
    return report + (f"; stays fresh: {', '.join(fresh)}" if fresh else "")


def put_averaged_weights(checkpoint: dict[str, Any], trainer: pl.Trainer) -> None:
    """Put averaged weights, where there are any, into a checkpoint that holds weights only. (Lightning does so by
    itself only in checkpoints that hold everything.)"""
    if "optimizer_states" in checkpoint:
        return
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, WeightAveraging):
            callback.on_save_checkpoint(trainer, trainer.lightning_module, checkpoint)
            checkpoint.pop("current_model_state", None)
            checkpoint.pop("averaging_state", None)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a temporary file in the same folder, and renames it. Lightning's own writes to the system's temporary
    folder, from where the last step can be a copy, which is left incomplete if the process is killed.

    Args:
        folders: only checkpoints in these are deleted. Lightning deletes what an earlier checkpoint, which may be from
            another person, names as an older one.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        super().__init__()
        self.folders = tuple(folders)

    def remove_checkpoint(self, path: Any) -> None:
        file = Path(str(path))
        if "://" in str(path) or "::" in str(path) or not any(is_inside(file, each) for each in self.folders):
            log.warning("%s is no checkpoint of this run: not deleted", printable(str(path)))
            return
        file.unlink(missing_ok=True)  # checkpoints are never folders here

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        buffer = BytesIO()  # straight to a full disk, torch would raise an error that does not say so
        torch.save(checkpoint, buffer)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replace_atomically(Path(path)) as temporary:
            temporary.write_bytes(buffer.getbuffer())


class LastCheckpoint(ModelCheckpoint):
    """last.ckpt at the start of training and after every epoch. (ModelCheckpoint's own `save_last` skips epochs that
    did not improve.)"""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            filename=Path(LAST_CHECKPOINT).stem,
            monitor=None,
            save_top_k=1,
            save_on_train_epoch_end=True,  # also where not every epoch is validated
            enable_version_counter=False,
        )

    @property
    def state_key(self) -> str:
        return "LastCheckpoint"

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if trainer.global_step == 0:
            trainer.save_checkpoint(Path(str(self.dirpath)) / LAST_CHECKPOINT)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass  # nothing of it matters: the file's name never changes, even if the folder's did


class BestCheckpoint(ModelCheckpoint):
    """best.ckpt: replaced whenever the monitored metric is better than ever before, first come first kept.

    Args:
        dirpath: the folder.
        monitor: a metric's name.
        mode: max or min.
    """

    def __init__(self, *, dirpath: str, monitor: str, mode: str) -> None:
        super().__init__(
            dirpath,
            filename=Path(BEST_CHECKPOINT).stem,
            monitor=monitor,
            mode=mode,
            save_top_k=1,
            save_weights_only=True,  # a run goes on from last.ckpt; the optimizer's state is twice as large
            save_on_train_epoch_end=True,  # after a validation the epoch would not be counted yet
            enable_version_counter=False,
        )

    @property
    def state_key(self) -> str:
        return "BestCheckpoint"

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.monitor in trainer.callback_metrics:  # not every epoch is validated
            super().on_train_epoch_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the score to beat, also in a run's folder that was moved meanwhile."""
        path = str(Path(str(self.dirpath)) / BEST_CHECKPOINT)
        score = state_dict["best_model_score"]
        if score is None or state_dict["monitor"] != self.monitor:
            return
        self.best_model_score = self.kth_value = self.current_score = score
        self.best_model_path = self.kth_best_model_path = path
        self.best_k_models = {path: score}
