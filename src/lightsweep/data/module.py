"""The LightningDataModule that all data sets share: split, normalise, and loaders on the device."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from lightsweep.core import checks, memory
from lightsweep.core.errors import ConfigError
from lightsweep.data import loader, transforms
from lightsweep.data import split as split_methods
from lightsweep.data.loader import EvalLoader, ImageStore, TrainLoader
from lightsweep.data.transforms import Augment, Normalization
from lightsweep.runs import data_record

log = logging.getLogger(__name__)

# data.json names the class by the module it was in first, so that earlier runs and studies have the same source.
_RECORDED_AS = {
    "lightsweep.data.cifar.CIFAR10DataModule": "lightsweep.data.cifar10.CIFAR10DataModule",
    "lightsweep.data.cifar.CIFAR100DataModule": "lightsweep.data.cifar100.CIFAR100DataModule",
    "lightsweep.data.builtin.DigitsDataModule": "lightsweep.data.digits.DigitsDataModule",
    "lightsweep.data.builtin.FakeDataModule": "lightsweep.data.fake.FakeDataModule",
}


@dataclass(frozen=True)
class ImageArrays:
    """A data set as it lies on disk: images ``uint8 [N, C, H, W]``, labels ``int64 [N]``.

    `parts` says which of the images belong to a part: `train` and `val` are places in the training arrays, `test` in
    the test arrays. A train or test that it does not name has all of its arrays; a val, a share of train.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)

    def of(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """The images and labels among which those of train, val or test are."""
        test = part == "test"
        return (self.test_images, self.test_labels) if test else (self.train_images, self.train_labels)


class Traits(NamedTuple):
    """What a network and its loss follow from: an image's shape (C, H, W), the classes, how images become inputs, and
    the loss weights of the classes; and `batches`, as of `ImageDataModule`, at the least."""

    input_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    normalization: Normalization
    resize: str
    class_weights: Tensor
    batches: tuple[int, int] = (1, 1)


class ImageDataModule(pl.LightningDataModule):
    """A data set is a subclass with one method, `read`. The arguments are explained in conf/data/_common.yaml.

    After `setup`: `input_shape` (C, H, W), `class_names`, `normalization`, `class_weights` (``float [K]``), and
    `indices`, which images of the training or test arrays belong to train, val and test; there may be none for test.
    `resize` is how an image of another size is brought to that shape.
    """

    resize = "squash"
    splits: tuple[str, ...] = split_methods.SPLITS

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
        max_per_class: int | None,
        class_weights: str | list[float] | None,
        sampler: str,
        seed: int,
        augment: Augment,
    ) -> None:
        super().__init__()
        checks.integer("data.batch_size", batch_size, "[1, inf)")
        checks.integer("data.eval_batch_size", eval_batch_size, "[1, inf)")
        checks.flag("data.drop_last", drop_last)
        checks.number("data.val_fraction", val_fraction, "(0, 1)")
        checks.choice("data.split", split, self.splits)
        checks.integer("data.split_seed", split_seed, f"[0, {split_methods.LARGEST_SEED}]")
        checks.choice("data.normalize", normalize, transforms.NORMALIZATIONS)
        if limit is not None:
            checks.integer("data.limit", limit, "[1, inf)")
        if max_per_class is not None:
            checks.integer("data.max_per_class", max_per_class, "[1, inf)")
        loader.check_class_weights(class_weights)
        checks.choice("data.sampler", sampler, loader.SAMPLERS)
        checks.integer("data.seed", seed, "[0, inf)")
        checks.require(isinstance(augment, Augment), "data.augment", "have keys of its own", augment)
        self.batch_size, self.eval_batch_size, self.drop_last = batch_size, eval_batch_size, drop_last
        self.val_fraction, self.split, self.split_seed = val_fraction, split, split_seed
        self.normalize, self.limit, self.seed, self.augment = normalize, limit, seed, augment
        self.max_per_class, self.wanted_weights, self.sampler = max_per_class, class_weights, sampler
        self.arrays: ImageArrays | None = None
        self._shelves: dict[tuple[torch.device, int], ImageStore] = {}

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
        self._check_noise(arrays.train_images)
        self.input_shape = arrays.train_images.shape[1:]
        self.augment.check_size(*self.input_shape[1:])
        self.class_names = arrays.class_names
        train, val = self._train_and_val(arrays)
        test = arrays.parts.get("test", np.arange(len(arrays.test_labels)))
        self.indices = {"train": train, "val": val, "test": test}
        self.class_weights = loader.class_weights(
            self.wanted_weights, arrays.train_labels[train], len(self.class_names)
        )
        self.normalization: Normalization = transforms.fit_normalization(self.normalize, arrays.train_images, train)
        self.arrays = arrays

    @property
    def title(self) -> str:
        """What a person calls this data set."""
        return type(self).__name__.removesuffix("DataModule")

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def batches(self) -> tuple[int, int]:
        """The most images of a training step, and of a forward pass when scoring."""
        train, *others = (len(self.indices[part]) for part in ("train", "val", "test"))
        return min(self.batch_size, train), min(self.eval_batch_size, max(train, *others))

    def scored_parts(self, *, test: bool) -> tuple[str, ...]:
        """The parts that a run scores at its end, with test data if that is wished and there are any."""
        if test and not len(self.indices["test"]):
            log.info("there is no test part, so there will be no test score")
            return "train", "val"
        return ("train", "val", "test") if test else ("train", "val")

    def labels(self, part: str) -> np.ndarray:
        """Class numbers ``int64`` of train, val or test."""
        assert self.arrays is not None, "call setup first"
        return self.arrays.of(part)[1][self.indices[part]]

    def images(self, part: str, places: np.ndarray) -> np.ndarray:
        """Images ``uint8 [n, C, H, W]`` as they lie on disk, at some places of train, val or test."""
        assert self.arrays is not None, "call setup first"
        return self.arrays.of(part)[0][self.indices[part][places]]

    def fingerprint(self) -> data_record.Fingerprint:
        """What the data are made of, once they are set up."""
        assert self.arrays is not None, "call setup first"
        parts = {part: (*self.arrays.of(part), places) for part, places in self.indices.items()}
        return data_record.fingerprint_arrays(self._source(), parts, self.class_names)

    def _source(self) -> str:
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        return _RECORDED_AS.get(name, name)

    def train_loader(self, device: torch.device, *, rank: int = 0, world_size: int = 1) -> TrainLoader:
        """Shuffled, augmented batches of the training part."""
        return TrainLoader(
            self._shelf("train", device),
            torch.from_numpy(self.indices["train"]),
            normalization=self.normalization,
            augment=self.augment,
            sampling=self.sampler,
            classes=self.num_classes,
            batch_size=min(self.batch_size, len(self.indices["train"])),
            drop_last=self.drop_last,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
        )

    def eval_loader(self, part: str, device: torch.device, *, rank: int = 0, world_size: int = 1) -> EvalLoader:
        """All images of train, val or test once, in order, without augmentation."""
        return EvalLoader(
            self._shelf(part, device),
            torch.from_numpy(self.indices[part]),
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

    def check_batches_of_one(self, processes: int) -> None:
        """See that BatchNorm, which cannot train on a single image, gets none.

        Raises:
            ConfigError: it would.
        """
        share = len(self.indices["train"]) // processes
        last = 0 if self.drop_last else share % self.batch_size
        if 1 in (self.batch_size, last):
            way_out = "choose another" if self.batch_size == 1 else "choose another, or data.drop_last=true"
            raise ConfigError(
                f"data.batch_size={self.batch_size} makes a batch of one image of {share} for training, from which"
                f" BatchNorm learns nothing: {way_out}"
            )

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

    def _shelf(self, part: str, device: torch.device) -> ImageStore:
        """The images and targets among which a part's are. They go to the device once, however many loaders read."""
        assert self.arrays is not None, "call setup first"
        images, labels = self.arrays.of(part)
        key = device, id(images)
        if key not in self._shelves:
            self._shelves[key] = ImageStore(loader.place_images(images, device), torch.from_numpy(labels).to(device))
        return self._shelves[key]

    def _train_and_val(self, arrays: ImageArrays) -> tuple[np.ndarray, np.ndarray]:
        """Places in the training arrays, ascending: limit first, then the split, then at most so many of a class."""
        pool = arrays.parts.get("train", np.arange(len(arrays.train_labels)))[: self.limit]
        least = 2 * len(arrays.class_names)
        if self.limit is not None:
            checks.require(len(pool) >= least, "data.limit", f"be at least {least}, two images a class", self.limit)
        if "val" in arrays.parts:
            train, val = pool, arrays.parts["val"]
        else:
            train, val = self._split(pool, arrays.train_labels[pool])
        if self.max_per_class is not None:
            train = train[split_methods.first_of_each_class(arrays.train_labels[train], self.max_per_class)]
        self._check_batch(len(train))
        return np.sort(train), np.sort(val)

    def _split(self, pool: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        held_out = split_methods.validation_count(len(pool), self.val_fraction)
        rule = f"leave at least one of {len(pool)} images to each part"
        checks.require(0 < held_out < len(pool), "data.val_fraction", rule, self.val_fraction)
        try:
            train, val = split_methods.split(self.split, labels, self.val_fraction, self.split_seed)
        except ValueError as error:
            raise ConfigError(
                f"data.split={self.split} with data.val_fraction={self.val_fraction} and data.limit={self.limit}:"
                f" {error}"
            ) from error
        return pool[train], pool[val]

    def _check_noise(self, images: np.ndarray) -> None:
        if self.augment.noise and not self.augment.noise_redraw:
            rule = f"the noise of {len(images):,} images, which is drawn once and for all, needs"
            memory.require("data.augment.noise_redraw=false", 2 * images.size, rule)

    def _check_batch(self, train: int) -> None:
        if self.drop_last and self.batch_size > train:
            raise ConfigError(
                f"data.batch_size must be at most {train}, the number of training images, got {self.batch_size}"
                " (data.drop_last=false makes such a batch the whole set)"
            )
