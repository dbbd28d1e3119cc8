"""A user data module: a LightningDataModule that the user wrote, used like an `ImageDataModule` (docs/own_code.md).

Its loaders are read once, for the classes and the shape of an image. Images are ``float [B, C, H, W]`` as the network
is to see them, or ``uint8``, which are brought to [-1, 1] here.
"""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import RandomSampler

from lightsweep.config.build import build, config_error
from lightsweep.core import checks
from lightsweep.core.errors import ConfigError
from lightsweep.core.text import printable
from lightsweep.data.arrays import Traits
from lightsweep.data.decode import NO_PIXELS, RESIZES
from lightsweep.data.loader import seed_everything
from lightsweep.data.module import ImageDataModule
from lightsweep.data.normalization import Normalization, symmetric_normalization
from lightsweep.runs import data_record

log = logging.getLogger(__name__)

_LOADERS = {"train": "train_dataloader", "val": "val_dataloader", "test": "test_dataloader"}
_PIXEL = 255.0


def build_data(node: Any) -> Any:
    """The data module that the config's node data names: one of lightsweep's, or the user's.

    Raises:
        ConfigError: it may not be called, or lacks what is needed.
    """
    made = build(node, "data")
    return made if isinstance(made, ImageDataModule) else UserData(made)


def check_batch(batch: Any, key: str) -> tuple[Tensor, Tensor]:
    """Images and targets, these as ``int64 [B]`` or ``float [B, K]``.

    Raises:
        ConfigError: a batch is something else.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        kind = f"{type(batch).__name__} of {len(batch)}" if hasattr(batch, "__len__") else type(batch).__name__
        raise ConfigError(f"{key} must yield pairs (images, targets), got a {kind}")
    images, targets = batch
    image_like = isinstance(images, Tensor) and images.ndim == 4
    if not image_like or not (images.dtype == torch.uint8 or images.is_floating_point()):
        raise ConfigError(f"{key} must yield images float or uint8 [B, C, H, W], got {_form(images)}")
    numbers = isinstance(targets, Tensor) and targets.ndim == 1 and not targets.is_floating_point()
    shares = isinstance(targets, Tensor) and targets.ndim == 2 and targets.is_floating_point()
    if not (numbers or shares) or len(targets) != len(images):
        raise ConfigError(
            f"{key} must yield class numbers int64 [B] from 0, or shares float [B, K], got {_form(targets)}"
        )
    return images, targets.long() if numbers else targets.float()


def _form(value: Any) -> str:
    if not isinstance(value, Tensor):
        return repr(type(value).__name__)
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


class UserBatches:
    """A loader's batches as ``float32 [B, C, H, W]`` and targets, on the CPU unless a device is named."""

    def __init__(self, loader: Any, key: str, normalization: Normalization, device: torch.device | None = None) -> None:
        self.loader, self.key, self.normalization, self.device = loader, key, normalization, device

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.loader:
            images, targets = check_batch(batch, self.key)
            if self.device is not None:  # to be scored, where each image counts for one class
                targets = targets if targets.ndim == 1 else targets.argmax(1)
                images, targets = images.to(self.device), targets.to(self.device)
            is_pixels = images.dtype == torch.uint8
            yield (self.normalization.to(images.device)(images) if is_pixels else images.float()), targets

    def set_epoch(self, epoch: int) -> None:
        """For a sampler that needs it, as a distributed one."""
        for sampler in (getattr(self.loader, "sampler", None), getattr(self.loader, "batch_sampler", None)):
            if callable(set_epoch := getattr(sampler, "set_epoch", None)):
                set_epoch(epoch)


class UserData(pl.LightningDataModule):
    """Has the methods of an `ImageDataModule`.

    Args:
        inner: the user data module.
    """

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner, self.title = inner, printable(f"{type(inner).__module__}.{type(inner).__qualname__}")
        lacking = [name for name in ("train_dataloader", "val_dataloader") if not _has(inner, name)]
        if lacking:
            rule = "be a LightningDataModule with train_dataloader and val_dataloader"
            raise ConfigError(f"data must {rule}: {self.title} lacks {' and '.join(lacking)}")
        self.parts = [part for part, loader in _LOADERS.items() if _has(inner, loader)]
        self._loaders: dict[str, Any] = {}
        self._labels: dict[str, np.ndarray] = {}

    def preview(self) -> Traits | None:
        """Always None: only the loaders have what a network follows from."""
        return None

    def setup(self, stage: str | None = None) -> None:
        """Prepare the module and read its loaders once; a second call does nothing.

        Raises:
            ConfigError: what they give cannot be used.
        """
        if self._labels:
            return
        seed_everything(0)  # a split or an order that is drawn here is the same at each start
        for method, arguments in (("prepare_data", ()), ("setup", ("fit",)), ("setup", ("test",))):
            if method in dir(self.inner) and (arguments != ("test",) or "test" in self.parts):
                self._call(method, *arguments)
        self._loaders = {part: self._loader(part) for part in self.parts}
        images, targets = self._first("train")
        self.input_shape = tuple(images.shape[1:])
        self.batch_size = len(images)
        self._labels = {part: self._read_labels(part) for part in self.parts}
        self.class_names = self._class_names(targets)
        for part, labels in self._labels.items():
            self._check_labels(part, labels)
        self.indices = {part: np.arange(len(self.labels(part))) for part in _LOADERS}
        self.class_weights = torch.ones(self.num_classes)
        self.normalization, self.resize = self._pixels(images)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def batches(self) -> tuple[int, int]:
        return self.batch_size, max(len(self._first(part)[0]) for part in self.parts)

    def scored_parts(self, *, test: bool) -> tuple[str, ...]:
        """As of `ImageDataModule`. Train is scored as its loader gives it."""
        if test and "test" not in self.parts:
            log.info("%s has no test_dataloader, so there will be no test score", self.title)
        return ("train", "val", "test") if test and "test" in self.parts else ("train", "val")

    def labels(self, part: str) -> np.ndarray:
        """Class numbers ``int64`` of train, val or test; of train in any order."""
        return self._labels.get(part, np.empty(0, dtype=np.int64))

    def fingerprint(self) -> data_record.Fingerprint:
        """What the data are made of, as far as labels and the shape of the images show it."""
        pixel, parts = np.zeros((), dtype=np.uint8), {}
        for part, indices in self.indices.items():
            labels = np.sort(self.labels(part)) if part == "train" else self.labels(part)
            parts[part] = np.broadcast_to(pixel, (len(labels), *self.input_shape)), labels, indices
        return data_record.fingerprint_arrays(self.title, parts, self.class_names)

    def images(self, part: str, chosen: np.ndarray) -> np.ndarray:
        """Images ``uint8 [n, C, H, W]`` to look at, the chosen ones (``int64 [n]``) of val or test."""
        found = np.empty((len(chosen), *self.input_shape), dtype=np.uint8)
        start = 0
        for images, _ in self._batches(part):
            here = np.flatnonzero((chosen >= start) & (chosen < start + len(images)))
            values = images[torch.from_numpy(chosen[here] - start)]
            found[here] = (values if values.dtype == torch.uint8 else self.normalization.undo(values)).numpy()
            start += len(images)
        return found

    def eval_loader(self, part: str, device: torch.device, *, rank: int = 0, world_size: int = 1) -> UserBatches:
        """All images that the part's loader gives, on the device."""
        return UserBatches(self._loaders[part], self._key(part), self.normalization, device)

    def train_dataloader(self) -> UserBatches:
        self.inner.trainer = self.trainer
        return UserBatches(self._loaders["train"], self._key("train"), self.normalization)

    def val_dataloader(self) -> UserBatches:
        return UserBatches(self._loaders["val"], self._key("val"), self.normalization)

    def check_shares(self, processes: int) -> None:
        """Raises: ConfigError: several processes would each train on all images."""
        rule = f"be 1 with the data module {self.title}, whose loaders do not divide the images among processes"
        checks.require(processes == 1, "trainer.devices", rule, processes)

    def check_batches_of_one(self, processes: int) -> None:
        """Raises: ConfigError: BatchNorm would get a batch of a single image."""
        last = len(self.labels("train")) - self.batch_size * (len(self._loaders["train"]) - 1)
        if 1 in (self.batch_size, last):
            raise ConfigError(
                f"{self._key('train')} gives a batch of one image, which BatchNorm cannot train on: drop_last=True"
            )

    def _key(self, part: str) -> str:
        return f"data: {self.title}.{_LOADERS[part]}"

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self.inner, method)(*arguments)
        except Exception as error:  # the user's code can raise anything
            raise config_error(error, f"data: {self.title}.{method} failed: {type(error).__name__}") from error

    def _loader(self, part: str) -> Any:
        loader, key = self._call(_LOADERS[part]), self._key(part)
        if isinstance(loader, list | tuple | dict):
            raise ConfigError(f"{key} must give one loader, got a {type(loader).__name__}")
        try:
            empty = len(loader) == 0
        except TypeError as error:  # of an IterableDataset
            raise ConfigError(f"{key} must give a loader that has a length, got {type(loader).__name__}") from error
        if empty:
            raise ConfigError(f"{key} gives no batch")
        if part != "train" and isinstance(getattr(loader, "sampler", None), RandomSampler):
            raise ConfigError(f"{key} must not shuffle: its images are scored, and named, in their order")
        return loader

    def _batches(self, part: str) -> Iterator[tuple[Tensor, Tensor]]:
        key = self._key(part)
        try:
            for batch in self._loaders[part]:
                images, targets = check_batch(batch, key)
                if part != "train" and targets.ndim == 2:
                    raise ConfigError(f"{key} must yield class numbers int64 [B] from 0: shares are for training only")
                yield images, targets
        except (ConfigError, OSError, MemoryError):
            raise
        except Exception as error:
            raise config_error(error, f"{key} failed: {type(error).__name__}") from error

    def _first(self, part: str) -> tuple[Tensor, Tensor]:
        return next(self._batches(part))

    def _read_labels(self, part: str) -> np.ndarray:
        found = [targets if targets.ndim == 1 else targets.argmax(1) for _, targets in self._batches(part)]
        return torch.cat(found).numpy()

    def _class_names(self, targets: Tensor) -> tuple[str, ...]:
        dataset = getattr(self._loaders["train"], "dataset", None)
        given = [getattr(each, name, None) for each in (self.inner, dataset) for name in ("class_names", "classes")]
        named = next((names for names in given if isinstance(names, list | tuple) and names), None)
        if named is not None:
            return tuple(printable(str(name)) for name in named)
        count = getattr(self.inner, "num_classes", None)
        if not isinstance(count, int):
            largest = max(int(labels.max()) for labels in self._labels.values())
            count = targets.shape[1] if targets.ndim == 2 else largest + 1
        return tuple(map(str, range(count)))

    def _check_labels(self, part: str, labels: np.ndarray) -> None:
        if self.num_classes < 2:
            raise ConfigError(f"{self._key(part)} must have images of two classes at least, got {self.num_classes}")
        if labels.min() < 0 or labels.max() >= self.num_classes:
            rule = f"must yield class numbers from 0 to {self.num_classes - 1}"
            raise ConfigError(f"{self._key(part)} {rule}, got {labels.min()} to {labels.max()}")

    def _pixels(self, images: Tensor) -> tuple[Normalization, str]:
        """How pixels become inputs, and how image files are resized; for float images only if the module has mean and
        std."""
        resize = getattr(self.inner, "resize", None)
        resize = resize if resize in RESIZES else RESIZES[0]
        if images.dtype == torch.uint8:
            return symmetric_normalization(), resize
        mean, std = getattr(self.inner, "mean", None), getattr(self.inner, "std", None)
        if mean is not None and std is not None:
            return self._given_normalization(mean, std), resize
        low, high = float(images.min()), float(images.max())
        scale = _PIXEL / ((high - low) or 1.0)  # a guess, to look at them
        return Normalization(torch.full((1, 1, 1), -low * scale), torch.full((1, 1, 1), scale)), NO_PIXELS

    def _given_normalization(self, mean: Any, std: Any) -> Normalization:
        try:
            tensors = [torch.as_tensor(each, dtype=torch.float32).reshape(-1, 1, 1) * _PIXEL for each in (mean, std)]
            fits = all(len(each) in (1, self.input_shape[0]) for each in tensors) and bool((tensors[1] > 0).all())
        except (TypeError, ValueError, RuntimeError):
            fits = False
        rule = f"have a mean and a std of pixels in [0, 1], one number or {self.input_shape[0]} each, std above 0"
        checks.require(fits, f"data: {self.title}", rule, (mean, std))
        return Normalization(*tensors)


def _has(module: Any, name: str) -> bool:
    """Whether the module defines a loader; those of Lightning's base class only raise."""
    method = getattr(type(module), name, None)
    return callable(method) and not str(method.__module__).startswith(("pytorch_lightning.", "lightning."))
