"""The LightningDataModule that all data sets share: split, normalise, and loaders on the device."""

import logging
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from lightsweep.core import checks, memory
from lightsweep.core.errors import ConfigError
from lightsweep.core.moved import MOVED
from lightsweep.data import balance, loader, splits
from lightsweep.data.arrays import ImageArrays, Traits
from lightsweep.data.loader import EvalLoader, ImageStore, TrainLoader
from lightsweep.data.normalization import NORMALIZATIONS, Normalization, fit_normalization
from lightsweep.data.transforms import Augment
from lightsweep.runs import data_record

log = logging.getLogger(__name__)

# data.json names the class by the module it was in first, so that earlier runs and studies have the same source.
_RECORDED_AS = {new: old for old, new in MOVED.items()}


class ImageDataModule(pl.LightningDataModule):
    """A data set is a subclass with one method, `read`. The arguments are explained in conf/data/_common.yaml.

    After `setup`: `input_shape` (C, H, W), `class_names`, `normalization`, `class_weights` (``float [K]``), and
    `indices`, which images of the training or test arrays belong to train, val and test; there may be none for test.
    `resize` is how an image of another size is brought to that shape.
    """

    resize = "squash"
    splits: tuple[str, ...] = splits.SPLITS

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
        checks.integer("data.split_seed", split_seed, f"[0, {splits.LARGEST_SEED}]")
        checks.choice("data.normalize", normalize, NORMALIZATIONS)
        for key, value in (("data.limit", limit), ("data.max_per_class", max_per_class)):
            if value is not None:
                checks.integer(key, value, "[1, inf)")
        balance.check_class_weights(class_weights)
        checks.choice("data.sampler", sampler, balance.SAMPLERS)
        checks.integer("data.seed", seed, "[0, inf)")
        checks.require(isinstance(augment, Augment), "data.augment", "be a mapping", augment)
        self.batch_size, self.eval_batch_size, self.drop_last = batch_size, eval_batch_size, drop_last
        self.val_fraction, self.split, self.split_seed = val_fraction, split, split_seed
        self.normalize, self.limit, self.seed, self.augment = normalize, limit, seed, augment
        self.max_per_class, self.wanted_weights, self.sampler = max_per_class, class_weights, sampler
        self.arrays: ImageArrays | None = None
        self._stores: dict[tuple[torch.device, int], ImageStore] = {}

    def preview(self) -> Traits | None:
        """What the data will be like, if they must first be downloaded or decoded; else None."""
        return None

    def read(self) -> ImageArrays:
        """Read the data set; called once."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        """Read the data set, split it and fit the normalization; a second call does nothing.

        Raises:
            ConfigError: too few images for what was asked.
        """
        if self.arrays is not None:
            return
        arrays = self.read()
        self.check_changes(arrays)
        self.input_shape = arrays.train_images.shape[1:]
        self.class_names = arrays.class_names
        train, val = self._train_and_val(arrays)
        test = arrays.parts.get("test", np.arange(len(arrays.test_labels)))
        self.indices = {"train": train, "val": val, "test": test}
        self.class_weights = balance.class_weights(self.wanted_weights, arrays.train_labels[train], self.num_classes)
        self.normalization: Normalization = fit_normalization(self.normalize, arrays.train_images, train)
        self.arrays = arrays

    def check_changes(self, arrays: ImageArrays) -> None:
        """Raises: ConfigError: such images are too small, or too many, for what `augment` does."""
        if self.augment.noise and not self.augment.noise_redraw:
            rule = f"the noise of {len(arrays.train_images):,} images, which is drawn once, needs"
            memory.require("data.augment.noise_redraw=false", 2 * arrays.train_images.size, rule)
        self.augment.check_size(*arrays.train_images.shape[2:])

    @property
    def title(self) -> str:
        """The data set's name in messages."""
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
        """The parts that a run scores at its end; test is one of them if wanted and not empty."""
        has_test = len(self.indices["test"]) > 0
        if test and not has_test:
            log.info("there is no test part, so there will be no test score")
        return ("train", "val", "test") if test and has_test else ("train", "val")

    def labels(self, part: str) -> np.ndarray:
        """Class numbers ``int64`` of train, val or test."""
        return self.loaded.of(part)[1][self.indices[part]]

    def images(self, part: str, chosen: np.ndarray) -> np.ndarray:
        """Images ``uint8 [n, C, H, W]`` as read, the chosen ones (``int64 [n]``) of train, val or test."""
        return self.loaded.of(part)[0][self.indices[part][chosen]]

    def fingerprint(self) -> data_record.Fingerprint:
        """What the data are made of, once they are set up."""
        parts = {part: (*self.loaded.of(part), indices) for part, indices in self.indices.items()}
        return data_record.fingerprint_arrays(self._source(), parts, self.class_names)

    def _source(self) -> str:
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        return _RECORDED_AS.get(name, name)

    @property
    def loaded(self) -> ImageArrays:
        """The images and labels, once they are set up."""
        assert self.arrays is not None, "call setup first"
        return self.arrays

    def train_loader(
        self,
        device: torch.device,
        *,
        rank: int = 0,
        world_size: int = 1,
        seed: int | None = None,
        augment: Augment | None = None,
    ) -> TrainLoader:
        """Shuffled, augmented batches of the training part, with the seed and the changes of the data's config or of
        another run on the same data.

        Raises:
            ConfigError: the images are too small for `augment`.
        """
        if augment is not None:
            augment.check_size(*self.input_shape[1:])
        return TrainLoader(
            self._store("train", device),
            torch.from_numpy(self.indices["train"]),
            normalization=self.normalization,
            augment=self.augment if augment is None else augment,
            sampling=self.sampler,
            classes=self.num_classes,
            batch_size=min(self.batch_size, len(self.indices["train"])),
            drop_last=self.drop_last,
            seed=self.seed if seed is None else seed,
            rank=rank,
            world_size=world_size,
        )

    def eval_loader(self, part: str, device: torch.device, *, rank: int = 0, world_size: int = 1) -> EvalLoader:
        """All images of train, val or test once, in order, without augmentation."""
        return EvalLoader(
            self._store(part, device),
            torch.from_numpy(self.indices[part]),
            normalization=self.normalization,
            batch_size=self.eval_batch_size,
            rank=rank,
            world_size=world_size,
        )

    def train_dataloader(self) -> TrainLoader:
        return self.train_loader(**self._process())

    def val_dataloader(self) -> EvalLoader:
        return self.eval_loader("val", **self._process())

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch  # made there by the loaders; Lightning would look into it at each step

    def _process(self) -> dict[str, Any]:
        """This process's device and share, as the loaders take them."""
        trainer = self.trainer
        assert trainer is not None, "Lightning sets the trainer before it asks for loaders"
        device = trainer.strategy.root_device
        return {"device": device, "rank": trainer.global_rank, "world_size": trainer.world_size}

    def _store(self, part: str, device: torch.device) -> ImageStore:
        """The images and targets that contain a part's. They go to the device once for all loaders."""
        images, labels = self.loaded.of(part)
        key = device, id(images)
        if key not in self._stores:
            self._stores[key] = loader.build_store(images, labels, device, loader.free_memory(device))
        return self._stores[key]

    def check_batches_of_one(self, processes: int) -> None:
        """Raises: ConfigError: a batch has a single image, which BatchNorm cannot train on."""
        share = len(self.indices["train"]) // processes
        last = 0 if self.drop_last else share % self.batch_size
        if 1 in (self.batch_size, last):
            way_out = "choose another" if self.batch_size == 1 else "choose another, or data.drop_last=true"
            raise ConfigError(
                f"data.batch_size={self.batch_size} leaves a batch of one image of {share} for training, which"
                f" BatchNorm cannot train on: {way_out}"
            )

    def check_shares(self, processes: int) -> None:
        """Raises: ConfigError: one of several processes would have no batch to train on."""
        share = len(self.indices["train"]) // processes
        self._check_batch(share, f"the training images of each of {processes} processes")

    def _check_batch(self, count: int, images: str) -> None:
        if self.drop_last and self.batch_size > count:
            raise ConfigError(
                f"data.batch_size must be at most {count}, {images}, got {self.batch_size}"
                " (data.drop_last=false makes all of them one batch)"
            )

    def _train_and_val(self, arrays: ImageArrays) -> tuple[np.ndarray, np.ndarray]:
        """Indices into the training arrays, ascending: first the limit, then the split, then the most of a class."""
        pool = arrays.parts.get("train", np.arange(len(arrays.train_labels)))[: self.limit]
        least = 2 * len(arrays.class_names)
        if self.limit is not None:
            checks.require(len(pool) >= least, "data.limit", f"be at least {least}, two images a class", self.limit)
        if "val" in arrays.parts:
            train, val = pool, arrays.parts["val"]
        else:
            train, val = self._split(pool, arrays.train_labels[pool])
        if self.max_per_class is not None:
            train = train[splits.first_of_each_class(arrays.train_labels[train], self.max_per_class)]
        self._check_batch(len(train), "the number of training images")
        return np.sort(train), np.sort(val)

    def _split(self, pool: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        held_out = round(len(pool) * self.val_fraction)
        rule = f"leave at least one of {len(pool)} images to each part"
        checks.require(0 < held_out < len(pool), "data.val_fraction", rule, self.val_fraction)
        try:
            train, val = splits.split(self.split, labels, self.val_fraction, self.split_seed)
        except ValueError as error:
            settings = f"data.split={self.split} with data.val_fraction={self.val_fraction} and data.limit={self.limit}"
            raise ConfigError(f"{settings}: {error}") from error
        return pool[train], pool[val]
