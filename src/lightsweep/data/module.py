"""The LightningDataModule that all data sets share: split, normalise, and loaders on the device."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from lightsweep import checks
from lightsweep.data import normalize as normalization_methods
from lightsweep.data import split as split_methods
from lightsweep.data.augment import Augment
from lightsweep.data.loader import EvalLoader, TrainLoader
from lightsweep.data.normalize import Normalization
from lightsweep.errors import ConfigError


@dataclass(frozen=True)
class ImageArrays:
    """A data set as it lies on disk: images ``uint8 [N, C, H, W]``, labels ``int64 [N]``."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]


class Traits(NamedTuple):
    """What a network follows from: an image's shape (C, H, W), the classes, and how pixels become inputs."""

    input_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    normalization: Normalization


class ImageDataModule(pl.LightningDataModule):
    """A data set is a subclass with one method, `read`. The arguments are explained in conf/data/_common.yaml.

    After `setup`: `input_shape` (C, H, W), `class_names`, `normalization`, and `indices`, which images of the training
    or test arrays belong to train, val and test.
    """

    def __init__(
        self,
        *,
        batch_size: int,
        eval_batch_size: int,
        drop_last: bool,
        val_fraction: float,
        split: str,
        split_seed: int,
        normalize: str,
        limit: int | None,
        seed: int,
        augment: Augment,
    ) -> None:
        super().__init__()
        checks.whole("data.batch_size", batch_size, "[1, inf)")
        checks.whole("data.eval_batch_size", eval_batch_size, "[1, inf)")
        checks.flag("data.drop_last", drop_last)
        checks.number("data.val_fraction", val_fraction, "(0, 1)")
        checks.choice("data.split", split, split_methods.METHODS)
        checks.whole("data.split_seed", split_seed, "[0, inf)")
        checks.choice("data.normalize", normalize, normalization_methods.METHODS)
        if limit is not None:
            checks.whole("data.limit", limit, "[1, inf)")
        self.batch_size, self.eval_batch_size, self.drop_last = batch_size, eval_batch_size, drop_last
        self.val_fraction, self.split, self.split_seed = val_fraction, split, split_seed
        self.normalize, self.limit, self.seed, self.augment = normalize, limit, seed, augment
        self.arrays: ImageArrays | None = None
        self._on_device: dict[tuple[torch.device, str], tuple[Tensor, Tensor]] = {}

    def foreseen(self) -> Traits | None:
        """Where data must be fetched first: what they will be like, with any names of the right number. Else None."""
        return None

    def read(self) -> ImageArrays:
        """Read the data set; called once."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        """Read, cut, split and measure; again does nothing.

        Raises:
            ConfigError: too few images for what was asked.
        """
        if self.arrays is not None:
            return
        arrays = self.read()
        labels = arrays.train_labels[: self.limit]
        least = 2 * len(arrays.class_names)
        checks.require(len(labels) >= least, "data.limit", f"be at least {least}, two images a class", self.limit)
        self._check_sizes(len(labels))
        try:
            train, val = split_methods.split(self.split, labels, self.val_fraction, self.split_seed)
        except ValueError as error:
            raise ConfigError(
                f"data.split={self.split} with data.val_fraction={self.val_fraction} and data.limit={self.limit}:"
                f" {error}"
            ) from error
        self.indices = {"train": train, "val": val, "test": np.arange(len(arrays.test_labels))}
        self.input_shape = arrays.train_images.shape[1:]
        self.class_names = arrays.class_names
        self.normalization: Normalization = normalization_methods.fit(self.normalize, arrays.train_images, train)
        self.arrays = arrays

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def labels(self, part: str) -> np.ndarray:
        """Class numbers ``int64`` of train, val or test."""
        assert self.arrays is not None, "call setup first"
        labels = self.arrays.test_labels if part == "test" else self.arrays.train_labels
        return labels[self.indices[part]]

    def images(self, part: str, places: np.ndarray) -> np.ndarray:
        """Images ``uint8 [n, C, H, W]`` as they lie on disk, at some places of train, val or test."""
        assert self.arrays is not None, "call setup first"
        images = self.arrays.test_images if part == "test" else self.arrays.train_images
        return images[self.indices[part][places]]

    def train_loader(self, device: torch.device, *, rank: int = 0, world_size: int = 1) -> TrainLoader:
        """Shuffled, augmented batches of the training part."""
        return TrainLoader(
            *self._tensors("train", device),
            normalization=self.normalization,
            augment=self.augment,
            batch_size=min(self.batch_size, len(self.indices["train"])),
            drop_last=self.drop_last,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
        )

    def eval_loader(self, part: str, device: torch.device, *, rank: int = 0, world_size: int = 1) -> EvalLoader:
        """All images of train, val or test once, in order, without augmentation."""
        return EvalLoader(
            *self._tensors(part, device),
            normalization=self.normalization,
            batch_size=self.eval_batch_size,
            rank=rank,
            world_size=world_size,
        )

    def train_dataloader(self) -> TrainLoader:
        return self.train_loader(**self._place())

    def val_dataloader(self) -> EvalLoader:
        return self.eval_loader("val", **self._place())

    def test_dataloader(self) -> EvalLoader:
        return self.eval_loader("test", **self._place())

    def check_shares(self, processes: int) -> None:
        """See that each of several processes has a batch to train on.

        Raises:
            ConfigError: it has not.
        """
        share = len(self.indices["train"]) // processes
        if self.drop_last and self.batch_size > share:
            raise ConfigError(
                f"data.batch_size must be at most {share}, the training images of each of {processes} processes, got"
                f" {self.batch_size} (data.drop_last=false makes such a batch the whole share)"
            )

    def _place(self) -> dict:
        trainer = self.trainer
        assert trainer is not None, "Lightning sets the trainer before it asks for loaders"
        return {
            "device": trainer.strategy.root_device,
            "rank": trainer.global_rank,
            "world_size": trainer.world_size,
        }

    def _tensors(self, part: str, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Images, targets and this part's indices. Images go to the device once, however many loaders read them."""
        assert self.arrays is not None, "call setup first"
        source = "test" if part == "test" else "train"
        if (device, source) not in self._on_device:
            images, labels = getattr(self.arrays, f"{source}_images"), getattr(self.arrays, f"{source}_labels")
            pair = torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)
            self._on_device[device, source] = pair
        return *self._on_device[device, source], torch.from_numpy(self.indices[part])

    def _check_sizes(self, count: int) -> None:
        val = split_methods.validating(count, self.val_fraction)
        train = count - val
        rule = f"leave at least one of {count} images to each part"
        checks.require(val > 0 and train > 0, "data.val_fraction", rule, self.val_fraction)
        if self.drop_last and self.batch_size > train:
            raise ConfigError(
                f"data.batch_size must be at most {train}, the number of training images, got {self.batch_size}"
                " (data.drop_last=false makes such a batch the whole set)"
            )
